"""The one wrapper between `lsp` and an environment: float32 vectors out, actions in [-1, 1] in, faults made plain."""

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Space

from lsp.config.schema import Fault


class EnvironmentFault(Fault):
    """An environment raised, or returned something not finite. The message is one line: which, when and what."""


class BoxEnv(gymnasium.Wrapper[np.ndarray, np.ndarray, Any, Any]):
    """An environment as agents want it: observation f32[S], action f32[A] in [-1, 1], finite numbers only.

    Actions are scaled linearly to the bounds of the environment, and clipped to them. Observations are flattened. It is
    one class rather than a stack of wrappers, because every layer costs time at each step.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], name: str) -> None:
        """Wrap `env`, whose actions must be a bounded 1-D `Box` and its observations a `Box`; `name` is for errors."""
        super().__init__(env)
        inner = env.action_space
        assert isinstance(inner, Box)
        self.name = name
        self.episode_steps = 0
        self._low, self._high = inner.low, inner.high
        self._center = (inner.high + inner.low) / 2
        self._half_range = (inner.high - inner.low) / 2
        self.action_space = Box(-1.0, 1.0, inner.shape, np.float32)
        self.observation_space = Box(-np.inf, np.inf, (self._width(env.observation_space),), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode. Raises EnvironmentFault."""
        self.episode_steps = 0
        try:
            raw, info = self.env.reset(seed=seed, options=options)
        except Exception as error:
            raise self._fault(f"raised {type(error).__name__}: {error} in reset") from error
        return self._observation(raw), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Step with `action` f[A]; beyond [-1, 1] it is clipped. Raises EnvironmentFault."""
        self.episode_steps += 1
        scaled = np.minimum(np.maximum(self._center + self._half_range * action, self._low), self._high)
        try:
            raw, reward, terminated, truncated, info = self.env.step(scaled)
        except Exception as error:
            raise self._fault(f"raised {type(error).__name__}: {error} at step {self.episode_steps}") from error
        reward = float(reward)
        if not math.isfinite(reward):
            cause = "" if np.isfinite(action).all() else ", after an action that is not finite"
            raise self._fault(f"returned reward {reward} at step {self.episode_steps}{cause}")
        return self._observation(raw), reward, bool(terminated), bool(truncated), info

    def _width(self, space: Space[Any]) -> int:
        assert isinstance(space, Box)
        return math.prod(space.shape)

    def _observation(self, raw: Any) -> np.ndarray:
        # A copy, always: some environments return the same array again and again.
        observation = np.array(raw, np.float32).ravel()
        # The sum is the cheap test; it may also overflow, so only the full test convicts.
        if not math.isfinite(observation.sum()) and not np.isfinite(observation).all():
            entries = np.flatnonzero(~np.isfinite(observation))
            count = f"{len(entries)} of {len(observation)} observation entries"
            values = f"not finite (entry {entries[0]} is {observation[entries[0]]})"
            raise self._fault(f"returned {count} {values} at step {self.episode_steps}")
        return observation

    def _fault(self, what: str) -> EnvironmentFault:
        return EnvironmentFault(" ".join(f"environment {self.name} {what}".split()))
