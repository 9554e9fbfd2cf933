"""A line of metrics is of all updates since the line before, whatever parted them."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from lsp.training import interval
from lsp.training.interval import Interval, kind_of, reduce
from lsp.training.transforms import OneSeed

NAMES = ["alpha", "q", "q_max"]  # newest, mean, largest


def make(seeds: int = 1) -> Interval:
    return Interval(NAMES, seeds, OneSeed().unstack if seeds == 1 else lambda metrics: list(np.asarray(metrics)))


def added(counted: Interval, history: np.ndarray) -> Interval:
    for metrics in history:
        counted.add(jnp.asarray(metrics))
    return counted


def taken(counted: Interval, index: int) -> dict[str, float]:
    """A line, which says the same as often as it is asked for, until the next interval begins."""
    line = counted.line(index)
    np.testing.assert_equal(counted.line(index), line)
    counted.begin(index)
    return line


@pytest.mark.parametrize("dispatches", [1, 2, 63, 64, 65, 200])
def test_what_a_line_says(dispatches: int, rng: np.random.Generator) -> None:
    history = rng.normal(-5.0, 1.0, (dispatches, 3)).astype(np.float32)
    line = taken(added(make(), history), 0)
    assert line == {
        "alpha": history[-1, 0],
        "q": pytest.approx(np.mean(history[:, 1], dtype=np.float64), rel=1e-12),
        "q_max": np.max(history[:, 2]),
    }


def test_a_line_begins_the_next(rng: np.random.Generator) -> None:
    history = rng.normal(size=(90, 3)).astype(np.float32)
    counted = make()
    assert taken(counted, 0) == {}
    lines = [taken(added(counted, part), 0) for part in np.split(history, [70, 75])]
    assert lines == [taken(added(make(), part), 0) for part in np.split(history, [70, 75])]
    assert taken(counted, 0) == {}


def test_few_dispatches_stay_on_the_device() -> None:
    counted = added(make(), np.zeros((10 * interval.LAG, 3)))
    assert interval.LAG <= len(counted._waiting) <= 2 * interval.LAG


@pytest.mark.parametrize("cut", [0, 1, 50, 64, 130, 199])
def test_continues_exactly(cut: int, rng: np.random.Generator) -> None:
    """To the last bit, wherever a checkpoint was written that the uninterrupted run did not write."""
    history = rng.normal(size=(200, 3)).astype(np.float32)
    first, second = added(make(), history[:cut]), make()
    state = first.get_state(0)
    added(first, history[cut:])
    second.set_state(0, state)
    added(second, history[cut:])
    expected = taken(added(make(), history), 0)
    assert taken(first, 0) == taken(second, 0) == expected


def test_seeds_have_intervals_of_their_own(rng: np.random.Generator) -> None:
    """The second seed is restored, and the first one's line is due earlier."""
    history = rng.normal(size=(100, 3, 3)).astype(np.float32)  # dispatches, places, metrics; the last place is idle
    many = added(make(2), history[:40])
    assert taken(many, 0) == taken(added(make(), history[:40, 0]), 0)
    many.set_state(1, added(make(), history[:7, 1]).get_state(0))
    added(many, history[40:])
    assert taken(many, 0) == taken(added(make(), history[40:, 0]), 0)
    both = np.concatenate([history[:7, 1], history[40:, 1]])
    assert taken(many, 1) == taken(added(make(), both), 0)


@pytest.mark.parametrize("at", [0, 60, 99])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_shows(at: int, value: float) -> None:
    history = np.zeros((100, 3))
    history[at] = value
    line = taken(added(make(), history), 0)
    assert not np.isfinite([line["q"], line["q_max"]]).any()


def test_a_dispatch_says_the_same_of_its_updates(rng: np.random.Generator) -> None:
    history = rng.normal(size=(5, 3)).astype(np.float32)
    found: Any = reduce(NAMES, jnp.asarray(history))
    np.testing.assert_allclose(found, [history[-1, 0], np.mean(history[:, 1]), np.max(history[:, 2])], rtol=1e-6)


def test_no_updates_and_no_metrics() -> None:
    empty = Interval([], 1, OneSeed().unstack)
    empty.add(jnp.zeros(0))
    assert taken(empty, 0) == {}


def test_kinds() -> None:
    assert {kind_of(name) for name in interval.KINDS} == {"newest", "largest"}
    assert kind_of("critic_loss") == kind_of("log_det/1") == "mean"
