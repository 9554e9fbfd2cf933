"""Executors in the learner's own process: the default, and the reference for every other engine."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lsp.executors.executor import Executor
from lsp.types import ActionSample, Chunk, Executors


class InProcess(Executors):
    """Steps `count` executors one after the other."""

    def __init__(self, make_executor: Callable[[int], Executor], count: int) -> None:
        """Make executors 0 to `count`-1."""
        self._executors: Sequence[Executor] = [make_executor(i) for i in range(count)]
        self.spec = self._executors[0].spec

    def reset(self) -> np.ndarray:
        """Start every environment, f32[E, S]."""
        return np.stack([executor.reset() for executor in self._executors])

    def step(self, actions: ActionSample) -> Chunk:
        """Step every environment once."""
        pairs = zip(actions.env_action, actions.layer_action, strict=True)
        steps = [executor.step(*pair) for executor, pair in zip(self._executors, pairs, strict=True)]
        rows = [step.row for step in steps if step.row is not None]
        return Chunk(
            rows=np.array(rows, np.float32),
            returns=np.array([step.discounted_return for step in steps], np.float32),
            observations=np.stack([executor.observation for executor in self._executors]),
            complete=bool(rows),
            episodes=[step.episode for step in steps if step.episode is not None],
        )

    def get_state(self) -> dict[str, Any]:
        """The state of every executor."""
        return {"executors": [executor.get_state() for executor in self._executors]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from `get_state`'s result."""
        for executor, saved in zip(self._executors, state["executors"], strict=True):
            executor.set_state(saved)

    def close(self) -> None:
        """Close every environment."""
        for executor in self._executors:
            executor.env.close()
