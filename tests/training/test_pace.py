"""Speed and the time that is left, by closed forms."""

import math

import pytest

from lsp.training.pace import ENOUGH, MEMORY, Pace


def test_nothing_is_said_too_early() -> None:
    pace = Pace()
    assert pace.speed is None
    assert pace.seconds_for(100) is None
    pace.train(100, ENOUGH / 2)
    assert pace.speed is None
    pace.train(100, ENOUGH)
    assert pace.speed == pytest.approx(200 / (1.5 * ENOUGH), rel=0.05)


def test_a_steady_speed_is_that_speed() -> None:
    pace = Pace()
    for seconds in (3.0, 0.25, 40.0, 7.0):
        pace.train(int(400 * seconds), seconds)
    assert pace.speed == pytest.approx(400)
    assert pace.seconds_for(2000) == pytest.approx(5)


def test_another_speed_takes_over_within_minutes() -> None:
    """After t seconds of a new speed, the old one weighs exp(-t / MEMORY)."""
    pace, new = Pace(), Pace()
    for _ in range(100):
        pace.train(1000, 10.0)
    for _ in range(12):
        pace.train(50, 10.0)
        new.train(50, 10.0)
    old = 100 * 1 / (1 - math.exp(-10 / MEMORY)) * math.exp(-120 / MEMORY) * 10  # steps that are still remembered
    assert new.speed == pytest.approx(5)
    assert pace.speed == pytest.approx((old + new._steps) / (old / 100 + new._seconds), rel=1e-3)
    assert 5 < pace.speed < 20


def test_a_restart_forgets_the_speed_alone() -> None:
    pace = Pace()
    pace.train(5000, 10.0)
    pace.interruption("evaluation", 30.0, every=100)
    pace.restart()
    assert pace.speed is None
    pace.train(100, 10.0)
    assert pace.speed == pytest.approx(10)
    assert pace.seconds_for(1000) == pytest.approx(100 + 1000 / 100 * 30)


def test_work_in_between_is_part_of_the_rest() -> None:
    """Of each kind the newest counts; what does not come again does not."""
    pace = Pace()
    pace.train(1000, 10.0)
    for name, seconds, every in (("a", 99.0, 100), ("a", 5.0, 100), ("b", 1.0, 200), ("growth", 1e6, 0)):
        pace.interruption(name, seconds, every)
    assert pace.speed == pytest.approx(100)
    assert pace.seconds_for(1000) == pytest.approx(10 + 50 + 5)


def test_no_progress_has_no_end() -> None:
    pace = Pace()
    pace.train(0, 10.0)
    assert pace.speed == 0
    assert pace.seconds_for(5) is None
