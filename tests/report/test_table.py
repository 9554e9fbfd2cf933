"""Rows say what is known and no more; cells are readable, aligned, and complete in CSV."""

import csv
from pathlib import Path

import numpy as np
import pytest

from lsp.report import table
from lsp.report.groups import group_by_seed
from lsp.report.runs import read_all
from lsp.report.statistics import stratified_bootstrap_interval
from lsp.report.table import Row
from tests.support.folders import write_run


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    """Two seeds of an agent, three of a better one, one of a third; and two in an environment without speed."""
    for seed in range(2):
        write_run(tmp_path / f"a{seed}", [1000.0 + seed], seed=seed)
    for seed in range(3):
        returns = [2000.0 + seed, 3000.0 + seed][: 1 + seed % 2]
        write_run(tmp_path / f"b{seed}", returns, seed=seed, agent="prioritized", steps=2000)
    write_run(tmp_path / "c", [-3.5], agent="categorical")
    for seed in range(2):
        write_run(tmp_path / f"d{seed}", [50.0], env="Hopper-v5", seed=seed)
    return table.rows(group_by_seed(read_all([tmp_path], "sampled")))


def test_rows(rows: list[Row]) -> None:
    first, better, single, hopper = rows
    assert (first.seeds, first.iqm, first.median, first.terminated) == (2, 1000.5, 1000.5, 0.5)
    assert (first.iqm_low, first.iqm_high) == (1000.0, 1001.0)
    assert first.x_velocity == pytest.approx(1.0005)
    assert (first.seconds, first.steps_per_second) == (2.0, 500.0)
    scores = np.array([[2000.0], [3001.0], [2002.0]])
    assert (better.iqm, better.median) == (scores.mean(), 2002.0)
    assert (better.iqm_low, better.iqm_high) == stratified_bootstrap_interval(scores)
    assert (better.steps_min, better.steps_max, better.updates_min, better.updates_max) == (1000, 2000, 500, 1500)
    assert (single.label, single.iqm, hopper.env, hopper.x_velocity) == ("categorical", -3.5, "Hopper-v5", None)


def test_improvement_needs_two_seeds_each_in_one_environment(rows: list[Row]) -> None:
    chances = [(row.p_better, row.p_better_low, row.p_better_high) for row in rows]
    assert chances == [(None,) * 3, (1.0, 1.0, 1.0), (None,) * 3, (None,) * 3]


def test_one_seed_has_no_interval(rows: list[Row]) -> None:
    assert (rows[2].iqm_low, rows[2].iqm_high) == (None, None)
    assert table.cells(rows[2])[table.HEADER.index(table.INTERVAL)] == "-"


def test_missing_wall_clock(tmp_path: Path) -> None:
    (write_run(tmp_path / "a", [1.0]) / "metrics.jsonl").unlink()
    write_run(tmp_path / "b", [1.0], seed=1)
    (row,) = table.rows(group_by_seed(read_all([tmp_path], "sampled")))
    assert (row.seconds, row.steps_per_second) == (None, None)
    assert "wall-clock" not in table.lines([row])[0]


def test_diverged_seed_is_not_trimmed_away(tmp_path: Path) -> None:
    for seed in range(5):
        write_run(tmp_path / str(seed), [float("nan") if seed == 2 else 1.0], seed=seed)
    (row,) = table.rows(group_by_seed(read_all([tmp_path], "sampled")))
    assert np.isnan([row.iqm, row.iqm_low, row.iqm_high, row.median]).all()
    assert table.cells(row)[5] == "nan"


def test_cells(rows: list[Row]) -> None:
    row = rows[1]._replace(seconds=3_723.4, steps_per_second=12_345.6, terminated=0.126)
    assert table.cells(row) == (
        "lsp/RllabAnt-v0", "prioritized", "3", "1,000 to 2,000", "500 to 1,500", "2,334", "[2,000, 3,001]", "2,002",
        "13", "-", "2.33", "-", "-", "1:02:03", "12,346", "1.00 [1.00, 1.00]",
    )  # fmt: skip
    assert table.cells(rows[2])[5:8] == ("-3.50", "-", "-3.50")


def test_columns_that_say_nothing_are_left_out(rows: list[Row]) -> None:
    everything = table.lines(rows)
    unknown = {"success %", "dip", "after growth"}
    assert tuple(everything[0]) == tuple(name for name in table.HEADER if name not in unknown)
    assert [len(line) for line in everything] == [len(table.HEADER) - 3] * 5
    header, line = table.lines(rows[2:3])
    assert set(table.HEADER) - set(header) == unknown | {"P(> first) [95 %]"}
    assert set(table.HEADER) - set(table.lines(rows[3:])[0]) == unknown | {"speed m/s", "P(> first) [95 %]"}
    assert line[list(header).index(table.INTERVAL)] == "-"


def test_success_where_there_are_goals(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [1.0, 2.0], env="lsp/Reacher2D-v0")
    write_run(tmp_path / "b", [1.0, 2.0], env="Hopper-v5")
    first, second = table.rows(group_by_seed(read_all([tmp_path], "sampled")))
    assert (first.success, second.success) == (0.75, None)
    at = table.HEADER.index("success %")
    assert (table.cells(first)[at], table.cells(second)[at]) == ("75", "-")


def test_text_is_aligned() -> None:
    text = table.to_text([("env", "run", "score"), ("a", "long name", "1"), ("bcde", "x", "1,000")])
    assert text.splitlines() == [
        "env   run        score",
        "----  ---------  -----",
        "a     long name      1",
        "bcde  x          1,000",
    ]


def test_markdown() -> None:
    text = table.to_text([("env", "score"), ("a", "10,000")], markdown=True, text_columns=1)
    assert text.splitlines() == ["| env |  score |", "| --- | -----: |", "| a   | 10,000 |"]


def test_csv_holds_everything(rows: list[Row], tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.csv"
    table.write_csv(path, rows)
    with path.open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert [line["label"] for line in found] == [row.label for row in rows]
    for line, row in zip(found, rows, strict=True):
        for name, value in row._asdict().items():
            assert line[name] == ("" if value is None else str(value))


def test_columns_of_growth(tmp_path: Path) -> None:
    """Only where a run grows; then also of those that do not, which is what the noise alone does."""
    flat = write_run(tmp_path / "flat", [100.0] * 4)
    assert "dip" not in table.lines(table.rows(group_by_seed(read_all([flat], "sampled"))))[0]
    write_run(tmp_path / "grown", [300.0, 400.0, 150.0, 250.0, 500.0], at=[1000, 2000, 2000, 3000, 4000], layers=2)
    grown = group_by_seed(read_all([tmp_path], "sampled"))
    first, second = table.rows(grown)
    assert (first.growth_dip, first.growth_area, first.growth_span) == (0.0, 200_000.0, 2000)
    assert (second.growth_dip, second.growth_area, second.growth_span) == (250.0, 575_000.0, 2000)
    header, *lines = table.lines([first, second])
    at = list(header).index("dip")
    assert [tuple(line[at : at + 2]) for line in lines] == [("0.00", "100"), ("250", "288")]
