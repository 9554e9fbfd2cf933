"""The learner's metrics between two lines of them: what a line stands for is all updates since the line before.

Dispatches leave their metrics on the device; nothing here waits for one. They are taken to the host some dispatches
later, when they have long been there, and in any case for a line or a checkpoint.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from lsp.types import Array

Kind = Literal["mean", "newest", "largest"]

KINDS: dict[str, Kind] = {
    "alpha": "newest",
    "bad_priorities": "newest",
    "beta": "newest",
    "never_replayed": "newest",
    "priority_max": "newest",
    "q_max": "largest",
    "replay_size": "newest",
    "support_scale": "newest",
}
"""What a line says of a metric, where it is not the mean over its updates: of a state or a count the newest value, of a
maximum the largest. A value that is not finite shows, whichever it is: in a mean or a maximum always, in a state as
long as it lasts."""

LAG = 32
"""Dispatches whose metrics stay on the device: more than are ever under way."""


def kind_of(name: str) -> Kind:
    """What a line says of the metric of that name."""
    return KINDS.get(name, "mean")


def reduce(names: Sequence[str], history: Array) -> Array:
    """What a dispatch says of metrics [U, M], named `names`, of U updates: [M]."""
    kinds = np.array([kind_of(name) for name in names])
    largest = jnp.where(kinds == "largest", jnp.max(history, axis=0), jnp.mean(history, axis=0))
    return jnp.where(kinds == "newest", history[-1], largest)


class Interval:
    """Metrics of all seeds, each since its own latest line. Dispatches have equally many updates, and weigh alike."""

    def __init__(self, names: Sequence[str], seeds: int, unstack: Callable[[Array], Sequence[np.ndarray]]) -> None:
        """Nothing yet. `unstack` parts metrics of all seeds into those of each [M], named `names`."""
        self._names, self._unstack = list(names), unstack
        kinds = np.array([kind_of(name) for name in names])
        self._mean, self._largest = kinds == "mean", kinds == "largest"
        self._waiting: list[Array] = []
        self._counts = np.zeros(seeds, int)  # dispatches
        self._values = np.zeros((seeds, len(self._names)))  # f64; of a mean, the sum

    def add(self, metrics: Array) -> None:
        """Count a dispatch."""
        self._waiting.append(metrics)
        if len(self._waiting) == 2 * LAG:
            self._fold(LAG)

    def line(self, index: int) -> dict[str, float]:
        """What a seed's line says; waits for its updates. Empty where there were none."""
        self._fold(len(self._waiting))
        count, values = int(self._counts[index]), self._values[index]
        if count == 0:
            return {}
        line = np.where(self._mean, values / count, values)
        return dict(zip(self._names, line.tolist(), strict=True))

    def begin(self, index: int) -> None:
        """Begin a seed's next interval: its line has been written."""
        self._fold(len(self._waiting))
        self._counts[index], self._values[index] = 0, 0.0

    def get_state(self, index: int) -> list[Any]:
        """A seed's interval so far; waits for its updates."""
        self._fold(len(self._waiting))
        return [int(self._counts[index]), self._values[index].copy()]

    def set_state(self, index: int, state: Sequence[Any]) -> None:
        """Continue from `get_state`'s result."""
        self._fold(len(self._waiting))
        self._counts[index], self._values[index] = state

    def _fold(self, count: int) -> None:
        """Take the oldest dispatches to the host."""
        if count == 0:
            return
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        seeds = len(self._counts)
        new = np.array([self._unstack(metrics)[:seeds] for metrics in taken], np.float64)  # [dispatches, seeds, M]
        # One after the other, so that it does not matter where a checkpoint has parted them.
        sums = np.add.accumulate(np.concatenate([self._values[None], new]))[-1]
        largest = np.max(new, axis=0)
        largest = np.where(self._counts[:, None] > 0, np.maximum(self._values, largest), largest)
        self._values = np.where(self._mean, sums, np.where(self._largest, largest, new[-1]))
        self._counts += count
