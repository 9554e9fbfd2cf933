"""Published runs, whose files have the names of their time, say the same under today's."""

import json
from pathlib import Path

import numpy as np
import pytest

from lsp.report import table
from lsp.report.groups import group_by_seed
from lsp.report.old_names import OLD_NAMES, renamed
from lsp.report.runs import read, read_all

PUBLISHED = Path(__file__).parents[2] / "runs" / "published"
FOLDERS = [path.parent for path in PUBLISHED.glob("*/eval.jsonl") if '"falls"' in path.read_text()]


def test_renaming_keeps_values_and_order() -> None:
    assert list(renamed({"step": 3, "falls": [True], "critic.law": "soft"}).items()) == [
        ("step", 3), ("terminated", [True]), ("critic.distribution_target", "soft")
    ]  # fmt: skip


def test_every_name_leads_to_one_of_today() -> None:
    assert not OLD_NAMES.keys() & set(OLD_NAMES.values())
    assert len(set(OLD_NAMES.values())) == len(OLD_NAMES)


def test_published_runs_are_read() -> None:
    assert FOLDERS
    for folder in FOLDERS:
        lines = map(json.loads, (folder / "eval.jsonl").read_text().splitlines())
        wanted = [line for line in lines if line["protocol"] == "sampled"]
        config = json.loads((folder / "config.json").read_text())["config"]
        run = read(folder, "sampled")
        np.testing.assert_array_equal(run.terminated, [np.mean(line["falls"]) for line in wanted], err_msg=folder.name)
        assert not run.config.keys() & OLD_NAMES.keys()
        assert run.config.get("critic.distribution_target") == config.get("critic.law")


def test_the_table_of_published_runs_is_as_it_was() -> None:
    """What the report said of these runs before any name changed, beside their scores, whose rule is another now."""
    names = [f"categorical_modern_s{seed}" for seed in (1, 2, 3)] + ["categorical_as_written_s1"]
    rows = table.rows(group_by_seed(read_all([PUBLISHED / name for name in names], "sampled")))
    columns = ("seeds", "env steps", "updates", "wall-clock", "steps/s")
    assert [(row.label, *(table.cells(row)[name] for name in columns)) for row in rows] == [
        ("categorical, modern", "3", "300k", "294,992", "0:21:59", "232"),
        ("categorical, dissertation", "1", "100k", "99k", "0:05:13", "320"),
    ]


def test_scores_of_published_runs() -> None:
    """By a naive reading of what they wrote, each run by itself."""
    for folder in PUBLISHED.glob("*_s1/eval.jsonl"):
        lines = [line for line in map(json.loads, folder.read_text().splitlines()) if line["protocol"] == "sampled"]
        ahead = [line["step"] for line in lines]
        learned = [line for i, line in enumerate(lines) if ahead.index(line["step"]) == i and line["updates"]]
        grown = max((step for step in ahead if ahead.count(step) > 1), default=0)
        returns: list[float] = []
        for line in reversed([line for line in learned if line["step"] > grown]):
            if len(returns) < 50 or 10 * line["step"] > 9 * ahead[-1]:
                returns += line["returns"]
        run = read(folder.parent, "sampled")
        assert run.score == pytest.approx(np.mean(returns), rel=1e-12), folder
        assert run.window.episodes == len(returns)
