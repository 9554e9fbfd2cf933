"""The training loop of asynchronous executors, after Ape-X: Horgan et al. (2018), arXiv 1803.00933.

Workers act and rank on parameters of their own; the learner pools what arrives and takes a dispatch's transitions out
of the pool at a time. It gives a worker its next request when the pool needs more, which is the limiter: updates are
earned by transitions, as in lock-step, and nobody collects what the learner is not going to take soon.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from lsp.executors.async_workers import AsyncWorkers
from lsp.training.device import Device, RunState
from lsp.training.seed import Seed, StageChange
from lsp.types import Episode, Executors, Recipe, Rollout

PATIENCE = 0.2  # seconds to wait for transitions before looking whether somebody wants to stop


class AsyncLoop:
    """`TrainingLoop` of one seed, which learns from whatever its executors have sent.

    Resumed, it loses nothing, but the order is another.
    """

    def __init__(self, device: Device) -> None:
        """Train the seed of `device`, whose executors are `AsyncWorkers`."""
        self.device = device
        config = device.recipe.config
        self._ranked = device.recipe.replay.ranks_new
        self._size = config.block * config.executors.count
        # Packed transitions, returns, priorities, origins and versions that have arrived and are not learned from yet.
        self._pool: list[list[np.ndarray]] = []
        self._episodes: list[Episode] = []
        self._published = 0
        self._staleness: list[np.ndarray] = []  # updates between acting and learning, since the last line of metrics

    def start(self, seeds: Sequence[Seed]) -> None:
        """Reset every environment, and let workers have the first parameters."""
        (seed,) = seeds
        seed.executors.reset()
        self._publish(seed)

    def collect(self, seed: Seed) -> Sequence[Episode]:
        """Take what has arrived, if the pool needs it; returns the episodes that ended."""
        if self._pooled() < self._size:
            workers = workers_of(seed)
            workers.request_rollouts(seed.step < self.device.recipe.config.warmup_steps)
            for rollout in workers.poll(PATIENCE):
                self._receive(rollout)
        episodes, self._episodes = self._episodes, []
        return episodes

    def answer(self, seeds: Sequence[Seed]) -> None:
        """Learn from a dispatch of what is in the pool, if there is enough."""
        (seed,) = seeds
        if self._pooled() >= self._size:
            self._consume(seed)

    def metrics(self, seed: Seed) -> dict[str, float]:
        """Of the updates in this interval: their metrics, and how old the parameters were that acted."""
        found = self.device.interval.line(seed.index)
        after_start = seed.step - seed.budget.learning_starts
        if seed.updates and after_start > 0:
            found["utd_realized"] = (seed.updates - seed.budget.uncounted) / after_start
        if self._staleness:
            ages = np.concatenate(self._staleness)
            found |= {"staleness": float(np.mean(ages)), "staleness_max": float(np.max(ages))}
        return found | {"rollouts_in_flight": workers_of(seed).in_flight()}

    def begin_interval(self, seed: Seed) -> None:
        """Begin the next interval."""
        self.device.interval.begin(seed.index)
        self._staleness.clear()

    def begin_stage(self, recipe: Recipe, state: RunState, change: StageChange, seeds: Sequence[Seed]) -> None:
        """Continue with the next stage; then `renew_executors` with those that act for it."""
        (seed,) = seeds
        self._drain(seed)
        pool, self._pool = self._pool, []
        self.device.begin_stage(recipe, state)
        seed.begin_stage(change._replace(same_actions=True, reward=None))  # no chunks wait here, see below
        if not pool or change.reward is not None:
            return
        packed, *others = [np.concatenate(part) for part in zip(*pool, strict=True)]
        usable = np.ones(len(packed), bool)
        if not change.same_actions:
            assert self.device.compiled.encode is not None
            params = self.device.actor_params_of(seed.index)
            packed, usable = map(np.asarray, self.device.compiled.encode(params, packed))
        self._pool = [[part[usable] for part in (packed, *others)]]

    def renew_executors(self, seed: Seed, make: Callable[[], Executors], reward: str) -> None:
        """Continue with other executors in the same episodes, rewarded so. The old ones are closed.

        Transitions that n-step returns hold back are dropped, for their actions are of the layer below.
        """
        self._drain(seed)
        state, stats = seed.executors.get_state(), seed.executors.stats()
        seed.executors.close()
        seed.executors = make()
        seed.executors.set_state(state)
        seed.executors.set_reward(reward)
        workers_of(seed).count_on(stats)
        self._publish(seed)

    def act_again(self, seeds: Sequence[Seed]) -> None:
        """Nothing: workers choose their actions when they collect."""

    def renew_policy(self, seed: Seed) -> None:
        """Let workers have the present parameters."""
        self._publish(seed)

    def get_state(self, seed: Seed, lost: bool = False) -> dict[str, Any]:
        """The host's part of the seed; unless it is lost, waits for what is under way, so that none of that is."""
        if not lost:
            self._drain(seed)
        return seed.get_state(lost) | {
            "interval": self.device.interval.get_state(seed.index),
            "staleness": [np.array(ages) for ages in self._staleness],
            "pool": [[np.array(part) for part in parts] for parts in self._pool],
            "episodes": [list(episode) for episode in self._episodes],
        }

    def set_state(self, seed: Seed, host: dict[str, Any], state: RunState) -> None:
        """Continue from `get_state`'s result and the device's part."""
        self.device.set_state(seed.index, state)
        seed.set_state(host)
        self.device.interval.set_state(seed.index, host["interval"])
        self._staleness = [np.asarray(ages) for ages in host["staleness"]]
        self._pool = [[np.asarray(part) for part in parts] for parts in host["pool"]]
        self._episodes = [Episode(*episode) for episode in host["episodes"]]
        self._publish(seed)

    def _pooled(self) -> int:
        return sum(len(parts[0]) for parts in self._pool)

    def _drain(self, seed: Seed) -> None:
        """Receive all that is under way."""
        for rollout in workers_of(seed).drain():
            self._receive(rollout)

    def _receive(self, rollout: Rollout) -> None:
        versions = np.full(len(rollout.packed), rollout.version)
        self._pool.append([rollout.packed, rollout.returns, rollout.priorities, rollout.origins, versions])
        self._episodes += rollout.episodes

    def _consume(self, seed: Seed) -> None:
        """One dispatch, of the oldest transitions."""
        pool = [np.concatenate(part) for part in zip(*self._pool, strict=True)]
        packed, returns, priorities, _, versions = (part[: self._size] for part in pool)
        left = [part[self._size :] for part in pool]
        self._pool = [left] if len(left[0]) else []
        seed.step += self._size
        self._staleness.append(seed.updates - versions)
        device, updates = self.device, self.device.updates_per_dispatch
        learns = seed.learns(updates)
        function = device.compiled.learn if learns else device.compiled.store
        ranks = priorities if self._ranked else None
        state, metrics = function(device.state, device.roots, np.int32(seed.step), packed, returns, ranks)
        device.replace(state, metrics if learns else None)
        seed.updates += updates if learns else 0
        if seed.updates - self._published >= device.recipe.config.executors.publish_every:
            self._publish(seed)

    def _publish(self, seed: Seed) -> None:
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(self.device.actor_params())]
        workers_of(seed).publish(leaves, seed.updates)
        self._published = seed.updates


def workers_of(seed: Seed) -> AsyncWorkers:
    """A seed's executors, which act themselves."""
    assert isinstance(seed.executors, AsyncWorkers)
    return seed.executors
