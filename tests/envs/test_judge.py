"""Goals evaluated by an environment's own functions: batches and single goals, shapes and types, refusals."""

import re
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict

from lsp import envs
from lsp.config import Config, ConfigError, GoalsConfig
from lsp.envs.judge import Judge, method
from tests.support import goal_envs

GOAL = Box(-np.inf, np.inf, (2,), np.float64)


class Hilly(gymnasium.Env[Any, Any]):
    """Someone's goal environment: `judge` is its compute_reward."""

    observation_space: Any = Dict(observation=GOAL, achieved_goal=GOAL, desired_goal=GOAL)
    action_space = Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, judge: Any) -> None:
        self.judge = judge

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        return self.judge(achieved_goal, desired_goal, info)


class Ending(Hilly):
    """Its compute_terminated is of one pair, as gymnasium-robotics has it."""

    def compute_terminated(self, achieved_goal: Any, desired_goal: Any, info: Any) -> bool:
        return bool(np.linalg.norm(achieved_goal - desired_goal) < 1)


def heights(achieved: Any, desired: Any, info: Any) -> Any:
    assert len(info) == len(desired)
    return np.sin(achieved[:, 0] - desired[:, 1])


def checked(env: Any, **how: Any) -> Judge:
    judge = Judge(env, "hills", **how)
    judge.check()
    return judge


def test_batches_with_any_leading_axes() -> None:
    judge = checked(Hilly(heights))
    achieved, goal = np.random.default_rng(0).normal(size=(2, 4, 3, 2)).astype(np.float32)
    found = judge.reward(achieved, goal, np.zeros((4, 3)))
    np.testing.assert_allclose(found, np.sin(achieved[..., 0] - goal[..., 1]), rtol=1e-6)
    assert found.dtype == np.float32
    assert not judge.terminated(achieved, goal).any()
    assert judge.terminated(achieved, goal).shape == (4, 3)
    assert not judge.ends_goals
    assert judge.of_step(achieved[0, 0], goal[0, 0], {}) == pytest.approx(float(found[0, 0]), rel=1e-6)


def test_a_termination_of_their_own() -> None:
    judge = checked(Ending(heights))
    achieved = np.array([[[0.0, 0.0], [0.0, 3.0], [0.5, 0.0]]])
    assert judge.terminated(achieved, np.zeros_like(achieved)).tolist() == [[True, False, True]]


@pytest.mark.parametrize(("error", "works"), [(NotImplementedError, True), (KeyError, False)])
def test_a_termination_that_is_only_declared_is_none(error: type[Exception], works: bool) -> None:
    class Declared(Hilly):
        def compute_terminated(self, *goals: Any) -> bool:
            raise error("in a subclass")

    if works:
        assert not checked(Declared(heights)).ends_goals
        return
    with pytest.raises(ConfigError, match="'hills': its compute_terminated cannot evaluate a goal with an empty info"):
        checked(Declared(heights))


def fails(achieved: Any, desired: Any, info: Any) -> Any:
    raise KeyError("needs\na hint")


def needs_info(achieved: Any, desired: Any, info: Any) -> Any:
    return np.array([each["speed"] for each in info])


def of_first(achieved: Any, desired: Any, info: Any) -> Any:
    """As many numbers as there are goals, and none right but the first."""
    if achieved.ndim == 1:
        return float(achieved[0])
    return np.full(len(achieved), achieved[0, 1])


BAD = [fails, partial(np.dot), lambda a, g, i: np.zeros(3), lambda a, g, i: None, lambda a, g, i: "far", needs_info]


@pytest.mark.parametrize("judge", BAD)
def test_rewards_that_cannot_be_of_batches(judge: Any) -> None:
    with pytest.raises(ConfigError, match=r"'hills': its compute_reward cannot evaluate a batch of goals") as caught:
        checked(Hilly(judge))
    assert "\n" not in str(caught.value)


ONE = {
    "axes": lambda a, g, i: -np.hypot(a[0] - g[0], a[1] - g[1]),
    "norm": lambda a, g, i: -np.linalg.norm(a - g),
    "truth": lambda a, g, i: 0.0 if np.linalg.norm(a - g) < 1 else -1.0,
    "dot": lambda a, g, i: a @ g,
    "first": of_first,
}


