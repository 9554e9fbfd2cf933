"""Rows say what is known and no more; cells are readable; CSV is complete."""

import csv
from pathlib import Path

import numpy as np
import pytest

from lsp.report import table
from lsp.report.comparisons import Paired, Unpaired
from lsp.report.groups import SeedGroup, group_by_seed
from lsp.report.runs import read_all
from lsp.report.statistics import iqm, stratified_bootstrap_interval, t_interval
from lsp.report.table import Row
from tests.support.folders import write_run


def rows_of(*folders: Path) -> list[Row]:
    return table.rows(group_by_seed(read_all(folders, "sampled")))


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    """Two seeds of an agent, three of a better one, one of a third; and five in an environment without speed."""
    for seed in range(2):
        write_run(tmp_path / f"a{seed}", [1000.0 + seed], seed=seed)
    for seed in range(3):
        returns = [2000.0 + seed, 3000.0 + seed][: 1 + seed % 2]
        write_run(tmp_path / f"b{seed}", returns, seed=seed, agent="prioritized", steps=2000)
    write_run(tmp_path / "c", [-3.5], agent="categorical")
    for seed in range(5):
        write_run(tmp_path / f"d{seed}", [50.0 + seed**2], env="Hopper-v5", seed=seed)
    return rows_of(tmp_path)


def test_rows(rows: list[Row]) -> None:
    first, better, single, hopper = rows
    assert (first.seeds, first.mean, first.median, first.terminated) == (2, 1000.5, 1000.5, 0.5)
    assert first.scores == "0:1000.0 1:1001.0"
    assert first.x_velocity == pytest.approx(1.0005)
    assert (first.seconds, first.steps_per_second, first.unfinished) == (2.0, 500.0, 0)
    scores = [2000.0, 2501.0, 2002.0]
    assert (better.mean, better.median, better.unfinished) == (pytest.approx(np.mean(scores)), 2002.0, 2)
    assert (better.steps_min, better.steps_max, better.updates_min, better.updates_max) == (1000, 2000, 500, 1500)
    assert (better.window_first, better.window_last, better.episodes_min, better.episodes_max) == (1000, 2000, 2, 4)
    assert (single.label, single.mean, hopper.env, hopper.x_velocity) == ("categorical", -3.5, "Hopper-v5", None)


def test_below_five_seeds_the_range_and_no_interval(rows: list[Row]) -> None:
    assert [(row.lowest, row.highest) for row in rows] == [(1000, 1001), (2000, 2501), (None, None), (50, 66)]
    for row in rows[:3]:
        assert (row.t_low, row.t_high, row.iqm, row.iqm_low, row.iqm_high) == (None,) * 5
    scores = np.array([50.0, 51.0, 54.0, 59.0, 66.0])
    assert (rows[3].t_low, rows[3].t_high) == t_interval(scores)
    assert rows[3].iqm == iqm(scores)
    assert (rows[3].iqm_low, rows[3].iqm_high) == stratified_bootstrap_interval(scores[:, None])
    shown = [table.cells(row) for row in rows]
    assert [line["range"] for line in shown] == ["1,000 to 1,001", "2,000 to 2,501", "-", "-"]
    intervals = [(line["95 % t interval"], line["IQM"], line["95 % bootstrap"]) for line in shown]
    low, high = table.score(rows[3].iqm_low), table.score(rows[3].iqm_high)
    assert intervals == [("-", "-", "-")] * 3 + [("[47.81, 64.19]", "54.67", f"[{low}, {high}]")]


def test_missing_wall_clock(tmp_path: Path) -> None:
    (write_run(tmp_path / "a", [1.0]) / "metrics.jsonl").unlink()
    write_run(tmp_path / "b", [1.0], seed=1)
    (row,) = rows_of(tmp_path)
    assert (row.seconds, row.steps_per_second) == (None, None)
    assert table.cells(row)["wall-clock"] == "-"


def test_diverged_seed_is_not_trimmed_away(tmp_path: Path) -> None:
    for seed in range(5):
        write_run(tmp_path / str(seed), [float("nan") if seed == 2 else 1.0], seed=seed)
    (row,) = rows_of(tmp_path)
    assert np.isnan([row.mean, row.iqm, row.iqm_low, row.iqm_high, row.t_low, row.t_high, row.median]).all()
    assert table.cells(row)["mean"] == table.cells(row)["IQM"] == "nan"


