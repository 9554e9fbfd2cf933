"""The queue between the study's executors and its learner, with its error.

Its key was the terminal flag, of which TensorFlow's PriorityQueue serves the smallest first, and the learner left half
of its 10,000 places filled. So a transition that ends an episode is served only when nothing else is in the queue: not
before as many of them have accumulated as the learner leaves there. Until then nothing is learned from a fall but the
way to it.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from lsp.config.executors import QUEUED
from lsp.packing import Layout
from lsp.types import ActionSample, Choose, Chunk, Executors


class Entry(NamedTuple):
    """A transition in the queue."""

    packed: np.ndarray  # f32[W]
    discounted_return: np.ndarray  # f32[]
    origin: np.ndarray  # i64[3]


class TerminalsLast(Executors):
    """Executors whose transitions pass through the queue: as many come out of a step as went in, once it is filled."""

    def __init__(self, executors: Executors, length: int = QUEUED) -> None:
        """Take over `executors`, closed with this object; `length` transitions stay in the queue."""
        self.spec = executors.spec
        self._executors, self._length = executors, length
        self._discount = Layout.of(self.spec).discount
        self._queues: tuple[deque[Entry], deque[Entry]] = deque(), deque()  # by whether a transition is terminal

    def set_chooser(self, choose: Choose) -> None:
        """As the executors."""
        self._executors.set_chooser(choose)

    def reset(self) -> np.ndarray:
        """Start every environment, f32[E, S]."""
        return self._executors.reset()

    def step(self, actions: ActionSample) -> Chunk:
        """Step every environment once; the transitions are those whose turn it is."""
        chunk = self._executors.step(actions)
        if chunk.complete:
            self._push(map(Entry, chunk.packed, chunk.returns, chunk.origins))
        if sum(map(len, self._queues)) < self._length + len(chunk.observations):
            return chunk._replace(packed=chunk.packed[:0], origins=chunk.origins[:0], complete=False)
        served = [(self._queues[0] or self._queues[1]).popleft() for _ in chunk.observations]
        packed, returns, origins = map(np.stack, zip(*served, strict=True))
        return chunk._replace(packed=packed, returns=returns, origins=origins)

    def _push(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._queues[int(entry.packed[self._discount] == 0)].append(entry)

    def set_reward(self, reward: str) -> None:
        """Reward steps in this way from now on; the queue is emptied."""
        self._executors.set_reward(reward)
        for queue in self._queues:
            queue.clear()

    def stats(self) -> dict[str, int]:
        """As the executors', and how many terminal transitions wait."""
        return self._executors.stats() | {"terminals_queued": len(self._queues[1])}

    def get_state(self) -> dict[str, Any]:
        """The executors' state and the queue."""
        return self._executors.get_state() | self._queued()

    def new_episodes(self, step: int) -> dict[str, Any]:
        """A state of new episodes, and the queue."""
        return self._executors.new_episodes(step) | self._queued()

    def _queued(self) -> dict[str, Any]:
        entries = [entry for queue in self._queues for entry in queue]
        return {"queue": [np.stack(part) for part in zip(*entries, strict=True)]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `get_state`'s result."""
        self._executors.set_state({name: value for name, value in state.items() if name != "queue"})
        for queue in self._queues:
            queue.clear()
        self._push(map(Entry, *map(np.asarray, state["queue"])) if state["queue"] else ())

    def close(self) -> None:
        """Close every environment."""
        self._executors.close()
