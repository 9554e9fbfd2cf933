"""Groups are named in words where these say all that tells them apart, and as in tables elsewhere."""

from pathlib import Path
from typing import Any

from lsp.report import wording
from lsp.report.groups import group_by_seed
from lsp.report.runs import read_all
from tests.support.folders import write_run

STUDY = {"growth__keep_replay": False, "growth__keep_critics": False, "growth__identity": False}
STUDY |= {"growth__linear_embedding": True, "growth__critic_warmup": 0}
TWO = {"layers": 2, "layer_steps": [1000, 1000]}


def named(folder: Path, *arms: dict[str, Any]) -> list[str]:
    for number, fields in enumerate(arms):
        write_run(folder / f"run{number}", [1.0, 2.0], **fields)
    return wording.names(group_by_seed(read_all([folder], "sampled")))


def test_growth(tmp_path: Path) -> None:
    found = named(tmp_path, TWO, TWO | STUDY, {})
    assert found == ["growth without waste", "growth as the study had it", "flat policy"]


def test_goals_and_layers_below(tmp_path: Path) -> None:
    env = {"env": "lsp/RllabAntGoal-v0"}
    hindsight = env | {"goals__kind": "hindsight"}
    skill = {"from_layers": "runs/published/skill", "growth__prefix_observation": True}
    found = named(tmp_path, hindsight, hindsight | skill, env | {"steps": 7})
    assert found == ["with hindsight", "with hindsight, on the layers of skill", "without hindsight"]


def test_agents_and_presets(tmp_path: Path) -> None:
    found = named(tmp_path, {}, {"agent": "prioritized", "replay__kind": "prioritized"}, {"preset": "dissertation"})
    assert found == ["sac_lsp, modern preset", "prioritized, modern preset", "sac_lsp, dissertation preset"]
    assert named(tmp_path / "alone", {}) == ["sac_lsp"]


def test_what_there_are_no_words_for_is_named_as_in_tables(tmp_path: Path) -> None:
    assert named(tmp_path / "a", {}, {"utd": 2.0}) == ["sac_lsp, utd=1", "sac_lsp, utd=2"]
    mixed = TWO | {"growth__keep_replay": False}
    assert named(tmp_path / "b", TWO, mixed)[1] == "sac_lsp, growth.keep_replay=false"
    both = named(tmp_path / "c", TWO, TWO | {"growth__critic_warmup": 7})
    assert both == ["sac_lsp, growth.critic_warmup=5000", "sac_lsp, growth.critic_warmup=7"]
