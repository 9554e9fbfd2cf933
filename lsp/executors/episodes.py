"""Totals of an episode, in collection and evaluation alike, and their means over episodes.

What a step says in `info` counts where it is one finite number: a Python or NumPy number or bool, or an array of one.
Text, None, lists, dictionaries, longer arrays, NaN and infinity are what environments put where they have nothing to
say, and count as nothing said. Nothing said is never zero: a term of an episode is its mean over the steps that said
it, and a term of several episodes the mean over those that have it.
"""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from lsp.executors.stillness import POSITION, Stillness
from lsp.types import Episode

SUCCESS = "is_success"
"""The `info` term that says whether a step met the task; what an episode says last is its success. Where a step does
not have it, `success` stands for it, as Meta-World names it, and is a term like any other beside that."""


def number_of(value: Any) -> float | None:
    """The finite number that a term of `info` is; None where it is none."""
    if not isinstance(value, float):  # np.float64 is one
        try:
            value = _convert(value)
        except Exception:  # an integer beyond float64, a tensor on another device, and whatever else
            return None
    return float(value) if value is not None and math.isfinite(value) else None


def _convert(value: Any) -> float | None:
    if isinstance(value, Real):
        return float(value)
    # NumPy's scalars, and arrays of one: those of JAX and PyTorch as well.
    if not hasattr(value, "__array__") or math.prod(getattr(value, "shape", (0,))) != 1:
        return None
    array = np.asarray(value)
    return float(array.item()) if array.dtype.kind in "biuf" else None


class EpisodeMeter:
    """Totals of the episode in progress."""

    def __init__(self) -> None:
        """Begin an episode."""
        self._total, self._length = 0.0, 0
        self._terms: dict[str, list[float]] = {}  # sum of each term, and how many steps said it
        self._success: float | None = None
        self._layer_total: float | None = None
        self._stillness = Stillness()

    @property
    def still_steps(self) -> int:
        """Steps up to now that the body has stayed in one place (`lsp.executors.stillness`)."""
        return self._stillness.steps

    def add(
        self, reward: float, info: Mapping[Any, Any], observation: np.ndarray, layer_reward: float | None = None
    ) -> None:
        """Count one step; of `info`, the numbers, and whether the task is met now.

        `reward` is the environment's own, `layer_reward` that of `--layer-rewards`, where it is another; `observation`
        f[S] what the step led to.
        """
        self._total += reward
        self._length += 1
        self._stillness.add([number_of(info.get(name)) for name in POSITION], observation)
        if layer_reward is not None and self._length == 1:
            self._layer_total = layer_reward
        elif layer_reward is not None and self._layer_total is not None:
            self._layer_total += layer_reward
        met = number_of(info.get(SUCCESS, info.get("success")))
        if met is not None:
            self._success = met
        for name, value in info.items():
            number = None if name == SUCCESS else number_of(value)
            if number is None:
                continue
            term = self._terms.setdefault(name if isinstance(name, str) else str(name), [0.0, 0])
            term[0] += number  # in float64, also after a resume
            term[1] += 1

    def forget_layer_return(self) -> None:
        """In the rest of this episode steps are rewarded in another way, so that their sum would mean nothing."""
        self._layer_total = None

    def finish(self, terminated: bool, stuck: bool | None = None) -> Episode:
        """The episode, and begin the next; `stuck` as of `Episode`."""
        means = {name: total / steps for name, (total, steps) in self._terms.items()}
        motionless = self._stillness.finish() / self._length
        episode = Episode(
            self._total, self._length, terminated, means, self._success, self._layer_total, motionless, stuck
        )
        self._total, self._length, self._terms, self._success, self._layer_total = 0.0, 0, {}, None, None
        return episode

    def get_state(self) -> list[Any]:
        """The totals as JSON values."""
        terms = {name: list(term) for name, term in self._terms.items()}
        return [self._total, self._length, terms, self._success, self._layer_total, self._stillness.get_state()]

    def set_state(self, state: Sequence[Any]) -> None:
        """Continue from `get_state`'s result."""
        self._total, self._length, terms, self._success, self._layer_total, *stillness = state
        self._terms = {name: list(term) for name, term in terms.items()}
        if stillness:  # checkpoints of earlier versions have none
            self._stillness.set_state(*stillness)


def summarize(episodes: Sequence[Episode], says_success: bool = False) -> dict[str, float]:
    """Means over episodes for a line of metrics: return, length, terminations, share of successes, `info` terms.

    `motionless` is the share of all their steps, and `stuck` counts those that `--truncate-stuck` ended. A term that
    none of them has is absent. `says_success`: as of `successes`.
    """
    if not episodes:
        return {}
    summary = {
        "return": np.mean([episode.episode_return for episode in episodes]),
        "length": np.mean([episode.length for episode in episodes]),
        "terminated": np.mean([episode.terminated for episode in episodes]),
    }
    if met := successes(episodes, says_success):
        summary["success"] = np.mean(met)
    if known := [(episode.motionless, episode.length) for episode in episodes if episode.motionless is not None]:
        shares, lengths = zip(*known, strict=True)
        summary["motionless"] = np.average(shares, weights=lengths)
    if any(episode.stuck is not None for episode in episodes):
        summary["stuck"] = np.sum([episode.stuck is True for episode in episodes])
    layer_returns = [episode.layer_return for episode in episodes if episode.layer_return is not None]
    if layer_returns:
        summary["layer_return"] = np.mean(layer_returns)
    for name in _terms_of(episodes):
        summary[f"info/{name}"] = np.mean([episode.info[name] for episode in episodes if name in episode.info])
    return {name: float(value) for name, value in summary.items()}


def record_of(episodes: Sequence[Episode], says_success: bool = False) -> dict[str, Any]:
    """An evaluation's record: the mean return, and of every episode return, length, termination, success, `info` terms.

    `motionless` is the share of motionless steps in each, [0, 1] (`lsp.executors.stillness`).
    None in the list of an `info` term: that episode never said it. A term that no episode said is absent.
    """
    record: dict[str, Any] = {
        "return": float(np.mean([episode.episode_return for episode in episodes])),
        "returns": [episode.episode_return for episode in episodes],
        "lengths": [episode.length for episode in episodes],
        "terminated": [episode.terminated for episode in episodes],
    }
    if met := successes(episodes, says_success):
        record["success"] = met
    if any(episode.motionless is not None for episode in episodes):
        record["motionless"] = [episode.motionless for episode in episodes]
    return record | {f"info/{name}": [episode.info.get(name) for episode in episodes] for name in _terms_of(episodes)}


def successes(episodes: Sequence[Episode], says_success: bool = False) -> list[float]:
    """Of every episode, whether it met the task; empty of a task that does not say.

    Some tasks say it only when they are met. So once any episode of a run has said it (`says_success`, or one of
    these), silence is not met.
    """
    if not says_success and not any_says_success(episodes):
        return []
    return [0.0 if episode.success is None else episode.success for episode in episodes]


def any_says_success(episodes: Sequence[Episode]) -> bool:
    """Whether any of the episodes says if it met the task."""
    return any(episode.success is not None for episode in episodes)


def _terms_of(episodes: Sequence[Episode]) -> list[str]:
    """The `info` terms that any of the episodes has, in order of appearance."""
    return list(dict.fromkeys(name for episode in episodes for name in episode.info))
