"""Seeds of one configuration become a group with a short label."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsp.config import ConfigError
from lsp.report.groups import SeedGroup, group_by_seed
from lsp.report.runs import read_all
from tests.support.folders import write_run


def grouped(folder: Path) -> list[SeedGroup]:
    return group_by_seed(read_all([folder], "sampled"))


def labels(tmp_path: Path, *configurations: dict[str, Any]) -> list[str]:
    """Labels of runs that differ as told, in this order."""
    for i, fields in enumerate(configurations):
        write_run(tmp_path / f"run{i:02}", [1.0], **fields)
    return [group.label for group in grouped(tmp_path)]


def test_groups_by_seed(tmp_path: Path) -> None:
    """Bookkeeping makes no other group, nor does the order of seeds; environments stay together, first come first."""
    fields: list[dict[str, Any]] = [
        {"seed": 0},
        {"seed": 0, "env": "Hopper-v5"},
        {"seed": 0, "utd": 2.0},
        {"seed": 1, "log_every": 7, "checkpoint_every": 0, "milestone_every": 9},
    ]
    for i, each in enumerate(fields):
        write_run(tmp_path / str(i), [1.0 + i], **each)
    groups = grouped(tmp_path)
    assert [group.env for group in groups] == ["lsp/RllabAnt-v0", "lsp/RllabAnt-v0", "Hopper-v5"]
    np.testing.assert_array_equal(groups[0].scores, [1, 4])
    assert [len(group.runs) for group in groups] == [2, 1, 1]


def test_same_seed_twice_is_no_second_sample(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [1.0], seed=3)
    write_run(tmp_path / "b", [1.0], seed=3)
    with pytest.raises(ConfigError, match=r"a and .*b are the same configuration with the same seed 3"):
        grouped(tmp_path)


def test_label_of_one_group_is_its_agent(tmp_path: Path) -> None:
    assert labels(tmp_path, {"seed": 0}, {"seed": 1}) == ["sac_lsp"]


def test_label_names_what_differs(tmp_path: Path) -> None:
    found = labels(tmp_path, {}, {"utd": 4.0}, {"critic__hidden_sizes": [64, 64], "critic__layer_norm": False})
    assert found == [
        "sac_lsp, critic.hidden_sizes=128,128, critic.layer_norm=true, utd=1",
        "sac_lsp, critic.hidden_sizes=128,128, critic.layer_norm=true, utd=4",
        "sac_lsp, critic.hidden_sizes=64,64, critic.layer_norm=false, utd=1",
    ]


def test_label_hides_what_agent_and_preset_bring_along(tmp_path: Path) -> None:
    other = {"agent": "prioritized", "preset": "dissertation", "gamma": 0.5, "n_step": 3}
    found = labels(tmp_path, {}, other, other | {"utd": 0.00025})
    assert found == ["sac_lsp, modern", "prioritized, dissertation, utd=1", "prioritized, dissertation, utd=0.00025"]


def test_label_leaves_environments_to_their_column(tmp_path: Path) -> None:
    """Fields that go with the environment are no difference; those that differ in one are shown in all."""
    found = labels(tmp_path, {}, {"utd": 2.0}, {"env": "Hopper-v5", "gamma": 0.5})
    assert found == ["sac_lsp, utd=1", "sac_lsp, utd=2", "sac_lsp, utd=1"]


def test_label_of_many_differences_is_the_folder(tmp_path: Path) -> None:
    found = labels(tmp_path, {}, {"utd": 2.0, "gamma": 0.5, "n_step": 2, "block": 2})
    assert found == ["sac_lsp, run00", "sac_lsp, run01"]


def test_other_versions(tmp_path: Path) -> None:
    """Nested tables are read like dotted names; a field that one version lacks tells its runs apart."""
    old, new = write_run(tmp_path / "a", [1.0]), write_run(tmp_path / "b", [1.0], seed=1)
    config = json.loads((old / "config.json").read_text())["config"]
    nested = {name: value for name, value in config.items() if name not in ("replay.capacity", "replay.kind")}
    nested["replay"] = {"capacity": config["replay.capacity"], "kind": config["replay.kind"]}
    (old / "config.json").write_text(json.dumps({"config": nested}))
    assert [len(group.runs) for group in grouped(tmp_path)] == [2]
    (new / "config.json").write_text(json.dumps({"config": config | {"seed": 1, "news": "yes"}}))
    assert [group.label for group in grouped(tmp_path)] == ["sac_lsp, news=unset", "sac_lsp, news=yes"]
