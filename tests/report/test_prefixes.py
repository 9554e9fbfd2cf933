"""Runs that were one run until they parted are found, and scored over one window."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsp.config import ConfigError
from lsp.report.prefixes import align, comparable, shared_prefix, step_for_all
from lsp.report.runs import RunResults, read
from tests.support.folders import write_run

PAST = [1.0, 2.0, 3.0]


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """A run of the common past and what follows at 4,000, 5,000, ..., by default without growth."""

    def write(*later: float, name: str = "", past: list[float] = PAST, **fields: Any) -> RunResults:
        grown = [past[-1]] * ("layers" in fields)
        at = [1000, 2000, 3000, *[3000] * len(grown), *range(4000, 4000 + 1000 * len(later), 1000)]
        folder = tmp_path / (name or str(len(list(tmp_path.iterdir()))))
        return read(write_run(folder, [*past, *grown, *later], at=at, **fields), "sampled")

    return write


def test_shared_until_growth(make: Any) -> None:
    flat, grown, other = make(4.0, 5.0), make(4.5, 5.5, layers=2, growth__identity=False), make(9.0, 9.0, layers=2)
    assert shared_prefix(flat, grown) == shared_prefix(grown, flat) == shared_prefix(grown, other) == 3000
    assert shared_prefix(flat, make(4.0, 6.0, steps=9000)) == 4000
    assert comparable(flat, grown)


def test_what_is_no_common_past(make: Any) -> None:
    """Another seed, environment or setting, however equal; a bit of difference from the start; a shorter run."""
    flat = make(4.0, 5.0)
    assert shared_prefix(flat, make(4.0, 5.0, seed=1)) == 0
    assert shared_prefix(flat, make(4.0, 5.0, env="Hopper-v5")) == 0
    assert shared_prefix(flat, make(4.0, 5.0, gamma=0.5)) == 0
    assert shared_prefix(flat, make(4.0, 5.0, past=[np.nextafter(1.0, 2.0), 2.0, 3.0], layers=2)) == 0
    shorter = make(4.0, layers=2)
    assert shared_prefix(flat, shorter) == 4000
    assert not comparable(flat, shorter)


def test_equal_before_learning_is_not_enough(tmp_path: Path) -> None:
    """Two untrained policies of one seed may well do the same."""
    a = write_run(tmp_path / "a", [1.0, 2.0], at=[500, 1000])  # no update before step 500
    b = write_run(tmp_path / "b", [1.0, 3.0], at=[500, 1000], layers=2)
    assert shared_prefix(read(a, "sampled"), read(b, "sampled")) == 0


def test_evaluated_at_other_steps(tmp_path: Path) -> None:
    """Only what both evaluated can be compared."""
    a = write_run(tmp_path / "a", [1.0, 2.0, 3.0, 4.0])
    b = write_run(tmp_path / "b", [2.0, 4.0], at=[2000, 4000], evaluation__every=2000)
    assert shared_prefix(read(a, "sampled"), read(b, "sampled")) == 4000


def test_one_window_for_all_arms(make: Any) -> None:
    """The flat run, which could look further back, looks only at what came after growth; alone it looks back."""
    flat, grown, stranger = make(4.0, 5.0), make(6.0, 7.0, layers=2), make(8.0, 9.0, seed=1)
    assert flat.window == (1000, 5000, 10)
    aligned = align([flat, grown, stranger])
    assert [run.window for run in aligned] == [(4000, 5000, 4), (4000, 5000, 4), (1000, 5000, 10)]
    assert [run.score for run in aligned] == [4.5, 6.5, np.mean([1, 2, 3, 8, 9])]
    assert [run.folder for run in aligned] == [run.folder for run in (flat, grown, stranger)]


def test_the_window_has_enough_episodes_of_each(tmp_path: Path) -> None:
    """Where arms are evaluated at other steps, that of the one evaluated less often."""
    steps = range(1000, 101_000, 1000)
    often = write_run(tmp_path / "a", [float(step) for step in steps])
    seldom = write_run(tmp_path / "b", [float(step) for step in steps[1::2]], at=steps[1::2], evaluation__every=2000)
    one, other = align([read(often, "sampled"), read(seldom, "sampled")])
    assert one.window == (52_000, 100_000, 98)
    assert other.window == (52_000, 100_000, 50)


def test_one_window_by_order(make: Any) -> None:
    """From a step on that the user names; also where a layer had not begun to learn then."""
    flat, grown, stranger = make(4.0, 5.0), make(6.0, 7.0, layers=2), make(8.0, 9.0, seed=1)
    aligned = align([flat, grown, stranger], score_from=2000)
    assert [run.window for run in aligned] == [(4000, 5000, 4), (4000, 5000, 4), (2000, 5000, 8)]
    assert [run.score for run in align([stranger], score_from=4500)] == [9.0]
    with pytest.raises(ConfigError, match=r"^--score-from=5001 is after the last evaluation of .*, at step 5000$"):
        align([stranger], score_from=5001)


def test_windows_that_differ_though_lengths_do_not(make: Any, tmp_path: Path) -> None:
    """The step that makes them the same is before the window of none, and after the growth of all."""
    steps = range(1000, 101_000, 1000)
    often = read(write_run(tmp_path / "often", [1.0] * 100), "sampled")
    seldom = read(write_run(tmp_path / "seldom", [1.0] * 50, at=steps[1::2], agent="prioritized"), "sampled")
    shorter = read(write_run(tmp_path / "shorter", [1.0] * 90, seed=2), "sampled")
    assert (often.window.first, seldom.window.first) == (76_000, 52_000)
    assert step_for_all([often, shorter]) is None
    step = step_for_all([often, shorter, seldom])
    assert step == 52_000
    assert {run.window.first for run in align([often, seldom, shorter], step)} == {52_000}
    grown = read(write_run(tmp_path / "grown", [1.0] * 101, at=[*steps[:60], *steps[59:]], layers=2), "sampled")
    assert step_for_all([seldom, grown]) == 61_000
    assert {run.window.first for run in align([seldom, grown], 61_000)} == {61_000, 62_000}
