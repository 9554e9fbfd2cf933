"""Seeds of one configuration become a group with a short label."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsp.config import ConfigError
from lsp.report.groups import SeedGroup, group_by_seed, short_names
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


def test_folders_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    """By as much of their paths as it takes, and no more."""
    many = {"utd": 2.0, "gamma": 0.5, "n_step": 2}
    for i, name in enumerate(("x/a", "y/a", "y/b")):
        write_run(tmp_path / name, [1.0], block=i + 1, **(many if i else {}))
    runs = read_all([tmp_path / "x", tmp_path / "y"], "sampled")
    assert [group.label for group in group_by_seed(runs)] == ["sac_lsp, x/a", "sac_lsp, y/a", "sac_lsp, b"]


def test_a_sweep_is_called_by_the_folder_of_its_seeds(tmp_path: Path) -> None:
    other = {"utd": 2.0, "gamma": 0.5, "n_step": 2, "block": 2}
    for name, fields in (("one", {}), ("two", other)):
        for seed in range(2):
            write_run(tmp_path / name / f"seed_{seed}", [1.0], seed=seed, **fields)
    runs = read_all([tmp_path], "sampled")
    assert [group.label for group in group_by_seed(runs)] == ["sac_lsp, one", "sac_lsp, two"]


def test_seeds_that_differ_by_more_are_called_by_their_own_folders(tmp_path: Path) -> None:
    other = {"utd": 2.0, "gamma": 0.5, "n_step": 2, "block": 2}
    for seed, fields in enumerate(({}, other)):
        write_run(tmp_path / "many" / f"seed_{seed}", [1.0], seed=seed, **fields)
    assert [group.label for group in grouped(tmp_path / "many")] == ["sac_lsp, seed_0", "sac_lsp, seed_1"]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (["", "/home/anna/runs/skill"], ["none", "skill"]),
        (["/home/anna/runs/skill", "/home/ben/runs/skill"], ["anna/runs/skill", "ben/runs/skill"]),
        (["runs/skill", "runs/other"], ["runs/skill", "runs/other"]),
        (["~/runs/a", r"C:\\Users\\anna\\b"], ["a", "b"]),
        (["/a", "/b"], ["a", "b"]),
    ],
)
def test_labels_show_no_paths(values: list[str], shown: list[str], tmp_path: Path) -> None:
    found = labels(tmp_path, *({"from_layers": value} for value in values))
    assert found == [f"sac_lsp, from_layers={text}" for text in shown]


def test_paths_inside_of_values(tmp_path: Path) -> None:
    kwargs = ['{"xml": "/home/anna/one.xml"}', '{"xml": "/home/anna/two.xml"}']
    found = labels(tmp_path, *({"env_kwargs": value} for value in kwargs))
    assert found == ['sac_lsp, env_kwargs={"xml": "one.xml"}', 'sac_lsp, env_kwargs={"xml": "two.xml"}']


def test_labels_never_collide(tmp_path: Path) -> None:
    """Numbers that are the same in six digits are not the same; nor is no field the same as one that is called so."""
    assert labels(tmp_path, {"gamma": 0.9900001}, {"gamma": 0.9900002}) == [
        "sac_lsp, gamma=0.9900001", "sac_lsp, gamma=0.9900002"
    ]  # fmt: skip
    a, b = (write_run(tmp_path / "x" / name, [1.0], from_layers="unset") for name in "ab")
    document = json.loads((b / "config.json").read_text())
    del document["config"]["from_layers"]
    (b / "config.json").write_text(json.dumps(document))
    assert [group.label for group in group_by_seed(read_all([a, b], "sampled"))] == ["sac_lsp, a", "sac_lsp, b"]


def test_short_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert short_names([Path("."), Path("a/b"), Path("c/../d/b")]) == [tmp_path.name, "a/b", "d/b"]


def test_labels_of_published_runs_show_no_machine() -> None:
    folder = Path(__file__).parents[2] / "runs" / "published"
    groups = group_by_seed(read_all([folder], "sampled"))
    assert len({(group.env, group.label) for group in groups}) == len(groups) > 15
    assert not [group.label for group in groups if "/tmp" in group.label or "=/" in group.label]