def test_cells(rows: list[Row]) -> None:
    row = rows[1]._replace(seconds=3_723.4, steps_per_second=12_345.6, terminated=0.126, motionless=0.25)
    assert table.cells(row) == {
        "seeds": "3*", "env steps": "1k to 2k", "updates": "500 to 1.5k", "scored steps": "1k to 2k",
        "episodes": "2 to 4", "mean": "2,168", "range": "2,000 to 2,501", "95 % t interval": "-", "IQM": "-",
        "95 % bootstrap": "-", "median": "2,002", "terminated %": "13", "motionless %": "25", "success %": "-",
        "speed m/s": "2.17", "dip": "-", "after growth": "-", "wall-clock": "1:02:03", "steps/s": "12,346",
    }  # fmt: skip
    single = table.cells(rows[2])
    assert (single["seeds"], single["mean"], single["range"], single["median"]) == ("1", "-3.50", "-", "-")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"), (999, "999"), (1000, "1k"), (1_250, "1.25k"), (1_255, "1,255"), (299_375, "299,375"),
        (300_000, "300k"), (2_410_000, "2.41M"), (2_405_000, "2405k"), (10_000_000, "10M"),
    ],
)  # fmt: skip
def test_counts_lose_nothing(count: int, text: str) -> None:
    assert table.compact(count) == text


def test_success_where_there_are_goals(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [1.0, 2.0], env="lsp/Reacher2D-v0")
    write_run(tmp_path / "b", [1.0, 2.0], env="Hopper-v5")
    first, second = rows_of(tmp_path)
    assert (first.success, second.success) == (0.75, None)
    assert [table.cells(row)["success %"] for row in (first, second)] == ["75", "-"]


def test_what_a_comparison_comes_to() -> None:
    other = SeedGroup("Ant-v5", ("sac_lsp",), [])
    assert table.against(None) == "-"
    assert table.against(Unpaired(other, (3, 5), None, None)) == "3 v 5 seeds"
    assert table.against(Unpaired(other, (5, 5), 0.92, 0.03175)) == "P 0.92, p 0.032"
    assert table.against(Paired(other, 1000, {1: 2.0})) == "paired"


def test_comparisons_in_numbers(tmp_path: Path, rows: list[Row]) -> None:
    """Of unpaired groups from five seeds a side on, of pairs each difference; none of the first of an environment."""
    compared = Row._fields[Row._fields.index("against") :]
    assert [row.against for row in rows] == [None, "sac_lsp", "sac_lsp", None]
    assert {getattr(row, name) for row in rows for name in compared[1:]} == {None}
    for seed in range(5):
        write_run(tmp_path / "more" / f"{seed}", [60.0 + seed**2], env="Hopper-v5", seed=seed, agent="prioritized")
        write_run(tmp_path / "more" / f"g{seed}", [50.0 + seed**2] * 2, at=[1000, 2000], env="Hopper-v5", seed=seed)
        later = [50.0 + seed**2] * 2 + [51.0 + 2 * seed + seed**2]
        write_run(tmp_path / "more" / f"h{seed}", later, at=[1000, 1000, 2000], env="Hopper-v5", seed=seed, layers=2)
    flat, better, longer, grown = rows_of(*sorted(tmp_path.glob("d?")), tmp_path / "more")
    assert (better.p_better, better.p_value) == (22 / 25, pytest.approx(14 / 252))
    assert longer.against == flat.label  # a past alone makes no pair: it ends elsewhere
    assert (grown.against, grown.pairs, grown.difference) == (longer.label, 5, 5.0)
    assert grown.differences == "0:1.0 1:3.0 2:5.0 3:7.0 4:9.0"
    assert (grown.difference_low, grown.difference_high) == t_interval(np.array([1.0, 3.0, 5.0, 7.0, 9.0]))


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
    assert table.cells(*rows_of(flat))["dip"] == "-"
    write_run(tmp_path / "grown", [300.0, 400.0, 150.0, 250.0, 500.0], at=[1000, 2000, 2000, 3000, 4000], layers=2)
    first, second = rows_of(tmp_path)
    assert (first.growth_dip, first.growth_area, first.growth_span) == (0.0, 200_000.0, 2000)
    assert (second.growth_dip, second.growth_area, second.growth_span) == (250.0, 575_000.0, 2000)
    shown = [table.cells(row) for row in (first, second)]
    assert [(line["dip"], line["after growth"]) for line in shown] == [("0.00", "100"), ("250", "288")]
