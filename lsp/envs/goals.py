"""How tasks evaluate goals: whether one is met, what that is worth, and whether it ends the episode.

The functions here take arrays with any leading axes, NumPy's and JAX's alike, so that the same function evaluates
a step on the host and relabels a batch on the device.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

GoalReward = Callable[[Any, Any, Any], Any]
"""Goal achieved [..., G], goal [..., G], the environment's own reward [...] -> reward [...]."""


class Rules(NamedTuple):
    """How a task evaluates goals."""

    reward: GoalReward
    terminated: Callable[[Any, Any], Any]  # achieved [..., G], goal [..., G] -> bool[...] whether that ends the episode
    on_host: bool = False  # whether these are the environment's own functions, which take NumPy arrays only
    replaces: bool = False  # whether `reward` is learned from under every goal: what a step returns is another reward


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
