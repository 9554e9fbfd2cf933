"""Which evaluations count, in closed form: a tenth of the steps, fifty episodes, nothing from before learning."""

import numpy as np
import pytest

from lsp.report import windows
from lsp.report.windows import Bounds


def first(every: int, end: int, episodes: int, after: int = -1) -> int:
    steps = np.arange(every, end + 1, every)
    return windows.first_step(steps, np.full(len(steps), episodes), after)


@pytest.mark.parametrize("every", [1_000, 2_000, 5_000, 10_000, 50_000])
def test_the_window_depends_on_the_length_and_not_on_the_cadence(every: int) -> None:
    """It is (900k, 1M], whatever the time between two evaluations."""
    assert first(every, 1_000_000, episodes=50) == 900_000 + every


@pytest.mark.parametrize("episodes", [1, 2, 5, 10, 20, 49, 50, 100])
def test_too_few_episodes_take_evaluations_from_before(episodes: int) -> None:
    """One by one: as many as it takes and no more."""
    count = -(-50 // episodes)
    assert first(100, 10_000, episodes) == 10_000 - 100 * (max(count, 10) - 1)
    assert first(10_000, 1_000_000, episodes) == 1_000_000 - 10_000 * (max(count, 10) - 1)
    assert first(100_000, 1_000_000, episodes) == max(1_000_000 - 100_000 * (count - 1), 100_000)


def test_evaluations_of_unequal_size() -> None:
    steps, episodes = np.arange(1, 7) * 100, np.array([10, 30, 10, 9, 20, 20])
    assert windows.first_step(steps, episodes, -1) == 300  # 20 + 20 + 9 are one too few
    assert windows.first_step(steps, episodes + (steps == 400), -1) == 400


def test_nothing_from_before_learning() -> None:
    steps = np.array([0, 100, 200, 300])
    assert windows.start_of_learning(steps, np.array([0, 0, 5, 10])) == 100
    assert windows.first_step(steps, np.full(4, 10), 100) == 200
    assert windows.counted(steps, Bounds(100, 200)).tolist() == [False, False, True, True]


def test_a_run_that_has_not_learned_is_scored_all_the_same() -> None:
    steps = np.array([100, 200])
    assert windows.start_of_learning(steps, np.zeros(2)) == -1
    assert windows.first_step(steps, np.array([1, 1]), -1) == 100


@pytest.mark.parametrize(
    ("steps", "after"),
    [
        ([10, 20, 20, 30], 20),
        ([10, 20, 20, 30, 30, 40], 30),
        ([10, 20, 20], -1),  # nothing was trained since: the layer below
        ([10, 20, 20, 30, 30], 20),
        ([10, 20, 30], -1),
    ],
)
def test_only_the_layer_trained_last(steps: list[int], after: int) -> None:
    at = np.array(steps)
    assert windows.start_of_learning(at, at) == after
    assert windows.counted(at, Bounds(after, 0)).tolist() == [
        step > after and steps[:i].count(step) == 0 for i, step in enumerate(steps)
    ]


def test_bounds_of_a_run_by_itself() -> None:
    steps = np.arange(100, 1100, 100)
    assert windows.bounds(steps, steps - 300, np.full(10, 10)) == (300, 600)
    assert windows.bounds(steps, steps - 700, np.full(10, 10)) == (700, 800)


def test_repeats() -> None:
    assert windows.repeats(np.array([1, 2, 2, 2, 5])).tolist() == [0, 0, 1, 2, 0]
