"""Spaces that agents can serve, and one line about those they cannot."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.spaces import Box

from lsp.config import ConfigError
from lsp.envs import supported
from lsp.envs.box import BoxEnv

VECTOR = Box(-1.0, 1.0, (3,))
LARGEST = float(np.finfo(np.float32).max)


class Declared(gymnasium.Env[Any, Any]):
    """Declares what it is told to, and remembers its actions."""

    def __init__(self, **declared: Any) -> None:
        vars(self).update(declared)

    def step(self, action: np.ndarray) -> Any:
        self.action = action
        return np.zeros(3), 0.0, False, False, {}


def box(low: Any, high: Any, dtype: Any = np.float32, shape: Any = (2,)) -> Box:
    """Also bounds that `Box` would refuse, as a subclass or a later change may have them."""
    space = Box(-1.0, 1.0, shape, dtype)
    space.low, space.high = np.full(shape, low, dtype), np.full(shape, high, dtype)
    return space


def declared(space: Any) -> BoxEnv:
    env = Declared(observation_space=VECTOR, action_space=space)
    supported.check_spaces("toy", env)
    return BoxEnv(env, "toy")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (box(-LARGEST, LARGEST), "give the Box smaller ones (those of action 0: -3.40282e+38 and 3.40282e+38)"),
        (box(-1e300, 1e300, np.float64), "good as unbounded"),
        (box(2e38, 3e38), "good as unbounded"),
        (box(-np.finfo(np.float64).max, 0.0, np.float64), "good as unbounded"),
        (box(-np.inf, 1.0), "unbounded actions are not supported; give the Box finite bounds"),
        (box([-1.0, np.nan], 1.0), "bounds of actions must be numbers (those of action 1: nan and 1)"),
        (box([-1.0, 2.0], 1.0), "must not be above the upper ones (those of action 1: 2 and 1)"),
        (box(-1, 1, np.int32), "this agent needs continuous ones"),
        (spaces.Discrete(3), "actions Discrete(3) are not supported"),
        (spaces.Dict(left=VECTOR, right=VECTOR), "this agent needs continuous ones"),
        (box(0.0, 0.0, shape=(0,)), "actions of shape (0,) have no number to choose"),
        (None, "its action_space is builtins.NoneType, which is no space of gymnasium.spaces"),
    ],
    ids=str,
)
def test_actions_that_cannot_be_served(space: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        declared(space)
    assert str(caught.value).startswith("environment 'toy'")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


class Failing(Declared):
    action_space = property(lambda self: 1 / 0)  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (Declared(action_space=VECTOR), "has no observation_space: its constructor must set one"),
        (Declared(observation_space=VECTOR), "has no action_space: its constructor must set one"),
        (gymnasium.Wrapper(Declared(observation_space=VECTOR)), "has no action_space: its constructor must set one"),
        (Failing(observation_space=VECTOR), "has no action_space (ZeroDivisionError: division by zero)"),
        (Declared(observation_space=(3,), action_space=VECTOR), "its observation_space is builtins.tuple"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_spaces_that_are_missing(env: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        supported.check_spaces("toy", env)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "space",
    [
        box([-0.1, 0.1], [0.7, 0.3], np.float64),
        box(-0.1, 0.7, np.float32),
        box(-0.1, 0.7, np.float16),
        box(0.7, 0.7, np.float64),
        box([-1.0, 0.3], [1.0, 0.3]),
        box(-1e38, 1e38),
        box(-0.7, 0.1, np.float64, (2, 3)),
        box(-0.7, 0.1, np.float32, (2, 1, 2)),
        box(-0.7, 0.1, np.float64, ()),
        box(1e9, 1e9 + 1, np.float64),
        box(-1e-300, 1e-300, np.float64),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_actions_stay_within_the_bounds_of_their_own_type(space: Box, dtype: Any) -> None:
    env = declared(space)
    assert env.action_space.shape == (np.prod(space.shape),)
    rng = np.random.default_rng(0)
    for size in (1.0, 1.0, 0.5, 1e-9, 3.0):
        for action in (rng.uniform(-size, size, env.action_space.shape), np.full(env.action_space.shape, size)):
            for sign in (-1, 1):
                env.step((sign * action).astype(dtype))
                given: Any = env.unwrapped.action  # type: ignore[attr-defined]
                assert given.dtype == space.dtype
                assert given.shape == space.shape
                assert (given.astype(np.longdouble) >= space.low).all()
                assert (given.astype(np.longdouble) <= space.high).all()
                assert given in space
    env.step(np.ones(env.action_space.shape, dtype))
    np.testing.assert_allclose(env.unwrapped.action, space.high, rtol=1e-6)  # type: ignore[attr-defined]
    env.step(np.zeros(env.action_space.shape, dtype))
    middle = (space.low.astype(np.float64) + space.high) / 2
    np.testing.assert_allclose(env.unwrapped.action, middle, rtol=1e-3, atol=1e-30)  # type: ignore[attr-defined]


def test_matrices_are_handed_back_row_by_row() -> None:
    env = declared(Box(np.zeros((2, 3), np.float32), np.array([[1, 2, 3], [4, 5, 6]], np.float32)))
    env.step(np.array([1, 1, 1, 0, -1, 1], np.float32))
    assert env.unwrapped.action.tolist() == [[1, 2, 3], [2, 0, 6]]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (spaces.Dict(observation=VECTOR, achieved_goal=VECTOR, desired_goal=VECTOR), True),
        (spaces.Dict(observation=VECTOR), False),
        (VECTOR, False),
    ],
)
def test_goals(space: Any, expected: bool) -> None:
    assert supported.has_goals(space) == expected


def test_half_a_goal_is_a_mistake() -> None:
    env = Declared(observation_space=spaces.Dict(observation=VECTOR, desired_goal=VECTOR), action_space=VECTOR)
    with pytest.raises(ConfigError, match="goal environments only, which have observation, desired_goal, achieved_go"):
        supported.check_spaces("toy", env)
