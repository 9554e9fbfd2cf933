"""The training loop for many seeds at once: `lsp.training.loop`'s functions under pmap over devices of vmap within one.

A seed is a lane with executors of its own. The host steps the executors of every lane, one after the other, and then
makes one dispatch for all of them, so that what a dispatch costs is paid once. Lanes never mix: a seed's numbers are
those of its single run, up to rounding, for a batched product may sum in another order. A lane that nobody steps any
longer, because its seed failed, goes on with zeros for experience, and no other lane sees it.

A layer that is grown is grown in every lane at the same step (`lsp.training.growth_lanes`).

Arrays have two leading axes: D devices, N lanes of a device. Where the seeds do not divide among devices, the last
lanes stay idle.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lsp.config import Config
from lsp.training import huge_pages
from lsp.training.device import RunState
from lsp.training.lane_dispatch import make_dispatches, over_lanes, set_lane
from lsp.training.loop import Change, Terms
from lsp.types import ActionSample, Array, EnvSpec, Episode, Executors, Params, Recipe


class Sweep:
    """Many seeds of one configuration in progress: every lane `collect`s a step, and `answer` learns for all.

    Let a lane `join` for each seed before anything else.
    """

    def __init__(self, recipe: Recipe, spec: EnvSpec, seeds: Sequence[int]) -> None:
        """Prepare the devices for lanes of these seeds; `recipe` is that of any of them."""
        self.recipe, self.spec = recipe, spec
        config = recipe.config
        self._devices = devices = jax.local_devices()[: len(seeds)]
        self._shape = len(devices), math.ceil(len(seeds) / len(devices))
        self._seeds = list(seeds)
        padded = [*self._seeds, *self._seeds[-1:] * (math.prod(self._shape) - len(seeds))]
        self.roots = jnp.stack([jax.random.key(seed) for seed in padded]).reshape(self._shape)
        self.updates_per_dispatch = math.ceil(config.utd * config.block * config.executors.count)
        self.dispatches = make_dispatches(recipe, spec, self.updates_per_dispatch, devices)
        self.state = huge_pages.advise(self.dispatches.init(self.roots))
        self._set_lane = jax.pmap(set_lane, in_axes=(0, None, None, 0), donate_argnums=0, devices=devices)
        self._params: Params | None = None
        self._metrics: Array | np.ndarray | None = None  # [D, N, M] of the latest updates

    def join(self, config: Config, executors: Executors) -> "Lane":
        """The lane of `config.seed`, with its executors."""
        return Lane(self, self._seeds.index(config.seed), config, executors)

    def start(self, lanes: Sequence["Lane"]) -> None:
        """Choose the first actions of lanes that have reset their executors."""
        self._act(lanes)

    def answer(self, lanes: Sequence["Lane"]) -> None:
        """After each of `lanes` has collected a step: learn what is due, and give each its next actions."""
        if lanes[0].unsettled:
            self._settle(lanes)
        if len(lanes[0].waiting) == self.recipe.config.block:
            self._dispatch(lanes)
        else:
            self._act(lanes)

    def metrics(self, index: int) -> np.ndarray | None:
        """Metrics of a lane's latest updates, [M]; waits for them. None before the first in this process."""
        if self._metrics is None:
            return None
        self._metrics = fetched = np.asarray(self._metrics)  # once for all lanes
        latest: np.ndarray = fetched[divmod(index, self._shape[1])]
        return latest

    def actor_params(self) -> Params:
        """A copy of what acting needs, [D, N, ...], safe from donation."""
        if self._params is None:
            self._params = self.dispatches.actor_params(self.state)
        return self._params

    def lane_of(self, tree: Any, index: int) -> Any:
        """One lane of a pytree of [D, N, ...]. On a CPU a view: drop it before the next dispatch."""
        device, lane = divmod(index, self._shape[1])

        def pick(leaf: Array) -> Array | np.ndarray:
            shard = leaf.addressable_shards[device].data
            return (np.asarray(shard) if jax.default_backend() == "cpu" else shard)[0, lane]

        return jax.tree.map(pick, tree)

    def set_lane(self, index: int, state: RunState) -> None:
        """Put `state` into a lane."""
        self.state = self.with_lane(self.state, index, state)
        self._params = None

    def with_lane(self, tree: Any, index: int, value: Any) -> Any:
        """A pytree of [D, N, ...], donated, with another value in a lane."""
        device, lane = divmod(index, self._shape[1])
        return self._set_lane(tree, value, np.int32(lane), np.arange(self._shape[0]) == device)

    def over_lanes(self, function: Callable[..., Any], arguments: int, donate: tuple[int, ...] = ()) -> Any:
        """`function` for all lanes, whose arguments have leading axes [D, N]."""
        return over_lanes(self._devices, function, arguments, donate=donate)

    def grow(self, recipe: Recipe, state: RunState, change: Change, lanes: Sequence["Lane"]) -> None:
        """Go on with the next stage, as `lsp.training.loop.Loop.grow` does; `state` [D, N, ...] is its first."""
        self.recipe, self.state, self._params, self._metrics = recipe, state, None, None
        self.dispatches = make_dispatches(recipe, self.spec, self.updates_per_dispatch, self._devices)
        for lane in lanes:
            lane.grow(change)
        self._settle(lanes)

    def _settle(self, lanes: Sequence["Lane"]) -> None:
        """Put chunks that came in the terms of the layer below into those of the layer in training.

        Where a row cannot be used, its chunk is left out of all lanes, so that they stay in step.
        """
        count = lanes[0].unsettled  # the same for all
        encoded = [lane.encode_unsettled() for lane in lanes]
        usable = [all(chunks[i][1] for chunks in encoded) for i in range(count)]
        for lane, chunks in zip(lanes, encoded, strict=True):
            kept = [chunk for (chunk, _), ok in zip(chunks, usable, strict=True) if ok]
            lane.waiting[len(lane.waiting) - count :] = kept
            lane.unsettled = 0

    def _act(self, lanes: Sequence["Lane"]) -> None:
        observations = self._stack(lanes, [lane.observations for lane in lanes])
        actions = self.dispatches.act(self.actor_params(), self.roots, *self._now(lanes, observations))
        self._hand_out(lanes, actions)

    def _dispatch(self, lanes: Sequence["Lane"]) -> None:
        learns = lanes[0].updates_due() >= self.updates_per_dispatch
        waiting = [lane.take_waiting(self.updates_per_dispatch if learns else 0) for lane in lanes]
        rows, returns = (self._stack(lanes, part) for part in zip(*waiting, strict=True))
        observations = self._stack(lanes, [lane.observations for lane in lanes])
        step, observations, random = self._now(lanes, observations)
        function = self.dispatches.learn if learns else self.dispatches.collect
        self.state, actions, metrics = function(self.state, self.roots, step, rows, returns, observations, random)
        self._params = None
        if learns:
            self._metrics = metrics
        self._hand_out(lanes, actions)

    def _now(self, lanes: Sequence["Lane"], observations: np.ndarray) -> tuple[np.int32, np.ndarray, np.bool_]:
        step = lanes[0].step  # the same for all
        return np.int32(step), observations, np.bool_(step < self.recipe.config.warmup_steps)

    def _stack(self, lanes: Sequence["Lane"], values: Sequence[np.ndarray]) -> np.ndarray:
        """One array a lane as [D, N, ...]; zeros for lanes that are not among `lanes`."""
        stacked = np.zeros((math.prod(self._shape), *values[0].shape), np.float32)
        stacked[[lane.index for lane in lanes]] = values
        return stacked.reshape(*self._shape, *values[0].shape)

    def _hand_out(self, lanes: Sequence["Lane"], actions: Array) -> None:
        flat = np.asarray(actions).reshape(-1, *actions.shape[2:])
        for lane in lanes:
            lane.actions = flat[lane.index]


