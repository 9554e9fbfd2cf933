"""Dip and area at growth, against sums done by hand."""

from pathlib import Path

import pytest

from lsp.report import growth
from lsp.report.groups import group_by_seed
from lsp.report.runs import read, read_all
from tests.support.folders import write_run

AT = [100_000, 200_000, 200_000, 250_000, 350_000]


def test_by_hand(tmp_path: Path) -> None:
    """The span ends between two evaluations: there the curve is interpolated, and the second is not looked at."""
    run = read(write_run(tmp_path / "a", [900.0, 1000.0, 400.0, 600.0, 0.0], at=AT), "sampled")
    found = growth.aftermath(run, 200_000)
    assert found is not None
    assert found.dip == 600.0
    assert found.area == pytest.approx(50_000 * 500 + 50_000 * (600 + 300) / 2)
    assert found.span == 100_000


def test_a_run_that_ends_sooner(tmp_path: Path) -> None:
    run = read(write_run(tmp_path / "a", [900.0, 1000.0, 1000.0, 600.0], at=AT[:-1]), "sampled")
    assert growth.aftermath(run, 200_000) == growth.Aftermath(400.0, 50_000 * 800.0, 50_000)


def test_a_policy_that_rises_has_a_negative_dip(tmp_path: Path) -> None:
    run = read(write_run(tmp_path / "a", [1.0, 2.0, 3.0, 4.0], at=[1, 2, 2, 3]), "sampled")
    assert growth.aftermath(run, 2) == growth.Aftermath(-1.0, 3.5, 1)


@pytest.mark.parametrize("at", [[1, 2, 2], [1, 3, 4], [1, 2, 200_000]])
def test_what_cannot_be_known(tmp_path: Path, at: list[int]) -> None:
    run = read(write_run(tmp_path / "a", [1.0, 2.0, 3.0], at=at), "sampled")
    assert growth.aftermath(run, 2) is None


def test_groups(tmp_path: Path) -> None:
    """Means over seeds; of runs that do not grow, at the step where another does."""
    for seed in range(2):
        write_run(tmp_path / f"grown{seed}", [4.0, 1.0, 2.0 + seed], at=[1000, 1000, 2000], seed=seed, layers=2)
        write_run(tmp_path / f"flat{seed}", [4.0 + seed, 3.0], seed=seed)
    flat, grown = group_by_seed(read_all([tmp_path], "sampled"))
    assert growth.growth_step([flat]) is None
    step = growth.growth_step([flat, grown])
    assert step == 1000
    assert growth.of_group(grown, step) == growth.Aftermath(3.0, 1750.0, 1000)
    assert growth.of_group(flat, step) == growth.Aftermath(1.5, 3750.0, 1000)
    assert growth.of_group(flat, None) is None
    assert growth.explanation([flat]) is None
    assert "100,000 steps" in str(growth.explanation([flat, grown]))


def test_seeds_of_unequal_length_have_no_common_area(tmp_path: Path) -> None:
    for seed in range(2):
        at = [1000, 1000, 2000, 3000][: 3 + seed]
        write_run(tmp_path / str(seed), [4.0] * len(at), at=at, seed=seed, layers=2, steps=3000)
    (group,) = group_by_seed(read_all([tmp_path], "sampled"))
    assert growth.of_group(group, 1000) is None
