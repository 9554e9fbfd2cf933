"""Dictionaries become vectors, and every step says what it achieved."""

import re
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict

from lsp.config import ConfigError
from lsp.envs import EnvironmentFault, GoalBoxEnv, goals, make, spec_of

GOAL = Box(-np.inf, np.inf, (2,), np.float64)
STATE = Box(-np.inf, np.inf, (3,), np.float64)
HERE = f"{__name__}:Walk"


class Walk(gymnasium.Env[Any, Any]):
    """Walks on the spot `achieved`, and terminates there where so told."""

    action_space = Box(-1.0, 1.0, (2,), np.float32)
    rules = goals.Rules(lambda achieved, goal, env_reward: env_reward, lambda achieved, goal: achieved[..., 0] == 1.0)

    def __init__(self, success: str = "is_success", space: Any = None, achieved: Any = (1.0, 2.0)) -> None:
        ours = Dict(desired_goal=GOAL, observation=STATE, achieved_goal=GOAL)
        self.observation_space = ours if space is None else space
        self.success, self.place = success, np.array(achieved)

    def observe(self) -> dict[str, np.ndarray]:
        return {"achieved_goal": self.place, "desired_goal": np.array([3.0, 4.0]), "observation": np.array([5, 6, 7])}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self.observe(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.observe(), 0.5, bool(action[0] > 0), False, {self.success: np.bool_(True)}


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


def test_a_goal_that_is_not_finite_is_a_fault() -> None:
    env = make(HERE, achieved=(np.nan, 0.0))
    with pytest.raises(EnvironmentFault, match="1 of 7 observation entries not finite"):
        env.reset()


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
