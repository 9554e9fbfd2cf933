"""n-step rows against a double loop, for streams that end early, late and at once."""

from collections.abc import Sequence

import numpy as np
import pytest

from lsp import packing
from lsp.executors.n_step import NStepReturns
from lsp.types import Transition
from tests.support import reference

GAMMA = 0.9
OBSERVATION, ACTION = 2, 1
LAYOUT = packing.Layout(OBSERVATION, ACTION)
LENGTH = 60
N_STEPS = (1, 2, 3, 7)


def random_stream(seed: int, ends: float) -> list[reference.Step]:
    """Steps of which the share `ends` ends an episode, by termination or truncation alike."""
    rng = np.random.default_rng(seed)

    def observation() -> np.ndarray:
        return rng.standard_normal(OBSERVATION).astype(np.float32)

    steps, now = [], observation()
    for _ in range(LENGTH):
        successor, ended = observation(), bool(rng.random() < ends)
        terminated = ended and bool(rng.random() < 0.5)
        action, reward = rng.standard_normal(ACTION).astype(np.float32), float(rng.standard_normal())
        steps.append(reference.Step(now, action, reward, successor, terminated, ended and not terminated))
        now = observation() if ended else successor
    return steps


def feed(returns: NStepReturns, steps: Sequence[reference.Step]) -> list[np.ndarray | None]:
    out = []
    for step in steps:
        discount = np.float32(0.0 if step.terminated else GAMMA)
        transition = Transition(step.observation, step.action, np.float32(step.reward), discount, step.next_observation)
        returns.push(packing.pack(transition), step.terminated or step.truncated)
        row = returns.pop()
        out.append(None if row is None else row.copy())
    return out


@pytest.mark.parametrize("ends", [0.0, 0.1, 0.6, 1.0])
@pytest.mark.parametrize("n", N_STEPS)
def test_equals_the_double_loop(n: int, ends: float) -> None:
    for seed in range(5):
        steps = random_stream(seed, ends)
        out = feed(NStepReturns(n, LAYOUT), steps)
        twin = reference.n_step_transitions(steps, n, GAMMA)
        assert out[: n - 1] == [None] * (n - 1)
        assert len(out[n - 1 :]) == len(twin)  # one row out for each row in
        for row, expected in zip(out[n - 1 :], twin, strict=True):
            got = LAYOUT.unpack(row)
            np.testing.assert_array_equal(got.observation, expected.observation)
            np.testing.assert_array_equal(got.action, expected.action)
            np.testing.assert_array_equal(got.next_observation, expected.next_observation)
            np.testing.assert_allclose(got.reward, expected.reward, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(got.discount, expected.discount, rtol=1e-6)  # 0 only where it must be


@pytest.mark.parametrize("terminated", [False, True])
def test_the_last_steps_of_an_episode(terminated: bool) -> None:
    s = [np.full(OBSERVATION, t, np.float32) for t in range(7)]
    action = np.zeros(ACTION, np.float32)
    steps = [reference.Step(s[t], action, 1.0, s[t + 1], False, False) for t in range(6)]
    steps[3] = steps[3]._replace(terminated=terminated, truncated=not terminated)
    out = [LAYOUT.unpack(row) for row in feed(NStepReturns(3, LAYOUT), steps) if row is not None]
    np.testing.assert_allclose([row.reward for row in out], [1 + GAMMA + GAMMA**2] * 2 + [1 + GAMMA, 1])
    # A time limit bootstraps from the last state seen, over as many steps as there were; a termination from nothing.
    bootstrap = [GAMMA**3, *([0, 0, 0] if terminated else [GAMMA**3, GAMMA**2, GAMMA])]
    np.testing.assert_allclose([row.discount for row in out], bootstrap, rtol=1e-6)
    np.testing.assert_array_equal([row.next_observation[0] for row in out], [3, 4, 4, 4])


@pytest.mark.parametrize("n", N_STEPS)
def test_goes_on_from_its_state(n: int) -> None:
    steps = random_stream(1, 0.2)
    whole = feed(NStepReturns(n, LAYOUT), steps)
    for pause in range(0, LENGTH, 3):
        first, second = NStepReturns(n, LAYOUT), NStepReturns(n, LAYOUT)
        feed(first, steps[:pause])
        state = first.get_state()
        feed(first, steps[pause:])  # what was taken must not change under the taker
        second.set_state(state)
        np.testing.assert_equal(feed(second, steps[pause:]), whole[pause:])
        third = NStepReturns(n, LAYOUT)
        third.set_state(state)  # nor by going on from it
        np.testing.assert_equal(feed(third, steps[pause:]), whole[pause:])


@pytest.mark.parametrize("n", N_STEPS)
def test_a_cut_is_a_truncation_that_was_noticed_late(n: int) -> None:
    steps = random_stream(2, 0.0)
    pause = 20
    truncated = [*steps[: pause - 1], steps[pause - 1]._replace(truncated=True), *steps[pause:]]
    returns = NStepReturns(n, LAYOUT)
    out = feed(returns, steps[:pause])
    returns.cut()
    np.testing.assert_equal(out + feed(returns, steps[pause:]), feed(NStepReturns(n, LAYOUT), truncated))


@pytest.mark.parametrize("n", N_STEPS)
def test_a_cleared_stream_is_a_new_one(n: int) -> None:
    steps = random_stream(1, 0.3)
    returns = NStepReturns(n, LAYOUT)
    feed(returns, steps[:20])
    returns.clear()
    np.testing.assert_equal(feed(returns, steps[20:]), feed(NStepReturns(n, LAYOUT), steps[20:]))
