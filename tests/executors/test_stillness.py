"""Motionless steps: closed forms, and a twin that has the whole episode before it."""

import json
from collections.abc import Iterator

import numpy as np
import pytest

from lsp.config.executors import STILL_STEPS
from lsp.executors.stillness import CHANGE, POSITION, RADIUS, Stillness

SEEN = np.zeros(3)  # an observation


def motionless(places: np.ndarray, observations: np.ndarray | None = None) -> int:
    """Motionless steps of an episode of positions [T, 2], or, where they are None, of observations [T, S]."""
    stillness = Stillness()
    for step in range(len(places)):
        stillness.add(places[step], SEEN if observations is None else observations[step])
    return stillness.finish()


def line(speed: float, steps: int) -> np.ndarray:
    """Positions of a body that goes straight on, in a direction of its own, `speed` a step."""
    return np.outer(speed * np.arange(steps), [0.6, -0.8])


def unsaid(steps: int) -> np.ndarray:
    return np.full((steps, 2), None)


def stretches(places: np.ndarray) -> Iterator[int]:
    """Their lengths, as the definition reads."""
    while len(places):
        away = np.linalg.norm(places - places[0], axis=1) >= RADIUS
        length = int(np.argmax(away)) if away.any() else len(places)
        yield length
        places = places[length:]


def test_a_body_that_stands() -> None:
    """Every step counts, from the first on, once they are enough."""
    for steps in (STILL_STEPS, STILL_STEPS + 1, 1000):
        assert motionless(np.ones((steps, 2))) == steps
        assert motionless(unsaid(steps), np.ones((steps, 4))) == steps


def test_a_short_episode() -> None:
    assert motionless(np.ones((STILL_STEPS - 1, 2))) == 0
    assert motionless(np.ones((1, 2))) == 0


def test_a_body_that_moves() -> None:
    """It covers the radius within `STILL_STEPS` steps, or not quite."""
    fast, slow = (RADIUS / (STILL_STEPS - 1 + shift) for shift in (-0.5, 0.5))
    assert motionless(line(fast, 1000)) == 0
    assert motionless(line(slow, 10 * STILL_STEPS)) == 10 * STILL_STEPS


@pytest.mark.parametrize(("amplitude", "share"), [(0.49 * RADIUS, 1), (0.55 * RADIUS, 0)])
@pytest.mark.parametrize("period", [10, 40, STILL_STEPS])
def test_a_body_that_swings(amplitude: float, period: int, share: int) -> None:
    """In place it is motionless; farther it is not, though it is always back after a period."""
    swing = amplitude * np.cos(2 * np.pi * np.arange(1000) / period)
    assert motionless(np.stack([swing, 0 * swing], axis=1)) == share * 1000


def test_stretches_before_and_after_motion() -> None:
    stand, run = np.zeros((300, 2)), line(0.1, 201)[1:]
    lie = np.repeat(run[-1:], 150, axis=0)
    found = motionless(np.concatenate([stand, run, lie]))
    assert 450 <= found <= 450 + 2 * RADIUS / 0.1
    stop = np.repeat(run[-1:], STILL_STEPS // 2, axis=0)
    assert motionless(np.concatenate([run, stop, run + run[-1]])) == 0


def test_the_whole_episode_says_the_same(rng: np.random.Generator) -> None:
    shares = []
    for _ in range(20):
        pace = np.repeat(rng.choice([0.0, 0.01, 0.1], 10), 60)[:, None]
        places = np.cumsum(pace * rng.normal(size=(600, 2)), axis=0)
        expected = sum(length for length in stretches(places) if length >= STILL_STEPS)
        assert motionless(places) == expected
        shares.append(expected / 600)
    assert min(shares) < 0.5 < max(shares)


def test_steps_count_up_and_begin_again() -> None:
    stillness, seen = Stillness(), []
    for place in [(0.0, 0.0)] * 3 + [(1.0, 0.0)] * 2:
        stillness.add(place, SEEN)
        seen.append(stillness.steps)
    assert seen == [1, 2, 3, 1, 2]
    stillness.finish()
    stillness.add((1.0, 0.0), SEEN)
    assert stillness.steps == 1  # the next episode begins where it likes


@pytest.mark.parametrize(("change", "still"), [(0.9 * CHANGE, True), (1.1 * CHANGE, False)])
@pytest.mark.parametrize("size", [0.0, -1.0, 50.0])
def test_without_a_position_the_observation_counts(size: float, change: float, still: bool) -> None:
    """Each number by itself, and relative to its size where that is beyond 1."""
    observations = np.tile([3.0, size, 0.0], (200, 1))
    observations[:, 1] += change * max(1.0, abs(size)) * (np.arange(200) % 2)
    assert motionless(unsaid(200), observations) == 200 * still


def test_with_a_position_the_observation_does_not_count(rng: np.random.Generator) -> None:
    """A body that kicks its legs in place."""
    assert motionless(np.ones((200, 2)), rng.normal(size=(200, 5))) == 200


def test_one_coordinate_is_a_position() -> None:
    assert POSITION == ("x_position", "y_position")
    x = np.array([[0.0, None]] * 200)
    assert motionless(x) == 200
    x[:, 0] = 0.1 * np.arange(200)
    assert motionless(x) == 0


def test_what_a_step_says_may_change() -> None:
    """From a position to none, and back: another place."""
    said, unknown = [(0.0, 0.0)] * STILL_STEPS, [(None, None)] * (STILL_STEPS - 1)
    assert motionless(np.array([*said, *unknown, *said])) == 2 * STILL_STEPS
    assert motionless(np.array([(0.0, 0.0), (None, None)] * STILL_STEPS)) == 0


@pytest.mark.parametrize("positions", [True, False])
def test_continues_exactly(positions: bool, rng: np.random.Generator) -> None:
    """Through JSON, wherever it is cut; bits of the place included."""
    paces = rng.choice([0.0, RADIUS / 7], (400, 2), p=[0.9, 0.1])
    paces[100:250] = 0.0
    walk = np.cumsum(paces, axis=0)
    places = walk if positions else unsaid(400)
    observations = np.round(walk / RADIUS, 1).astype(np.float32)
    straight = Stillness()
    resumed = Stillness()
    for place, observation in zip(places, observations, strict=True):
        straight.add(place, observation)
        resumed.add(place, observation)
        again = Stillness()
        again.set_state(json.loads(json.dumps(resumed.get_state())))
        resumed = again
        assert resumed.get_state() == straight.get_state()
    assert 400 > resumed.finish() == straight.finish() > 0
