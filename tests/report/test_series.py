"""Curves and bands are the statistics of the seeds; differences are paired, from where runs part."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsp.config import ConfigError
from lsp.report import series
from lsp.report.groups import SeedGroup, group_by_seed
from lsp.report.runs import read_all
from lsp.report.series import View
from lsp.report.statistics import iqm, mean, stratified_bootstrap_interval, t_interval
from tests.support.folders import write_run


def groups(folder: Path, *seeds: int, **fields: Any) -> list[SeedGroup]:
    """A group of so many seeds each, told apart by `utd`; seed s returns s, then 10 s."""
    for number, count in enumerate(seeds, start=1):
        for seed in range(count):
            write_run(folder / f"{number}-{seed}", [float(seed), 10.0 * seed], seed=seed, utd=float(number), **fields)
    return group_by_seed(read_all([folder], "sampled"))


@pytest.mark.parametrize("seeds", [1, 2, 4, 5, 8])
def test_center_and_band(tmp_path: Path, seeds: int) -> None:
    (group,) = groups(tmp_path, seeds)
    line = series.curve(group)
    np.testing.assert_array_equal(line.steps, [1000, 2000])
    scores = np.arange(seeds, dtype=float)
    statistic = iqm if seeds >= 5 else mean
    np.testing.assert_allclose(line.center, [statistic(scores), 10 * statistic(scores)])
    interval = (0, seeds - 1)
    if seeds >= 5:
        interval = stratified_bootstrap_interval(scores[:, None], statistic, resamples=series.RESAMPLES)
    np.testing.assert_allclose([line.low[1], line.high[1]], np.multiply(interval, 10))


def test_unfinished_seed_ends_the_curve(tmp_path: Path) -> None:
    """Beyond, the line would be of other seeds than before."""
    write_run(tmp_path / "a", [1.0, 2.0, 3.0], seed=0)
    write_run(tmp_path / "b", [5.0], seed=1, steps=3000)
    (group,) = group_by_seed(read_all([tmp_path], "sampled"))
    line = series.curve(group)
    np.testing.assert_array_equal(line.steps, [1000])
    np.testing.assert_array_equal(line.center, [3])


def test_a_curve_of_a_run_that_grows(tmp_path: Path) -> None:
    """Evaluated before and after at one step, the curve drops there. Seeds of several lengths, too."""
    for seed, count in ((0, 5), (1, 4)):
        returns = [1.0 + seed, 5.0 + seed, 0.0, 3.0, 9.0][:count]
        write_run(tmp_path / str(seed), returns, at=[10, 20, 20, 30, 40][:count], seed=seed, steps=40)
    (group,) = group_by_seed(read_all([tmp_path], "sampled"))
    line = series.curve(group)
    np.testing.assert_array_equal(line.steps, [10, 20, 20, 30])
    np.testing.assert_array_equal(line.center, [1.5, 5.5, 0, 3])
    np.testing.assert_array_equal(line.where(line.steps == 20).seeds, [[5, 0], [6, 0]])


def test_along_minutes_the_mean_over_seeds(tmp_path: Path) -> None:
    """500 steps a second; the clock is between the lines of metrics, and zero at step 0."""
    (group,) = groups(tmp_path, 2)
    np.testing.assert_allclose(series.curve(group, View("minutes", "return")).x, [2 / 60, 4 / 60])
    np.testing.assert_allclose(series.curve(group, View("updates", "return")).x, [500, 1500])


def test_no_minutes_without_metrics(tmp_path: Path) -> None:
    (group,) = groups(tmp_path, 1)
    (tmp_path / "1-0" / "metrics.jsonl").unlink()
    (group,) = group_by_seed(read_all([tmp_path], "sampled"))
    with pytest.raises(ConfigError, match=r"^--x=minutes: .*1-0 does not say when it was evaluated: metrics.jsonl is"):
        series.curve(group, View("minutes", "return"))


def test_success_is_shown_where_all_say_it(tmp_path: Path) -> None:
    mute, reacher = groups(tmp_path / "a", 1), groups(tmp_path / "b", 1, env="lsp/Reacher2D-v0")
    assert series.choose_y(reacher, None) == "success"
    assert series.choose_y(mute, None) == "return"
    assert series.choose_y(reacher, "return") == "return"
    with pytest.raises(ConfigError, match=r"^--y=success: .*1-0 does not say which episodes met a goal"):
        series.choose_y(mute, "success")


def forked(folder: Path, seeds: int) -> list[SeedGroup]:
    """Flat, and grown at step 2000: two evaluations there; seed s is 1 + s better there and 2 (1 + s) at 3000."""
    for s in range(seeds):
        write_run(folder / f"flat{s}", [1.0, 2.0, 3.0], at=[1000, 2000, 3000], seed=s, steps=3000)
        grown = {"layers": 2, "layer_steps": [2000, 1000]}
        write_run(
            folder / f"grown{s}",
            [1.0, 2.0, 3.0 + s, 5.0 + 2 * s],
            at=[1000, 2000, 2000, 3000],
            seed=s,
            steps=3000,
            **grown,
        )
    return group_by_seed(read_all([folder], "sampled"))


@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_paired_differences(tmp_path: Path, seeds: int) -> None:
    flat, grown = found = forked(tmp_path, seeds)
    fork = series.fork(found)
    assert fork is not None
    assert fork.step == 2000
    assert fork.reference is flat
    assert [arm.label for arm in fork.arms] == [grown.label]
    line = series.difference(grown, flat, fork.step)
    pairs = 1.0 + np.arange(seeds)
    np.testing.assert_array_equal(line.steps, [2000, 3000])
    np.testing.assert_allclose(line.seeds.T, [pairs, 2 * pairs])
    np.testing.assert_allclose(line.center, [pairs.mean(), 2 * pairs.mean()])
    low, high = t_interval(2 * pairs) if seeds >= 5 else (2, 2 * seeds)
    np.testing.assert_allclose([line.low[1], line.high[1]], [low, high])


def test_no_fork_without_a_common_past(tmp_path: Path) -> None:
    write_run(tmp_path / "flat", [1.5, 2.0, 3.0], at=[1000, 2000, 3000], steps=3000)
    write_run(
        tmp_path / "grown",
        [1.0, 2.0, 2.0, 3.0],
        at=[1000, 2000, 2000, 3000],
        steps=3000,
        layers=2,
        layer_steps=[2000, 1000],
    )
    assert series.fork(group_by_seed(read_all([tmp_path], "sampled"))) is None
    assert series.fork(groups(tmp_path / "flats", 2, 2)) is None
