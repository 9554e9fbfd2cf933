"""Dictionaries become vectors, and every step says what it achieved."""

import re
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict

from lsp.config import ConfigError
from lsp.envs import EnvironmentFault, GoalBoxEnv, can_restore, goals, make, spec_of
from tests.support import goal_envs

GOAL = Box(-np.inf, np.inf, (2,), np.float64)
STATE = Box(-np.inf, np.inf, (3,), np.float64)
HERE = f"{__name__}:Walk"
TRUE = np.bool_(True)


class Walk(gymnasium.Env[Any, Any]):
    """Walks on the spot `achieved`, and terminates there where so told."""

    action_space = Box(-1.0, 1.0, (2,), np.float32)
    rules = goals.Rules(lambda achieved, goal, env_reward: env_reward, lambda achieved, goal: achieved[..., 0] == 1.0)

    def __init__(
        self,
        success: str = "is_success",
        space: Any = None,
        achieved: Any = (1.0, 2.0),
        value: Any = TRUE,
        lie: Any = None,
        at: int = 0,
    ) -> None:
        ours = Dict(desired_goal=GOAL, observation=STATE, achieved_goal=GOAL)
        self.observation_space = ours if space is None else space
        self.success, self.value, self.more = success, value, {}
        self.place, self.lie, self.at, self.t = np.array(achieved), lie, at, 0

    def observe(self) -> Any:
        seen = {"achieved_goal": self.place, "desired_goal": np.array([3.0, 4.0]), "observation": np.array([5, 6, 7])}
        return self.lie(seen) if self.lie is not None and self.t >= self.at else seen

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.t = 0
        return self.observe(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        return self.observe(), 0.5, bool(action[0] > 0), False, {self.success: self.value, **self.more}


def test_observation_then_goal() -> None:
    env = make(HERE)
    assert isinstance(env, GoalBoxEnv)
    observation, _ = env.reset(seed=0)
    assert observation.dtype == np.float32
    assert observation.tolist() == [5, 6, 7, 3, 4]
    spec = spec_of(env)
    assert (spec.observation_dim, spec.action_dim, spec.goals.dim, spec.goals.max_episode_steps) == (5, 2, 2, None)
    assert spec_of(make(HERE, max_episode_steps=9)).goals.max_episode_steps == 9
    assert spec_of(make("lsp/Reacher2D-v0")).goals.max_episode_steps == 50


def test_outcome_of_a_step() -> None:
    """Achieved goal, number of the step, and whether anything but the goal terminated it."""
    env = make(HERE)
    env.reset()
    env.step(np.zeros(2))
    assert env.outcome.tolist() == [1, 2, 0, 0]
    assert env.outcome.dtype == np.float32
    env.step(np.ones(2))
    assert env.outcome.tolist() == [1, 2, 1, 0]
    env = make(HERE, achieved=(9.0, 2.0))
    env.reset()
    kept = env.step(np.ones(2))[0], env.outcome
    assert env.outcome.tolist() == [9, 2, 0, 1]
    env.reset()
    env.step(np.zeros(2))
    assert env.outcome.tolist() == [9, 2, 0, 0]
    assert [array.tolist() for array in kept] == [[5, 6, 7, 3, 4], [9, 2, 0, 1]], "a result must not change any more"


@pytest.mark.parametrize(("key", "found"), [("is_success", 1.0), ("success", 1.0), ("won", None)])
def test_success_has_one_name(key: str, found: float | None) -> None:
    env = make(HERE, success=key)
    env.reset()
    assert env.step(np.zeros(2))[4].get("is_success") == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (np.array([True]), 1.0), ([0], 0.0), (0.5, 0.5), (np.float16(1), 1.0),
        (None, None), ("1", None), ("yes", None), (np.nan, None),
        (np.array([1, 0]), None), ({}, None), (object(), None),
    ],
)  # fmt: skip
def test_success_is_a_number_or_is_not_said(value: Any, found: float | None) -> None:
    env = make(HERE, value=value)
    env.reset()
    given = env.step(np.zeros(2))[4]
    assert given.get("is_success") == found
    assert value is env.unwrapped.value


def test_another_name_serves_where_the_first_says_nothing() -> None:
    env = make(HERE, success="success", value=1)
    base: Any = env.unwrapped
    base.more = {"is_success": None}
    env.reset()
    assert env.step(np.zeros(2))[4]["is_success"] == 1.0


