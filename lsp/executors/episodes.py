"""Totals of an episode, in collection and evaluation alike."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lsp.types import Episode

SUCCESS = "is_success"
"""The `info` term of tasks with goals that says whether a step met the goal."""


class EpisodeMeter:
    """Totals of the episode in progress."""

    def __init__(self) -> None:
        """Begin an episode."""
        self._total, self._length = 0.0, 0
        self._sums: dict[str, float] = {}
        self._success: float | None = None
        self._layer_total: float | None = None

    def add(self, reward: float, info: Mapping[str, Any], layer_reward: float | None = None) -> None:
        """Count one step; of `info`, the floats, and whether the goal is met now.

        `reward` is the environment's own, `layer_reward` that of `--layer-rewards`, where it is another.
        """
        self._total += reward
        self._length += 1
        if layer_reward is not None and self._length == 1:
            self._layer_total = layer_reward
        elif layer_reward is not None and self._layer_total is not None:
            self._layer_total += layer_reward
        if SUCCESS in info:
            self._success = float(info[SUCCESS])
        for name, value in info.items():
            if name != SUCCESS and isinstance(value, float | np.floating):
                self._sums[name] = self._sums.get(name, 0.0) + float(value)  # summed in float64, also after a resume

    def forget_layer_return(self) -> None:
        """In the rest of this episode steps are rewarded in another way, so that their sum would mean nothing."""
        self._layer_total = None

    def finish(self, terminated: bool) -> Episode:
        """The episode, and begin the next."""
        means = {name: total / self._length for name, total in self._sums.items()}
        episode = Episode(self._total, self._length, terminated, means, self._success, self._layer_total)
        self._total, self._length, self._sums, self._success, self._layer_total = 0.0, 0, {}, None, None
        return episode

    def get_state(self) -> list[Any]:
        """The totals as JSON values."""
        return [self._total, self._length, dict(self._sums), self._success, self._layer_total]

    def set_state(self, state: Sequence[Any]) -> None:
        """Continue from `get_state`'s result."""
        self._total, self._length, sums, self._success, self._layer_total = state
        self._sums = dict(sums)


def summarize(episodes: Sequence[Episode]) -> dict[str, float]:
    """Means over episodes for a line of metrics: return, length, terminations, successes, `info` terms."""
    if not episodes:
        return {}
    summary = {
        "return": np.mean([episode.episode_return for episode in episodes]),
        "length": np.mean([episode.length for episode in episodes]),
        "terminated": np.mean([episode.terminated for episode in episodes]),
    }
    if episodes[0].success is not None:
        summary["success"] = np.mean([episode.success for episode in episodes if episode.success is not None])
    layer_returns = [episode.layer_return for episode in episodes if episode.layer_return is not None]
    if layer_returns:
        summary["layer_return"] = np.mean(layer_returns)
    for name in episodes[0].info:
        summary[f"info/{name}"] = np.mean([episode.info.get(name, np.nan) for episode in episodes])
    return {name: float(value) for name, value in summary.items()}
