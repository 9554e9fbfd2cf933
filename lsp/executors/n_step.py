"""n-step returns, folded on the host as experience arrives."""

from collections import deque
from typing import Any

import numpy as np

from lsp.packing import Layout


class NStepReturns:
    """Turns one environment's stream of packed transitions into n-step ones, one out for each one in after n-1.

        reward = sum_{k<m} gamma^k r_k,    discount = gamma^m or 0 at termination,    next_observation = s_m

    with m = n, or the steps left where the episode ends sooner. An ending episode completes several at once, and the
    next one none for n-1 steps; n-1 are held back to even that out, so that the learner's shapes never change.
    """

    def __init__(self, n: int, layout: Layout) -> None:
        """Fold `n` steps, at least 1, of packed transitions of a `layout`; outcomes stay those of the first step."""
        self._n = n
        self._reward, self._discount, self._next = layout.reward, layout.discount, layout.next_observation
        self._open: deque[np.ndarray] = deque()
        self._ready: deque[np.ndarray] = deque()

    def __len__(self) -> int:
        """Transitions in waiting."""
        return len(self._open) + len(self._ready)

    def push(self, packed: np.ndarray, ended: bool) -> None:
        """Add a 1-step transition f32[W] (kept, and changed); `ended`: the episode is over, terminated or truncated."""
        for earlier in self._open:
            earlier[self._reward] += earlier[self._discount] * packed[self._reward]
            earlier[self._discount] *= packed[self._discount]
            earlier[self._next] = packed[self._next]
        self._open.append(packed)
        if ended:
            self.cut()
        elif len(self._open) == self._n:
            self._ready.append(self._open.popleft())

    def cut(self) -> None:
        """Complete every transition as it stands, bootstrapping from the last state: the episode goes no further."""
        self._ready.extend(self._open)
        self._open.clear()

    def clear(self) -> None:
        """Forget every transition in waiting, as at the start of a stream."""
        self._open.clear()
        self._ready.clear()

    def pop(self) -> np.ndarray | None:
        """To be called once after each `push`: the oldest transition, or None in the first n-1 steps of the stream."""
        return self._ready.popleft() if len(self) == self._n else None

    def get_state(self) -> dict[str, Any]:
        """Transitions in waiting, as arrays."""
        return {"open": [packed.copy() for packed in self._open], "ready": [packed.copy() for packed in self._ready]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `get_state`'s result."""
        self._open = deque(np.array(packed, np.float32) for packed in state["open"])
        self._ready = deque(np.array(packed, np.float32) for packed in state["ready"])