NAN, INF = float("nan"), float("inf")
WRONG: list[tuple[Any, str]] = [
    (lambda seen: {**seen, "achieved_goal": [NAN, 0.0]}, "entry 0 of observation['achieved_goal'] is nan"),
    (lambda seen: {**seen, "desired_goal": [0.0, -INF]}, "entry 1 of observation['desired_goal'] is -inf"),
    (lambda seen: {**seen, "desired_goal": [1e39, -1e39]}, "entry 0 of observation['desired_goal'] is 1e+39"),
    (lambda seen: {**seen, "observation": [0.0, 0.0, NAN]}, "entry 2 of observation['observation'] is nan"),
    (lambda seen: {**seen, "achieved_goal": [1.0]}, "observation['achieved_goal'] of shape (1,)"),
    (lambda seen: {**seen, "desired_goal": np.zeros((2, 2))}, "observation['desired_goal'] of shape (2, 2)"),
    (lambda seen: {**seen, "observation": 1.0}, "observation['observation'] of shape ()"),
    (lambda seen: {**seen, "achieved_goal": None}, "observation['achieved_goal'] None"),
    (lambda seen: {**seen, "desired_goal": "there"}, "observation['desired_goal'] 'there'"),
    (lambda seen: {**seen, "desired_goal": {"x": 1}}, "observation['desired_goal'] {'x': 1}"),
    (lambda seen: {**seen, "desired_goal": [[1, 2], [3]]}, "observation['desired_goal'] [[1, 2], [3]]"),
    (lambda seen: {"observation": [0] * 3, "desired_goal": [0, 0]}, "an observation without 'achieved_goal'"),
    (lambda seen: {"achieved_goal": [0, 0], "observation": [0] * 3}, "an observation without 'desired_goal'"),
    (lambda seen: {}, "an observation without 'observation'"),
    (lambda seen: seen["observation"], "an observation array([5, 6, 7])"),
    (lambda seen: None, "an observation None"),
]


@pytest.mark.parametrize("where", [0, 1, 3])
@pytest.mark.parametrize(("lie", "words"), WRONG)
def test_an_observation_that_is_none_is_a_fault(lie: Any, words: str, where: int) -> None:
    """In reset, at the first step and later: the line says which environment, step, entry and value."""
    env = make(HERE, lie=lie, at=where)

    def walk() -> None:
        env.reset()
        for _ in range(3):
            env.step(np.zeros(2))

    with pytest.raises(EnvironmentFault) as caught:
        walk()
    assert words in str(caught.value)
    assert f"at step {where}" in str(caught.value)
    assert "Walk" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_can_be_used_as_a_goal_is() -> None:
    env = make(HERE, lie=lambda seen: {**seen, "achieved_goal": [[1], [2]], "desired_goal": (np.float32(3), 4)}, at=0)
    assert env.reset()[0].tolist() == [5, 6, 7, 3, 4]


OWN = goal_envs.__name__


def steps(name: str, count: int = 60) -> list[tuple[Any, float, bool]]:
    """(environment's part of the reward beside the goal, reward, failure) of random steps."""
    env: Any = make(f"{OWN}:{name}")
    rng, found = np.random.default_rng(0), []
    env.reset(seed=0)
    for _ in range(count):
        _, reward, terminated, truncated, _ = env.step(rng.uniform(-1, 1, 2))
        found.append((env.beside, reward, bool(env.outcome[-1])))
        if terminated or truncated:
            env.reset()
    return found


def test_the_part_of_a_reward_beside_its_goals() -> None:
    assert {beside for beside, _, _ in steps("Point")} == {0.0}
    assert {beside for beside, _, _ in steps("Crash", 200)} == {0.0, -5.0}
    assert {beside for beside, _, _ in steps("Taxed")} == {-0.25}
    costs = [beside for beside, _, _ in steps("Cost")]
    assert -2.0 <= min(costs) < max(costs) < 0.0
    known: Any = make("lsp/Reacher2D-v0")
    assert not known.has_beside


def test_an_unknown_part_of_a_reward_is_not_a_number() -> None:
    env: Any = make(f"{OWN}:Point")
    env.reset(seed=0)
    env.judge.of_step = None  # as if it raised
    env.step(np.zeros(2))
    assert np.isnan(env.beside)


@pytest.mark.parametrize("name", ["Told", "Arriving"])
def test_endings_for_the_goal_are_no_failures(name: str) -> None:
    """Where compute_terminated says so and where, without it, is_success does."""
    env: Any = make(f"{OWN}:{name}")
    env.reset(seed=0)
    base = env.unwrapped
    base.goal = base.x.copy()
    assert env.step(np.zeros(2))[2]
    assert env.outcome[-1] == 0
    env.reset()
    base.x, base.goal = np.array([1.3, 0.0]), np.array([-1.0, 0.0])
    assert env.step(np.zeros(2))[2]
    assert env.outcome[-1] == 1


@pytest.mark.parametrize("name", ["OfMine", "MazeEnv"])
def test_names_of_ours_mean_nothing_in_others(name: str) -> None:
    env, plain = make(f"{OWN}:{name}"), make(f"{OWN}:Point")
    for each in (env, plain):
        each.reset(seed=0)
    for action in np.random.default_rng(0).uniform(-1, 1, (30, 2)):
        found, expected = env.step(action), plain.step(action)
        np.testing.assert_array_equal(found[0], expected[0])
        assert found[1:] == expected[1:]
        np.testing.assert_array_equal(env.outcome, plain.outcome)
    assert not can_restore(env)
    assert spec_of(env).goals.on_host


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            Dict(observation=STATE, desired_goal=GOAL),
            "Dict observations (observation, desired_goal) are supported of goal environments only",
        ),
        (Dict(observation=STATE, achieved_goal=GOAL, desired_goal=STATE), "goals of shape (3,) are compared with"),
        (Dict(observation=Dict(x=STATE), achieved_goal=GOAL, desired_goal=GOAL), "observation: a Dict inside a Dict"),
        (
            Dict(observation=Box(0, 255, (8, 8, 3), np.uint8), achieved_goal=GOAL, desired_goal=GOAL),
            "observation: image observations (8, 8, 3)",
        ),
    ],
)
def test_spaces_that_do_not_fit(space: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        make(HERE, space=space)
