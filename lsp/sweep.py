"""The training loop for many seeds at once: `lsp.loop`'s functions under pmap over devices of vmap within one.

A seed is a lane with executors of its own. The host steps the executors of every lane, one after the other, and then
makes one dispatch for all of them, so that what a dispatch costs is paid once. Lanes never mix: a seed's numbers are
those of its single run, up to rounding, for a batched product may sum in another order. A lane that nobody steps any
longer, because its seed failed, goes on with zeros for experience, and no other lane sees it.

Arrays have two leading axes: D devices, N lanes of a device. Where the seeds do not divide among devices, the last
lanes stay idle.
"""

import math
import runpy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lsp.config import Config
from lsp.dispatch import Dispatches, RunState, act, advance, copy_actor_params, init_state, metric_names
from lsp.executors_config import latent_scales
from lsp.types import ActionSample, Array, EnvSpec, Episode, Executors, Params, Recipe


def make_dispatches(recipe: Recipe, spec: EnvSpec, num_updates: int, devices: Sequence[jax.Device]) -> Dispatches:
    """`lsp.dispatch.make_dispatches` for lanes: every array has leading axes [D, N], but for the step and `random`."""

    def over_lanes(function: Callable[..., Any], *shared: int, arguments: int, donate: tuple[int, ...] = ()) -> Any:
        axes = tuple(None if i in shared else 0 for i in range(arguments))
        mapped = jax.vmap(function, in_axes=axes)
        return jax.pmap(mapped, in_axes=axes, donate_argnums=donate, devices=list(devices))

    return Dispatches(
        init=over_lanes(partial(init_state, recipe, spec), arguments=1),
        act=over_lanes(
            partial(act, recipe.agent, scales=latent_scales(recipe.config.executors)), 2, 4, arguments=5
        ),
        collect=over_lanes(partial(advance, recipe, spec, 0), 2, 6, arguments=7, donate=(0,)),
        learn=over_lanes(partial(advance, recipe, spec, num_updates), 2, 6, arguments=7, donate=(0,)),
        actor_params=over_lanes(partial(copy_actor_params, recipe), arguments=1),
        encode=None,
        metric_names=metric_names(recipe, spec),
    )


def _set_lane(state: RunState, new: RunState, lane: Array, here: Array) -> RunState:
    """Replace one lane of a device's [N, ...] by `new`, if it is `here`, bool[]; in place where `state` is donated."""
    return jax.tree.map(lambda old, leaf: old.at[lane].set(jnp.where(here, leaf, old[lane])), state, new)


class Sweep:
    """Many seeds of one configuration in progress: every lane `collect`s a step, and `answer` learns for all.

    Let a lane `join` for each seed before anything else.
    """

    def __init__(self, recipe: Recipe, spec: EnvSpec, seeds: Sequence[int]) -> None:
        """Prepare the devices for lanes of these seeds; `recipe` is that of any of them."""
        self.recipe, self.spec = recipe, spec
        config = recipe.config
        devices = jax.local_devices()[: len(seeds)]
        self._shape = len(devices), math.ceil(len(seeds) / len(devices))
        self._seeds = list(seeds)
        padded = [*self._seeds, *self._seeds[-1:] * (math.prod(self._shape) - len(seeds))]
        self.roots = jnp.stack([jax.random.key(seed) for seed in padded]).reshape(self._shape)
        self.updates_per_dispatch = math.ceil(config.utd * config.block * config.executors.count)
        self.dispatches = make_dispatches(recipe, spec, self.updates_per_dispatch, devices)
        self.state = self.dispatches.init(self.roots)
        self._set_lane = jax.pmap(_set_lane, in_axes=(0, None, None, 0), donate_argnums=0, devices=devices)
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
        device, lane = divmod(index, self._shape[1])
        self.state = self._set_lane(self.state, state, np.int32(lane), np.arange(self._shape[0]) == device)
        self._params = None

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
    """One seed of a sweep: the host's half of `lsp.loop.Loop`, whose checkpoints it can go on from, and the reverse."""

    def __init__(self, sweep: Sweep, index: int, config: Config, executors: Executors) -> None:
        """Lane number `index`; no environment is touched yet."""
        self.sweep, self.index, self.config, self.executors = sweep, index, config, executors
        self.root = jax.random.key(config.seed)
        self.step, self.updates = 0, 0
        self.actions = np.zeros((config.executors.count, 2 * executors.spec.action_dim), np.float32)
        self.observations = np.zeros((config.executors.count, executors.spec.observation_dim), np.float32)
        self.waiting: list[tuple[np.ndarray, np.ndarray]] = []  # rows and returns since the last dispatch
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
        self.observations = chunk.observations
        return chunk.episodes

    def updates_due(self) -> int:
        """Updates that `utd` has earned since learning started and that are still to be made."""
        return int(self.config.utd * max(0, self.step - self.config.learning_starts)) - self.updates

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
        """The host's part, as `lsp.loop.Loop.get_state` has it."""
        return {
            "step": self.step,
            "updates": self.updates,
            "stage": [self.config.learning_starts, 0, 0],
            "actions": self.actions.copy(),
            "metrics": np.array(self._latest()),
            "waiting": [[rows.copy(), returns.copy()] for rows, returns in self.waiting],
            "executors": self.executors.get_state(),
        }

    def set_state(self, host: dict[str, Any], state: RunState) -> None:
        """Go on from `get_state`'s result and the device's part."""
        self.step, self.updates = host["step"], host["updates"]
        self.actions, self._metrics = np.asarray(host["actions"]), np.asarray(host["metrics"])
        self.waiting = [(np.asarray(rows), np.asarray(returns)) for rows, returns in host["waiting"]]
        self.executors.set_state(host["executors"])
        self.sweep.set_lane(self.index, state)


if __name__ == "__main__":  # where one may look for grids of runs
    runpy.run_module("lsp.grid", run_name="__main__", alter_sys=True)
