"""A task whose ends are known beforehand, and executors of it."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from lsp import envs
from lsp.executors.executor import Executor

GAMMA = 0.9


class Countdown(gymnasium.Env):
    """Counts its steps and terminates at the third of every odd episode; `lsp.envs` cannot restore it."""

    observation_space, action_space = Box(-np.inf, np.inf, (1,)), Box(-1.0, 1.0, (1,))

    def __init__(self, fails_at: int = 0) -> None:
        self.episode, self.steps, self.fails_at = 0, 0, fails_at

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode, self.steps, self.seed = self.episode + 1, 0, seed
        return np.array([100.0 * self.episode]), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        if self.steps == self.fails_at:
            raise ArithmeticError("no more")
        terminated = self.steps == 3 and self.episode % 2 == 1
        info = {"steps": float(self.steps), "count": self.steps, "name": "countdown", "array": np.ones(2)}
        return np.array([100.0 * self.episode + self.steps]), 1.0, terminated, self.steps == 5, info


def countdown(n_step: int = 1, seed: int = 0, **kwargs: int) -> Executor:
    return Executor(envs.BoxEnv(Countdown(**kwargs), "countdown"), seed, GAMMA, n_step)


def broken(index: int, incarnation: int) -> Executor:
    return countdown(fails_at=2 + index + 100 * incarnation)
