"""Groups are compared by pairs of seeds where they share a past, else by who beats whom; few seeds get no verdict."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from lsp.report.comparisons import Comparison, Paired, Unpaired, compare
from lsp.report.groups import group_by_seed
from lsp.report.runs import read_all
from tests.support.folders import write_run


def compared(folder: Path) -> list[Comparison | None]:
    groups = group_by_seed(read_all([folder], "sampled"))
    return [compare(group, groups[:i]) for i, group in enumerate(groups)]


def write_two(folder: Path, ours: list[float], theirs: list[float]) -> None:
    for seed, value in enumerate(theirs):
        write_run(folder / f"a{seed}", [value], seed=seed)
    for seed, value in enumerate(ours):
        write_run(folder / f"b{seed}", [value], seed=seed, agent="prioritized")


def test_equal_arms_are_a_half(tmp_path: Path) -> None:
    write_two(tmp_path, [1.0, 2.0, 3.0, 4.0, 5.0], [5.0, 4.0, 3.0, 2.0, 1.0])
    _, found = compared(tmp_path)
    assert isinstance(found, Unpaired)
    assert (found.seeds, found.p_better, found.p_value) == ((5, 5), 0.5, 1.0)


def test_arms_apart(tmp_path: Path) -> None:
    write_two(tmp_path, [7.0, 8.0, 9.0, 10.0, 11.0, 12.0], [1.0, 2.0, 3.0, 4.0, 5.0])
    _, found = compared(tmp_path)
    assert isinstance(found, Unpaired)
    assert (found.seeds, found.p_better) == ((6, 5), 1.0)
    assert found.p_value == pytest.approx(2 / 462)  # 11 over 5


@pytest.mark.parametrize(("ours", "theirs"), [(3, 3), (5, 4), (4, 8), (1, 1)])
def test_few_seeds_get_no_verdict(tmp_path: Path, ours: int, theirs: int) -> None:
    write_two(tmp_path, [2.0] * ours, [1.0] * theirs)
    first, found = compared(tmp_path)
    assert first is None
    assert isinstance(found, Unpaired)
    assert (found.seeds, found.p_better, found.p_value) == ((ours, theirs), None, None)


def write_grown(folder: Path, gains: list[float], **fields: Any) -> None:
    """Seed s is one run until 2,000, and grown ends better by the gain."""
    for seed, gain in enumerate(gains):
        past = [10.0 * seed, 20.0 * seed]
        write_run(folder / f"flat{seed}", [*past, 100.0 * seed], at=[1000, 2000, 3000], seed=seed)
        later = [*past, past[-1], 100.0 * seed + gain]
        write_run(folder / f"grown{seed}", later, at=[1000, 2000, 2000, 3000], seed=seed, layers=2, **fields)


def test_a_shared_past_gives_pairs(tmp_path: Path) -> None:
    """Each difference is the seed's own, far smaller than what seeds differ by."""
    write_grown(tmp_path, [3.0, -1.0, 2.0])
    _, found = compared(tmp_path)
    assert isinstance(found, Paired)
    assert found.against.label == "sac_lsp, layers=1"
    assert (found.prefix, found.differences, found.interval) == (2000, {0: 3.0, 1: -1.0, 2: 2.0}, None)
    assert found.mean == pytest.approx(4 / 3)


def test_five_pairs_give_an_interval(tmp_path: Path) -> None:
    gains = [3.0, -1.0, 2.0, 5.0, 1.0]
    write_grown(tmp_path, gains)
    _, found = compared(tmp_path)
    assert isinstance(found, Paired)
    assert found.interval is not None
    np.testing.assert_allclose(found.interval, scipy.stats.ttest_1samp(gains, 0).confidence_interval())


def test_pairs_are_with_the_first_that_shares_a_past(tmp_path: Path) -> None:
    """Not with a stranger before it; and only of the seeds that do."""
    write_run(tmp_path / "a", [1.0], agent="categorical")
    write_grown(tmp_path, [3.0, 4.0])
    write_run(tmp_path / "grown9", [7.0], seed=9, layers=2, steps=3000)
    _, stranger, found = compared(tmp_path)
    assert isinstance(stranger, Unpaired)
    assert isinstance(found, Paired)
    assert (found.against.label, found.differences) == ("sac_lsp, layers=1", {0: 3.0, 1: 4.0})
