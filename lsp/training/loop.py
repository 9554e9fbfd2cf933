"""The training loop: step the environments on the host, do everything else in one dispatch.

A dispatch adds the new rows to replay, runs U updates in a scan, and returns the next actions. State is donated, so
that parameters, optimizer and replay never leave the device and are never copied; metrics stay there until somebody
asks.

With `block` K the host steps K times between dispatches, acting on the parameters of the last one, and the dispatch
then carries K rows an executor and the updates due for them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from lsp.config import Config
from lsp.training import huge_pages
from lsp.training.device import RunState, make_dispatches
from lsp.types import ActionSample, Array, Episode, Executors, Params, Recipe


class Change(NamedTuple):
    """What a loop must know of the step from one stage of a run to the next."""

    same_actions: bool  # whether the layer in training is still the same, so that rows on their way mean what they did
    fresh: bool  # whether replay is empty, so that learning waits for `learning_starts` steps again
    extra_updates: int  # updates that were made in between and that `utd` does not count
    reward: str | None  # of the new stage, where it is another: rows on their way are dropped


@dataclass
class Terms:
    """What earlier stages of a run mean to updates and rows to come."""

    learning_starts: int  # the step from which `utd` counts
    uncounted: int = 0  # updates that `utd` does not count
    stale: int = 0  # chunks still to come whose actions are those of the layer below

    def updates_due(self, config: Config, step: int, updates: int) -> int:
        """Updates that `utd` has earned since learning started and that are still to be made."""
        return int(config.utd * max(0, step - self.learning_starts)) - (updates - self.uncounted)

    def grow(self, change: Change, config: Config, step: int, updates: int) -> None:
        """Begin a stage at environment step `step`, after so many updates, extra ones included."""
        self.uncounted += change.extra_updates
        if change.fresh:
            self.learning_starts, self.uncounted = step + config.learning_starts, updates
        if not change.same_actions:
            # Rows that n-step returns hold back, and the actions already chosen, are still to come in the old terms.
            held = 0 if change.reward is not None else min(config.n_step - 1, step // config.executors.count)
            self.stale = held + 1

    def take_stale(self) -> bool:
        """Whether the chunk that has just come is a stale one; it is counted off."""
        self.stale -= (stale := self.stale > 0)
        return stale

    def get_state(self) -> list[int]:
        """All of it."""
        return [self.learning_starts, self.uncounted, self.stale]


class Loop:
    """A run in progress: `advance` is one step of every executor and whatever learning is due after it.

    Everything that changes is in `state` (on the device) and in `get_state()` (on the host), so that a run can be put
    aside between any two steps. Call `start` or `set_state` before the first `advance`.
    """

    def __init__(self, recipe: Recipe, executors: Executors) -> None:
        """Prepare the device; no environment is touched yet."""
        self.config, self.executors = recipe.config, executors
        self.step, self.updates = 0, 0  # environment steps of all executors; gradient steps
        config = self.config
        self._updates_per_dispatch = math.ceil(config.utd * config.block * config.executors.count)
        self._dispatches = make_dispatches(recipe, executors.spec, self._updates_per_dispatch)
        self.root = jax.random.key(config.seed)
        self.state = huge_pages.advise(self._dispatches.init(self.root))
        self._params: Params | None = None
        self._metrics: Array | np.ndarray = np.zeros(0, np.float32)
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []  # rows and returns since the last dispatch
        self._terms = Terms(config.learning_starts)
        self._actions = np.zeros((config.executors.count, 2 * executors.spec.action_dim), np.float32)

    def start(self) -> None:
        """Reset every environment and choose the first actions."""
        self._actions = self._act(self.executors.reset())

    def advance(self) -> Sequence[Episode]:
        """Step every executor once and learn what is due; returns the episodes that ended."""
        dim = self.executors.spec.action_dim
        chunk = self.executors.step(ActionSample(self._actions[:, :dim], self._actions[:, dim:]))
        self.step += len(chunk.observations)
        if chunk.complete:
            self._keep(chunk.rows, chunk.returns, stale=self._terms.take_stale())
        if len(self._waiting) == self.config.block:
            self._actions = self._dispatch(chunk.observations)
        else:
            self._actions = self._act(chunk.observations)
        return chunk.episodes

    def grow(self, recipe: Recipe, state: RunState, change: Change) -> None:
        """Go on with the next stage of a run: its recipe, and its first state."""
        self.config, self.state, self._params = recipe.config, huge_pages.advise(state), None
        self._dispatches = make_dispatches(recipe, self.executors.spec, self._updates_per_dispatch)
        self._metrics = np.zeros(0, np.float32)
        self.updates += change.extra_updates
        self._terms.grow(change, self.config, self.step, self.updates)
        if change.reward is not None:
            self.executors.set_reward(change.reward)
            self._waiting.clear()
        if not change.same_actions:
            waiting, self._waiting = self._waiting, []
            for rows, returns in waiting:
                self._keep(rows, returns, stale=True)

    def _keep(self, rows: np.ndarray, returns: np.ndarray, stale: bool) -> None:
        """Let rows wait for the next dispatch; if `stale`, in the terms of the layer in training, or not at all."""
        if stale:
            assert self._dispatches.encode is not None
            rows, usable = map(np.asarray, self._dispatches.encode(self.actor_params(), rows))
            if not usable.all():
                return
        self._waiting.append((rows, returns))

    def metrics(self) -> dict[str, float]:
        """Metrics of the latest updates; waits for them. Empty before the first."""
        return dict(zip(self._dispatches.metric_names, np.asarray(self._metrics).tolist(), strict=False))

    def actor_params(self) -> Params:
        """A copy of what acting needs, safe from donation."""
        if self._params is None:
            self._params = self._dispatches.actor_params(self.state)
        return self._params

    def release(self) -> RunState:
        """Free the device's part, to make room for that of a checkpoint; returns its shapes."""
        shapes = jax.eval_shape(lambda: self.state)
        jax.tree.map(lambda leaf: leaf.delete(), self.state)
        return shapes

    def _act(self, observations: np.ndarray) -> np.ndarray:
        return self._choose(self.actor_params(), observations)

    def _choose(self, params: Params, observations: np.ndarray) -> np.ndarray:
        random = np.bool_(self.step < self.config.warmup_steps)
        return np.asarray(self._dispatches.act(params, self.root, np.int32(self.step), observations, random))

    def _dispatch(self, observations: np.ndarray) -> np.ndarray:
        rows, returns = self._take_waiting()
        random = np.bool_(self.step < self.config.warmup_steps)
        learns = self._learns()
        function = self._dispatches.learn if learns else self._dispatches.collect
        arguments = (self.root, np.int32(self.step), rows, returns, observations, random)
        state, actions, metrics = function(self.state, *arguments)
        self._move_on(state, metrics if learns else None)
        return np.asarray(actions)

    def _take_waiting(self) -> list[np.ndarray]:
        taken = [np.concatenate(part) for part in zip(*self._waiting, strict=True)]
        self._waiting.clear()
        return taken

    def _learns(self) -> bool:
        """Whether `utd` has earned the updates of a dispatch since learning started."""
        return self._terms.updates_due(self.config, self.step, self.updates) >= self._updates_per_dispatch

    def _move_on(self, state: RunState, metrics: Array | None) -> None:
        """Take over a dispatch's result; `metrics` if there were updates in it."""
        self.state, self._params = state, None
        if metrics is not None:
            self.updates += self._updates_per_dispatch
            self._metrics = metrics

    def get_state(self) -> dict[str, Any]:
        """The host's part of the run, as nested dicts of NumPy arrays and JSON values."""
        return {
            "step": self.step,
            "updates": self.updates,
            "stage": self._terms.get_state(),
            "actions": self._actions.copy(),
            "metrics": np.array(self._metrics),
            "waiting": [[rows.copy(), returns.copy()] for rows, returns in self._waiting],
            "executors": self.executors.get_state(),
        }

    def set_state(self, host: dict[str, Any], state: RunState) -> None:
        """Go on from `get_state`'s result and the device's part."""
        self.step, self.updates = host["step"], host["updates"]
        self._terms = Terms(*host["stage"])
        self.state, self._params = huge_pages.advise(state), None
        self._actions, self._metrics = np.asarray(host["actions"]), np.asarray(host["metrics"])
        self._waiting = [(np.asarray(rows), np.asarray(returns)) for rows, returns in host["waiting"]]
        self.executors.set_state(host["executors"])