@pytest.mark.parametrize("name", ONE)
def test_one_goal_at_a_time_is_refused_and_a_loop_offered(name: str) -> None:
    """Also of as many axes as there are goals in the batch that is tried."""
    with pytest.raises(ConfigError, match=r"--goals.one-by-one calls it with .* some \d+ ms for 1,000"):
        checked(Hilly(ONE[name]))
    judge = checked(Hilly(ONE[name]), one_by_one=True)
    achieved, goal = np.random.default_rng(0).normal(size=(2, 3, 2, 2)).astype(np.float32)
    found = judge.reward(achieved, goal, np.zeros((3, 2)))
    expected = [
        [ONE[name](*pair, {}) for pair in zip(*pairs, strict=True)] for pairs in zip(achieved, goal, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert 0 < judge.seconds() < 10


@pytest.mark.parametrize("size", [1, 4, 5, 7])
def test_the_batch_that_is_tried_is_never_as_long_as_a_goal(size: int) -> None:
    space = Box(-np.inf, np.inf, (size,), np.float64)
    env = Hilly(lambda a, g, i: sum(abs(a[axis] - g[axis]) for axis in range(size)))
    env.observation_space = Dict(observation=GOAL, achieved_goal=space, desired_goal=space)
    with pytest.raises(ConfigError, match=r"--goals\.one-by-one"):
        checked(env)


SHAPES = {
    "column": lambda a, g, i: -np.abs(a - g)[:, :1],
    "list": lambda a, g, i: [-abs(float(x[0] - y[0])) for x, y in zip(a, g, strict=True)],
    "lists of one": lambda a, g, i: [[-abs(float(x[0] - y[0]))] for x, y in zip(a, g, strict=True)],
    "row": lambda a, g, i: -np.abs(a - g)[None, :, 0],
    "one info for all": lambda a, g, i: -np.abs(a - g)[..., 0] + i.get("cost", 0.0),
    "float16": lambda a, g, i: (-np.abs(a - g)[..., 0]).astype(np.float16),
    "in place": lambda a, g, i: -np.abs(np.subtract(a, g, out=a))[..., 0],
}


@pytest.mark.parametrize("name", SHAPES)
def test_what_can_be_used_is(name: str) -> None:
    achieved, goal = np.random.default_rng(0).normal(size=(2, 6, 2)).astype(np.float32)
    for array in (achieved, goal):
        array.setflags(write=False)  # as those of a callback are
    found = checked(Hilly(SHAPES[name])).reward(achieved, goal, np.zeros(6))
    np.testing.assert_allclose(found, -np.abs(achieved - goal)[:, 0], rtol=1e-2)


def test_goals_have_the_shape_and_type_of_their_spaces() -> None:
    """Whole numbers are whole again after float32, and matrices are matrices."""
    grid = checked(goal_envs.Grid())
    found = grid.reward(np.float32([[6, 5], [0, 1]]), np.float32([[0, 3], [6, 6]]), np.zeros(2))
    assert found.tolist() == [47.0 - 3.0, 1.0 - 48.0]
    square = checked(goal_envs.Square())
    assert square.reward(np.zeros((2, 2)), np.array([[0, 0.2], [1, 0]]), np.zeros(2)).tolist() == [0, -1]


def test_an_environment_that_evaluates_only_in_an_episode_is_asked_after_a_reset() -> None:
    class Prepared(goal_envs.Point):
        def compute_reward(self, achieved: Any, desired: Any, info: Any) -> Any:
            return super().compute_reward(achieved - self.x, desired - self.x, info)

    checked(Prepared())


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39, None])
def test_a_reward_that_float32_does_not_hold_is_said_once(value: Any, capsys: Any) -> None:
    judge = Judge(Hilly(lambda a, g, i: [-1.0, value]), "hills")
    for _ in range(2):
        found = judge.reward(np.zeros((2, 2)), np.zeros((2, 2)), np.zeros(2))
        assert found[0] == -1
        assert not np.isfinite(found[1])
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(
        r"lsp: warning: environment hills: compute_reward gave \S+, which float32 does not hold; such", line
    )


def test_an_exception_in_training_is_said_once_and_no_reward(capsys: Any) -> None:
    class Broken(Ending):
        def compute_terminated(self, *goals: Any) -> bool:
            raise KeyError

    judge = Judge(Broken(fails), "hills")
    assert np.isnan(judge.reward(np.zeros((3, 2)), np.zeros((3, 2)), np.zeros(3))).all()
    assert not judge.terminated(np.zeros((3, 2)), np.zeros((3, 2))).any()
    (line,) = capsys.readouterr().err.splitlines()
    assert "compute_reward raised KeyError: 'needs\\na hint'; such transitions keep their own goals" in line


def test_rewards_that_change_are_found() -> None:
    env = goal_envs.Late(after=3)
    env.reset(seed=0)
    judge = checked(env)
    goals = np.zeros(2), np.ones(2)
    assert judge.changed(*goals) == ""
    assert judge.changed(*goals) == ""
    env.reset()
    env.reset()
    assert judge.changed(*goals) == "compute_reward gives 0 where it gave -1 for the same goals"
    assert "for the same goals" in Judge(goal_envs.Noisy(), "noise").changed(*goals)


def test_methods_are_the_outermost_ones() -> None:
    class Harder(gymnasium.Wrapper[Any, Any, Any, Any]):
        def compute_reward(self, achieved: Any, desired: Any, info: Any) -> Any:
            return 2.0 * self.unwrapped.compute_reward(achieved, desired, info)  # type: ignore[attr-defined]

    class Other(gymnasium.Wrapper[Any, Any, Any, Any]):
        compute_terminated = True

    env = Other(Harder(goal_envs.Point()))
    found = method(env, "compute_reward")
    assert found is not None
    assert found(np.zeros(2), np.ones(2), {}) == -2
    assert method(env, "compute_terminated") is None
    assert method(env, "compute_truncated") is None


def test_without_compute_reward_there_is_no_hindsight() -> None:
    class Plain(goal_envs.Point):
        compute_reward = None  # type: ignore[assignment]

    with pytest.raises(ConfigError, match=r"it has no compute_reward.*--goals.kind=none"):
        checked(Plain())


@pytest.mark.parametrize("name", ["Plane", "Cost"])
def test_the_flags_reach_the_environment(name: str) -> None:
    """Refused for hindsight alone: without, nobody evaluates goals."""

    def make(**given: Any) -> Any:
        return envs.make_env(Config(env=f"{goal_envs.__name__}:{name}", goals=GoalsConfig(**given)))

    assert make(kind="hindsight", one_by_one=True).judge.one_by_one
    env = make(kind="none")
    env.reset(seed=0)
    env.step(np.zeros(2))
    assert not env.has_beside
    if name == "Plane":
        with pytest.raises(ConfigError, match=r"--goals\.one-by-one"):
            make(kind="hindsight")
