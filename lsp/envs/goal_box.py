"""The wrapper of environments with goals: their dictionaries become vectors, and every step says what it achieved."""

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from lsp.envs import robotics
from lsp.envs.box import BoxEnv
from lsp.envs.flatten import Reader
from lsp.envs.goals import Rules, own_rules

KEYS = ("observation", "desired_goal", "achieved_goal")
SUCCESS_KEYS = ("is_success", "success")  # the Fetch tasks of gymnasium-robotics say the first, its mazes the second


class GoalBoxEnv(BoxEnv):
    """A `BoxEnv` whose observation is what the environment observes and then the goal, f32[S].

    `outcome` f32[G + 2] is of the last step: the goal it achieved, its number in the episode (from 0), and 1 if the
    episode terminated for another reason than its goal, else 0. `info["is_success"]` is 1.0 or 0.0, whatever the
    environment calls it; where it says nothing, so is nothing said here.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], name: str) -> None:
        """Wrap `env`, whose observations must be a `Dict` of `KEYS`, each a `Box`; `name` is for errors.

        Raises ConfigError where its goals cannot be evaluated.
        """
        super().__init__(env, name)
        assert isinstance(env.observation_space, spaces.Dict)
        self.goal_dim = _size(env.observation_space["desired_goal"])
        self.rules = _rules_of(env, name)
        self.outcome = np.zeros(self.goal_dim + 2, np.float32)
        self._achieved = np.zeros(self.goal_dim, np.float32)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Step with `action` f[A]. Raises EnvironmentFault."""
        observation, reward, terminated, truncated, info = super().step(action)
        failed = terminated and not self.rules.terminated(self._achieved, observation[-self.goal_dim :])
        self.outcome = np.append(self._achieved, np.array([self.episode_steps - 1, failed], np.float32))
        for key in SUCCESS_KEYS:
            if key in info:
                info["is_success"] = float(info[key])
                break
        return observation, reward, terminated, truncated, info

    def _make_reader(self, space: spaces.Space[Any]) -> Reader:
        return Reader(space, KEYS)

    def _width(self, space: spaces.Space[Any]) -> int:
        assert isinstance(space, spaces.Dict)
        return _size(space["observation"]) + _size(space["desired_goal"])

    def _observation(self, raw: Any) -> np.ndarray:
        flat = super()._observation(raw)
        self._achieved = flat[-self.goal_dim :]
        return flat[: -self.goal_dim]


def _rules_of(env: gymnasium.Env[Any, Any], name: str) -> Rules:
    """The rules of an environment with goals: as array functions where they are known, else its own functions."""
    base = env.unwrapped
    if hasattr(base, "rules"):
        return base.rules
    known = robotics.rules_of(base) if type(base).__module__.startswith("gymnasium_robotics.") else None
    return own_rules(env, name) if known is None else known


def _size(space: spaces.Space[Any]) -> int:
    assert space.shape is not None
    return math.prod(space.shape)