class Lane:
    """One seed of a sweep: the host's half of `Loop`, whose checkpoints it can go on from, and the reverse."""

    def __init__(self, sweep: Sweep, index: int, config: Config, executors: Executors) -> None:
        """Lane number `index`; no environment is touched yet."""
        self.sweep, self.index, self.config, self.executors = sweep, index, config, executors
        self.root = jax.random.key(config.seed)
        self.step, self.updates = 0, 0
        self.actions = np.zeros((config.executors.count, 2 * executors.spec.action_dim), np.float32)
        self.observations = np.zeros((config.executors.count, executors.spec.observation_dim), np.float32)
        self.waiting: list[tuple[np.ndarray, np.ndarray]] = []  # rows and returns since the last dispatch
        self.unsettled = 0  # the newest of them that are still in the terms of the layer below
        self._terms = Terms(config.learning_starts)
        self._metrics = np.zeros(0, np.float32)  # those of the checkpoint, until there are newer ones

    @property
    def state(self) -> RunState:
        """The device's part of this seed. On a CPU a view: drop it before the next dispatch."""
        state: RunState = self.sweep.lane_of(self.sweep.state, self.index)
        return state

    def start(self) -> None:
        """Reset every environment; `Sweep.start` then chooses the first actions."""
        self.observations = self.executors.reset()

    def collect(self) -> Sequence[Episode]:
        """Step every executor once; returns the episodes that ended. `Sweep.answer` does the rest."""
        dim = self.executors.spec.action_dim
        chunk = self.executors.step(ActionSample(self.actions[:, :dim], self.actions[:, dim:]))
        self.step += len(chunk.observations)
        if chunk.complete:
            self.waiting.append((chunk.rows, chunk.returns))
            self.unsettled += self._terms.take_stale()
        self.observations = chunk.observations
        return chunk.episodes

    def updates_due(self) -> int:
        """Updates that `utd` has earned since learning started and that are still to be made."""
        return self._terms.updates_due(self.config, self.step, self.updates)

    def grow(self, change: Change) -> None:
        """Go on with the next stage, as `lsp.training.loop.Loop.grow` does; `Sweep.grow` does the rest."""
        self.updates += change.extra_updates
        self._terms.grow(change, self.config, self.step, self.updates)
        self._metrics = np.zeros(0, np.float32)
        if change.reward is not None:
            self.executors.set_reward(change.reward)
            self.waiting.clear()
        self.unsettled = 0 if change.same_actions else len(self.waiting)

    def encode_unsettled(self) -> list[tuple[tuple[np.ndarray, np.ndarray], bool]]:
        """The newest chunks in the terms of the layer in training, and whether all rows of each can be used."""
        encode, found = self.sweep.dispatches.encode, []
        for rows, returns in self.waiting[len(self.waiting) - self.unsettled :]:
            assert encode is not None
            encoded, usable = map(np.asarray, encode(self.actor_params(), rows))
            found.append(((encoded, returns), bool(usable.all())))
        return found

    def take_waiting(self, num_updates: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and returns for a dispatch, which makes so many updates."""
        rows, returns = (np.concatenate(part) for part in zip(*self.waiting, strict=True))
        self.waiting.clear()
        self.updates += num_updates
        return rows, returns

    def metrics(self) -> dict[str, float]:
        """Metrics of the latest updates; waits for them. Empty before the first."""
        return dict(zip(self.sweep.dispatches.metric_names, self._latest().tolist(), strict=False))

    def _latest(self) -> np.ndarray:
        newer = self.sweep.metrics(self.index)
        return self._metrics if newer is None else newer

    def actor_params(self) -> Params:
        """A copy of what acting needs, on the default device."""
        return jax.tree.map(lambda leaf: jnp.array(leaf), self.sweep.lane_of(self.sweep.actor_params(), self.index))

    def release(self) -> RunState:
        """Shapes of the device's part; it is replaced in place."""
        shapes: RunState = jax.eval_shape(lambda: self.state)
        return shapes

    def get_state(self) -> dict[str, Any]:
        """The host's part, as `lsp.training.loop.Loop.get_state` has it."""
        return {
            "step": self.step,
            "updates": self.updates,
            "stage": self._terms.get_state(),
            "actions": self.actions.copy(),
            "metrics": np.array(self._latest()),
            "waiting": [[rows.copy(), returns.copy()] for rows, returns in self.waiting],
            "executors": self.executors.get_state(),
        }

    def set_state(self, host: dict[str, Any], state: RunState) -> None:
        """Go on from `get_state`'s result and the device's part."""
        self.step, self.updates = host["step"], host["updates"]
        self._terms = Terms(*host["stage"])
        self.actions, self._metrics = np.asarray(host["actions"]), np.asarray(host["metrics"])
        self.waiting = [(np.asarray(rows), np.asarray(returns)) for rows, returns in host["waiting"]]
        self.executors.set_state(host["executors"])
        self.sweep.set_lane(self.index, state)
