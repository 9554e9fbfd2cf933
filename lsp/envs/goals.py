"""How tasks evaluate goals: whether one is met, what that is worth, and whether it ends the episode.

The functions here take arrays with any leading axes, NumPy's and JAX's alike, so that the same function evaluates
a step on the host and relabels a batch on the device.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from lsp.config import ConfigError

GoalReward = Callable[[Any, Any, Any], Any]
"""Goal achieved [..., G], goal [..., G], the environment's own reward [...] -> reward [...]."""


class Rules(NamedTuple):
    """How a task evaluates goals."""

    reward: GoalReward
    terminated: Callable[[Any, Any], Any]  # achieved [..., G], goal [..., G] -> bool[...] whether that ends the episode
    on_host: bool = False  # whether these are the environment's own functions, which take NumPy arrays only


def distance(achieved: Any, goal: Any) -> Any:
    """|achieved - goal|, [..., G] -> [...]."""
    return ((achieved - goal) ** 2).sum(-1) ** 0.5


def cost(achieved: Any, goal: Any, env_reward: Any, *, radius: float) -> Any:
    """0 within `radius` of the goal, else -1."""
    del env_reward
    return (distance(achieved, goal) <= radius) - 1.0


def bonus(achieved: Any, goal: Any, env_reward: Any, *, radius: float) -> Any:
    """1 within `radius` of the goal, else 0."""
    del env_reward
    return 1.0 * (distance(achieved, goal) <= radius)


def never(achieved: Any, goal: Any) -> Any:
    """No goal ends the episode."""
    return distance(achieved, goal) < 0.0


def own_rules(env: gymnasium.Env[Any, Any], name: str) -> Rules:
    """The environment's own functions as rules.

    Raises:
      ConfigError: it has no `compute_reward` that evaluates a batch of goals; `name` is for the message.
    """
    base: Any = env.unwrapped
    rules = Rules(partial(_own_reward, base), partial(_own_terminated, base), on_host=True)
    size = int(np.prod(base.observation_space["desired_goal"].shape))
    pair = np.zeros((2, size), np.float32)
    try:
        rules.reward(pair, pair, np.zeros(2, np.float32))
        rules.terminated(pair, pair)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        problem = f"its compute_reward cannot evaluate a batch of goals f[2, {size}] with empty infos ({reason})"
        raise ConfigError(f"environment {name!r}: {problem}; choose another, or make it do so") from error
    return rules


def _shaped(base: Any, goals: Any) -> Any:
    """Goals [..., G] as the environment shapes them, [n, ...]."""
    return np.asarray(goals).reshape(-1, *base.observation_space["desired_goal"].shape)


def _infos(goals: Any) -> Sequence[dict[str, Any]]:
    return [{} for _ in range(len(goals))]


def _own_reward(base: Any, achieved: Any, goal: Any, env_reward: Any) -> Any:
    goals = _shaped(base, goal)
    rewards = np.asarray(base.compute_reward(_shaped(base, achieved), goals, _infos(goals)), np.float32)
    return rewards.reshape(np.shape(env_reward))


def _own_terminated(base: Any, achieved: Any, goal: Any) -> Any:
    goals = _shaped(base, goal)
    if not hasattr(base, "compute_terminated"):
        return np.zeros(np.shape(goal)[:-1], bool)
    # One by one: gymnasium-robotics's functions reduce a batch to one truth value, or ignore it.
    pairs = zip(_shaped(base, achieved), goals, strict=True)
    ended = [bool(base.compute_terminated(achieved, goal, {})) for achieved, goal in pairs]
    return np.array(ended, bool).reshape(np.shape(goal)[:-1])
