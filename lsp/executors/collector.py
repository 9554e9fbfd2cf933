"""What an asynchronous worker does: act on parameters of its own, and rank what came of it. No transport here."""

from typing import Any, Protocol

import numpy as np

from lsp.executors.inproc import InProcess
from lsp.types import ActionSample, Chunk, Episode, Haul, Order


class Actor(Protocol):
    """A policy with parameters of its own, which acts for a group of executors and ranks their rows."""

    def load(self, leaves: list[np.ndarray]) -> None:
        """Take over parameters."""

    def act(self, observations: np.ndarray, step: int, random: bool) -> ActionSample:
        """Actions for [E, S]; `step` is never the same twice."""

    def rank(self, rows: np.ndarray, step: int) -> np.ndarray:
        """Priorities of packed transitions [n, W], f32[n]."""


class Collector:
    """Collects `steps` rows from each executor of a group at every order."""

    def __init__(self, executors: InProcess, actor: Actor, steps: int) -> None:
        """Take over `executors`, closed with this object."""
        self._executors, self._actor, self._steps = executors, actor, steps
        self._observations: np.ndarray | None = None
        self._acted = 0  # steps of each executor

    def reset(self) -> np.ndarray:
        """Start every environment, f32[E, S]."""
        self._observations = self._executors.reset()
        return self._observations

    def collect(self, order: Order) -> Haul:
        """Act until the rows are complete."""
        if order.leaves is not None:
            self._actor.load(order.leaves)
        chunks: list[Chunk] = []
        episodes: list[Episode] = []
        while len(chunks) < self._steps:
            assert self._observations is not None
            actions = self._actor.act(self._observations, self._acted, order.random)
            chunk = self._executors.step(actions)
            self._observations = chunk.observations
            self._acted += 1
            episodes += chunk.episodes
            if chunk.complete:
                chunks.append(chunk)
        rows, returns, origins = (
            np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in ("rows", "returns", "origins")
        )
        return Haul(rows, returns, self._actor.rank(rows, self._acted), origins, order.version, episodes)

    def set_reward(self, reward: str) -> None:
        """Reward steps in this way from now on; rows that n-step returns hold back are dropped."""
        self._executors.set_reward(reward)

    def get_state(self) -> dict[str, Any]:
        """The executors' state and how often they acted, a value for each."""
        state = self._executors.get_state()
        return state | {"acted": np.full(len(state["executors"]), self._acted)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from `get_state`'s result."""
        self._executors.set_state(state)
        self._acted = int(np.max(state["acted"]))
        self._observations = np.stack([each["observation"] for each in self._executors.get_state()["executors"]])

    def close(self) -> None:
        """Close every environment."""
        self._executors.close()
