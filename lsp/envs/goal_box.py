"""The wrapper of environments with goals: their dictionaries become vectors, and every step says what it achieved."""

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from lsp.config import GoalsConfig
from lsp.envs import checks, robotics
from lsp.envs.box import BoxEnv
from lsp.envs.checks import Misfit, told
from lsp.envs.flatten import Reader
from lsp.envs.goals import Rules
from lsp.envs.judge import GOALS, Judge, warn
from lsp.envs.signatures import OwnReset
from lsp.envs.wrappers import unwrap

KEYS = ("observation", "desired_goal", "achieved_goal")
SUCCESS_KEYS = ("is_success", "success")  # the Fetch tasks of gymnasium-robotics say the first, its mazes the second
TRANSPARENT = (TimeLimit, OrderEnforcing, PassiveEnvChecker, OwnReset)
"""Wrappers that leave rewards as they are."""
ROUNDING = 1e-6
"""A part of a reward that is relatively smaller is none."""


class GoalBoxEnv(BoxEnv):
    """A `BoxEnv` whose observation is what the environment observes and then the goal, f32[S].

    `outcome` f32[G + 2] is of the last step: the goal it achieved, its number in the episode (from 0), and 1 if the
    episode terminated for another reason than its goal, else 0. `beside` is that part of its reward which is not of the
    goal: reward - compute_reward(achieved, goal, {}). `info["is_success"]` is a number, whatever the environment calls
    it; where it says nothing, or nothing that is a number, so is nothing said here.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], name: str, relabelling: GoalsConfig | None = None) -> None:
        """Wrap `env`, whose observations must be a `Dict` of `KEYS`, each a `Box`; `name` is for errors.

        `relabelling`: what its goals are for; None: for hindsight.

        Raises ConfigError where that wants goals to be evaluated, and they cannot be.
        """
        super().__init__(env, name)
        space = env.observation_space
        assert isinstance(space, spaces.Dict)
        relabelling = relabelling or GoalsConfig("hindsight")
        self.goal_dim = _size(space["desired_goal"])
        known, self.judge = _known_rules(env), Judge(env, name, one_by_one=relabelling.one_by_one)
        self.rules = known or Rules(self.judge.reward, self.judge.terminated, on_host=True)
        self.relabels = relabelling.kind != "none"
        bare = all(type(wrapper) in TRANSPARENT for wrapper in unwrap(env)[0])
        self.has_beside = self.relabels and not self.rules.replaces and (known is None or not bare)
        if self.relabels and known is None:
            self.judge.check()
        self.warn = warn
        self.outcome, self.beside = np.zeros(self.goal_dim + 2, np.float32), 0.0
        self._achieved = self._goal = np.zeros(self.goal_dim)  # of the last step, as the environment has them

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode. Raises EnvironmentFault."""
        observation, info = super().reset(seed=seed, options=options)
        self.watch()
        return observation, info

    @property
    def last_goals(self) -> tuple[np.ndarray, np.ndarray]:
        """Achieved and desired goal f64[G] of the last step or reset."""
        return self._achieved, self._goal

    def watch(self) -> None:
        """Warn where goals are worth something else than at the first call: hindsight has one reward for a goal."""
        if not (self.relabels and self.rules.on_host):
            return
        try:
            change = self.judge.changed(self._achieved, self._goal)
        except Exception as error:
            change = f"compute_reward raised {told(error)}"
        if change:
            self.warn(
                f"environment {self.name}: its {change}: it depends on the state of the environment, or on chance, and "
                "cannot reward what other states achieved; hindsight needs a function of the goals alone"
            )
            self.warn = _silent

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Step with `action` f[A]. Raises EnvironmentFault."""
        observation, reward, terminated, truncated, info = super().step(action)
        info = _with_success(info)
        failed = terminated and not self._goal_ended(observation, info)
        achieved = self._achieved.astype(np.float32)
        self.outcome = np.append(achieved, np.array([self.episode_steps - 1, failed], np.float32))
        if self.has_beside:
            self.beside = self._beside(reward)
        if terminated or truncated:
            self.watch()
        return observation, reward, terminated, truncated, info

    def _goal_ended(self, observation: np.ndarray, info: Mapping[str, Any]) -> bool:
        """Whether the step that terminated did so for its goal, as far as the environment says."""
        if self.rules.on_host and not (self.relabels and self.judge.ends_goals):
            return bool(info.get("is_success", 0.0) > 0)
        achieved, goal = self._achieved.astype(np.float32), observation[-self.goal_dim :]
        return bool(self.rules.terminated(achieved, goal))

    def _beside(self, reward: float) -> float:
        """The part of a reward that is not of the goal; NaN where nobody knows."""
        try:
            if self.rules.on_host:
                of_goal = self.judge.of_step(self._achieved, self._goal, {})
            else:
                of_goal = float(self.rules.reward(self._achieved, self._goal, reward))
        except Exception:
            return math.nan
        beside = reward - of_goal
        return beside if not abs(beside) <= ROUNDING * max(abs(reward), abs(of_goal)) else 0.0

    def _make_reader(self, space: spaces.Space[Any]) -> Reader:
        return Reader(space, KEYS)

    def _width(self, space: spaces.Space[Any]) -> int:
        assert isinstance(space, spaces.Dict)
        return _size(space["observation"]) + _size(space["desired_goal"])

    def _observation(self, raw: Any) -> np.ndarray:
        flat = super()._observation(raw)
        # Where float32 is too coarse, the environment's own functions may say something else than its step did.
        self._achieved, self._goal = (np.array(raw[key], np.float64).ravel() for key in GOALS)
        return flat[: -self.goal_dim]


def _with_success(info: Mapping[str, Any]) -> dict[str, Any]:
    """`info` of one's own, with `is_success` as a number; without where nothing says it that is one."""
    info = dict(info)
    said = [info[key] for key in SUCCESS_KEYS if key in info]
    info.pop("is_success", None)
    for value in said:
        with contextlib.suppress(Misfit):
            info["is_success"] = checks.number("is_success", value)
            break
    return info


def _known_rules(env: gymnasium.Env[Any, Any]) -> Rules | None:
    """Rules as array functions, where they are known; else the environment's own functions have to do."""
    base = env.unwrapped
    rules = getattr(base, "rules", None)
    return rules if isinstance(rules, Rules) else robotics.rules_of(base)


def _silent(line: str) -> None:
    """Nothing: it has been said."""


def _size(space: spaces.Space[Any]) -> int:
    assert space.shape is not None
    return math.prod(space.shape)
