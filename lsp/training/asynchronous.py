"""The training loop of asynchronous executors, after Ape-X: Horgan et al. (2018), arXiv 1803.00933.

Workers act and rank on parameters of their own; the learner pools what arrives and takes a dispatch's rows out of the
pool at a time. It gives a worker its next order when the pool needs more, which is the limiter: updates are earned by
rows, as in lock-step, and nobody collects rows that the learner is not going to take soon.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from lsp.executors.async_workers import Fleet
from lsp.training.device import RunState, learn
from lsp.training.loop import Change, Loop
from lsp.types import Episode, Executors, Haul, Recipe

PATIENCE = 0.2  # seconds to wait for rows before looking whether somebody wants to stop


class AsyncLoop(Loop):
    """A run that learns from whatever its executors have sent. Resumed, it loses nothing, but the order is another."""

    executors: Fleet

    def __init__(self, recipe: Recipe, executors: Fleet) -> None:
        """Prepare the device; no environment is touched yet."""
        super().__init__(recipe, executors)
        self._compile(recipe)
        self._ranked = recipe.replay.ranks_new
        self._size = self.config.block * self.config.executors.count
        # Rows, returns, priorities, origins and versions of what has arrived and is not learned from yet.
        self._pool: list[list[np.ndarray]] = []
        self._episodes: list[Episode] = []
        self._published = 0
        self._staleness: list[np.ndarray] = []  # updates between acting and learning, of each row since the last line

    def _compile(self, recipe: Recipe) -> None:
        self._store, self._learn = (
            jax.jit(partial(learn, recipe, self.executors.spec, number), donate_argnums=0)
            for number in (0, self._updates_per_dispatch)
        )

    def grow(self, recipe: Recipe, state: RunState, change: Change) -> None:
        """Go on with the next stage of a run, as `Loop.grow` does; then `move` to executors that act for it."""
        self._drain()
        pool, self._pool = self._pool, []
        super().grow(recipe, state, change._replace(same_actions=True, reward=None))  # of rows, see below
        self._compile(recipe)
        if not pool or change.reward is not None:
            return
        rows, *others = [np.concatenate(part) for part in zip(*pool, strict=True)]
        usable = np.ones(len(rows), bool)
        if not change.same_actions:
            assert self._dispatches.encode is not None
            rows, usable = map(np.asarray, self._dispatches.encode(self.actor_params(), rows))
        self._pool = [[part[usable] for part in (rows, *others)]]

    def move(self, make: Callable[[], Executors], reward: str) -> Executors:
        """Go on with other executors in the same episodes, rewarded so; returns them. The old ones are closed.

        Rows that n-step returns hold back are dropped, for their actions are of the layer below.
        """
        self._drain()
        state, stats = self.executors.get_state(), self.executors.stats()
        self.executors.close()
        executors = make()
        assert isinstance(executors, Fleet)
        executors.set_state(state)
        executors.set_reward(reward)
        executors.count_on(stats)
        self.executors = executors
        self._publish()
        return executors

    def start(self) -> None:
        """Reset every environment."""
        self.executors.reset()
        self._publish()

    def advance(self) -> Sequence[Episode]:
        """Take what has arrived, and learn from a dispatch of it; returns the episodes that ended."""
        if self._pooled() < self._size:
            self.executors.order(self.step < self.config.warmup_steps)
            for haul in self.executors.poll(PATIENCE):
                self._receive(haul)
        if self._pooled() >= self._size:
            self._consume()
        episodes, self._episodes = self._episodes, []
        return episodes

    def metrics(self) -> dict[str, float]:
        """Metrics of the latest updates; and, since the last call, how old the parameters were that acted."""
        found = super().metrics()
        after_start = self.step - self._terms.learning_starts
        if self.updates and after_start > 0:
            found["utd_realized"] = (self.updates - self._terms.uncounted) / after_start
        if self._staleness:
            ages = np.concatenate(self._staleness)
            self._staleness.clear()
            found |= {"staleness": float(np.mean(ages)), "staleness_max": float(np.max(ages))}
        return found | {"hauls_in_flight": self.executors.in_flight()}

    def _pooled(self) -> int:
        return sum(len(parts[0]) for parts in self._pool)

    def _drain(self) -> None:
        """Receive all that is under way."""
        for haul in self.executors.drain():
            self._receive(haul)

    def _receive(self, haul: Haul) -> None:
        versions = np.full(len(haul.rows), haul.version)
        self._pool.append([haul.rows, haul.returns, haul.priorities, haul.origins, versions])
        self._episodes += haul.episodes

    def _consume(self) -> None:
        """One dispatch, of the oldest rows."""
        pool = [np.concatenate(part) for part in zip(*self._pool, strict=True)]
        rows, returns, priorities, _, versions = (part[: self._size] for part in pool)
        left = [part[self._size :] for part in pool]
        self._pool = [left] if len(left[0]) else []
        self.step += self._size
        self._staleness.append(self.updates - versions)
        learns = self._learns()
        function = self._learn if learns else self._store
        ranks = priorities if self._ranked else None
        state, metrics = function(self.state, self.root, np.int32(self.step), rows, returns, ranks)
        self._move_on(state, metrics if learns else None)
        if self.updates - self._published >= self.config.executors.publish_every:
            self._publish()

    def _publish(self) -> None:
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(self.actor_params())]
        self.executors.publish(leaves, self.updates)
        self._published = self.updates

    def get_state(self) -> dict[str, Any]:
        """The host's part of the run; waits for what is under way, so that none of it is lost."""
        self._drain()
        pool = [[np.array(part) for part in parts] for parts in self._pool]
        return super().get_state() | {"pool": pool, "episodes": [list(episode) for episode in self._episodes]}

    def set_state(self, host: dict[str, Any], state: RunState) -> None:
        """Go on from `get_state`'s result and the device's part."""
        super().set_state(host, state)
        self._pool = [[np.asarray(part) for part in parts] for parts in host["pool"]]
        self._episodes = [Episode(*episode) for episode in host["episodes"]]
        self._publish()
