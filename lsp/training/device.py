"""The device's half of a run: the pure functions of a dispatch, and what they are compiled into.

A dispatch adds new transitions to replay, runs U updates in a scan, and returns the next actions. State is donated, so
that parameters, optimizer and replay never leave the device and are never copied; metrics stay there until somebody
asks. The functions are of one seed; a `Transform` makes them of all seeds.
"""

import math
from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lsp import packing
from lsp.config import Config
from lsp.config.executors import latent_scales
from lsp.training import huge_pages
from lsp.training.interval import Interval, reduce
from lsp.training.transforms import OneSeed, Transform, of_seeds
from lsp.types import Agent, Array, EnvSpec, Key, Params, Recipe, ReplayState, State, Transition


class Stream(IntEnum):
    """Independent random streams of a run, folded into its root key."""

    INIT = 0
    ACT = 1
    LEARN = 2
    EVALUATE = 3
    PRIORITIZE = 4


def stream_key(root: Key, stream: Stream, step: Array | int) -> Key:
    """The key of one step of one stream."""
    return jax.random.fold_in(jax.random.fold_in(root, stream), step)


class RunState(NamedTuple):
    """Everything on the device that a run changes."""

    agent: State
    replay: ReplayState


class Compiled(NamedTuple):
    """The compiled functions of a run, and the names of the metrics that its updates return.

    Arguments are those of `act`, `advance`, `learn`, ... below, from `state` or `params` on.
    """

    init: Callable[[Key], RunState]
    act: Callable[..., Array]
    collect: Callable[..., tuple[RunState, Array, Array]]  # `advance` without updates
    advance: Callable[..., tuple[RunState, Array, Array]]
    store: Callable[..., tuple[RunState, Array]]  # `learn` without updates
    learn: Callable[..., tuple[RunState, Array]]
    actor_params: Callable[[RunState], Params]
    encode: Callable[[Params, np.ndarray], tuple[Array, Array]] | None  # of one seed; see `Agent.encode`
    metric_names: Sequence[str]


def example_transition(spec: EnvSpec) -> Transition:
    """A transition of zeros, no leading axis: what `Replay.init` takes."""
    layout = packing.Layout.of(spec)
    return layout.unpack(jnp.zeros(layout.width))


def act(
    agent: Agent,
    params: Params,
    root: Key,
    step: Array,
    observations: Array,
    random: Array,
    scales: Sequence[float] | None = None,
) -> Array:
    """Actions for [E, S], the two spaces side by side: [E, 2A]; uniformly random ones where `random`.

    `scales`: standard deviation of each executor's latents; None: 1, as the policy says.
    """
    key = stream_key(root, Stream.ACT, step)
    uniform = agent.act_random(params, observations, key)
    if scales is None:
        chosen = agent.act(params, observations, key)
    else:
        latents = jnp.array(scales)[:, None] * jax.random.normal(key, uniform.env_action.shape)
        chosen = agent.act_latent(params, observations, latents)
    return jnp.where(random, jnp.concatenate(uniform, axis=-1), jnp.concatenate(chosen, axis=-1))


def advance(
    recipe: Recipe,
    spec: EnvSpec,
    num_updates: int,
    state: RunState,
    root: Key,
    step: Array,
    rows: Array,
    returns: Array,
    observations: Array,
    random: Array,
) -> tuple[RunState, Array, Array]:
    """One dispatch: store new rows, update `num_updates` times, act.

    Args:
      recipe: agent and replay.
      spec: sizes of the environments.
      num_updates: U, static; 0 only collects.
      state: donated by the caller.
      root: the run's root key.
      step: i32[] environment steps so far.
      rows: [n, W] packed transitions.
      returns: [n] discounted returns so far.
      observations: [E, S] to act on.
      random: bool[] act uniformly.

    Returns:
      the new state, actions [E, 2A], and each metric of the updates, [M] (empty where U = 0): of most the mean, see
      `lsp.training.interval`.
    """
    state, metrics = learn(recipe, spec, num_updates, state, root, step, rows, returns)
    params, scales = recipe.agent.actor_params(state.agent), latent_scales(recipe.config.executors)
    return state, act(recipe.agent, params, root, step, observations, random, scales), metrics


def learn(
    recipe: Recipe,
    spec: EnvSpec,
    num_updates: int,
    state: RunState,
    root: Key,
    step: Array,
    rows: Array,
    returns: Array,
    priorities: Array | None = None,
) -> tuple[RunState, Array]:
    """`advance` without the acting; `priorities` [n] of the rows where an executor has ranked them."""
    agent, replay = recipe.agent, recipe.replay
    chunk = packing.Layout.of(spec).unpack(rows)
    agent_state = agent.observe(state.agent, chunk, returns)
    if priorities is None:
        priorities = _new_priorities(recipe, agent_state, root, step, chunk)
    replay_state = replay.add(state.replay, chunk, priorities)

    names: list[str] = []

    def one_update(carry: RunState, keys: Key) -> tuple[RunState, Array]:
        sample_key, update_key = keys
        batch = replay.sample(carry.replay, sample_key)
        agent_state, info = agent.update(carry.agent, batch, update_key)
        replay_state = replay.update_priorities(carry.replay, batch.indices, info.priorities)
        metrics = info.metrics | replay.metrics(carry.replay, batch)
        names[:] = sorted(metrics)
        return RunState(agent_state, replay_state), jnp.stack([metrics[name] for name in names])

    state, metrics = RunState(agent_state, replay_state), jnp.zeros(0)
    if num_updates:
        keys = jax.random.split(stream_key(root, Stream.LEARN, step), (num_updates, 2))
        state, history = jax.lax.scan(one_update, state, keys)
        metrics = reduce(names, history)
    return state, metrics


def _new_priorities(recipe: Recipe, state: State, root: Key, step: Array, chunk: Transition) -> Array:
    """Priorities of new rows, [n]: their TD errors where so configured, else inf, which stands for the maximum."""
    agent = recipe.agent
    if recipe.replay.ranks_new:
        return agent.priority(agent.actor_params(state), chunk, stream_key(root, Stream.PRIORITIZE, step))
    return jnp.full(chunk.reward.shape, jnp.inf)


def init_state(recipe: Recipe, spec: EnvSpec, root: Key) -> RunState:
    """The device's part of a run before its first step."""
    agent_state = recipe.agent.init(stream_key(root, Stream.INIT, 0))
    return RunState(agent_state, recipe.replay.init(example_transition(spec)))


def copy_actor_params(recipe: Recipe, state: RunState) -> Params:
    """What acting needs, safe from the donation of `state`."""
    return jax.tree.map(jnp.copy, recipe.agent.actor_params(state.agent))


def metric_names(recipe: Recipe, spec: EnvSpec) -> Sequence[str]:
    """Names of the metrics that `advance` returns, in its order."""

    def metrics(root: Key) -> dict[str, Array]:
        state = init_state(recipe, spec, root)
        batch = recipe.replay.sample(state.replay, root)
        return recipe.agent.update(state.agent, batch, root)[1].metrics | recipe.replay.metrics(state.replay, batch)

    return sorted(jax.eval_shape(metrics, jax.random.key(0)))


def encode_rows(recipe: Recipe, spec: EnvSpec, params: Params, rows: Array) -> tuple[Array, Array]:
    """Packed rows [n, W] of the layer below in the terms of the layer in training, and which of them are usable."""
    assert recipe.agent.encode is not None
    chunk = packing.Layout.of(spec).unpack(rows)
    encoded, usable = recipe.agent.encode(params, chunk)
    return packing.pack(encoded), usable


def compile(recipe: Recipe, spec: EnvSpec, num_updates: int, transform: Transform) -> Compiled:
    """The functions of a run, compiled for all its seeds: nothing else in training is.

    What follows a donated `state` is the seeds' own, but for the environment step and whether to act at random.
    """
    act_as_configured = partial(act, recipe.agent, scales=latent_scales(recipe.config.executors))

    def advancing(number: int) -> Callable[..., tuple[RunState, Array, Array]]:
        return transform.compile(partial(advance, recipe, spec, number), 7, shared=(2, 6), donate=(0,))

    def learning(number: int) -> Callable[..., tuple[RunState, Array]]:
        return transform.compile(partial(learn, recipe, spec, number), 5, shared=(2,), donate=(0,))

    return Compiled(
        init=transform.compile(partial(init_state, recipe, spec), 1),
        act=transform.compile(act_as_configured, 5, shared=(2, 4)),
        collect=advancing(0),
        advance=advancing(num_updates),
        store=learning(0),
        learn=learning(num_updates),
        actor_params=transform.compile(partial(copy_actor_params, recipe), 1),
        # Needed in a few steps only, and for one seed at a time.
        encode=OneSeed().compile(partial(encode_rows, recipe, spec), 2) if recipe.agent.encode else None,
        metric_names=metric_names(recipe, spec),
    )


def updates_per_dispatch(config: Config) -> int:
    """Updates of a dispatch that learns: what its transitions earn, or the next whole number."""
    return math.ceil(config.utd * config.block * config.executors.count)


class Device:
    """What a run holds on the device: the state of all seeds, and the functions compiled for them."""

    def __init__(self, recipe: Recipe, spec: EnvSpec, seeds: Sequence[int]) -> None:
        """Initial states of these seeds; `recipe` is that of any of them."""
        self.recipe, self.spec, self.transform = recipe, spec, of_seeds(len(seeds))
        self.roots = self.transform.roots(seeds)
        self.updates_per_dispatch = updates_per_dispatch(recipe.config)
        self.compiled = compile(recipe, spec, self.updates_per_dispatch, self.transform)
        self.state = huge_pages.advise(self.compiled.init(self.roots))
        self._params: Params | None = None
        self._num_seeds = len(seeds)
        self.interval = self._new_interval()

    def begin_stage(self, recipe: Recipe, state: RunState) -> None:
        """Continue with the recipe of the next stage, and its first state."""
        self.recipe, self.state = recipe, huge_pages.advise(state)
        self._params = None
        self.compiled = compile(recipe, self.spec, self.updates_per_dispatch, self.transform)
        self.interval = self._new_interval()

    def _new_interval(self) -> Interval:
        return Interval(self.compiled.metric_names, self._num_seeds, self.transform.unstack)

    def replace(self, state: RunState, metrics: Array | None) -> None:
        """Take over a dispatch's result; `metrics` of all seeds if there were updates in it."""
        self.state, self._params = state, None
        if metrics is not None:
            self.interval.add(metrics)

    def actor_params(self) -> Params:
        """A copy of what acting needs, of all seeds, safe from donation."""
        if self._params is None:
            self._params = self.compiled.actor_params(self.state)
        return self._params

    def actor_params_of(self, index: int) -> Params:
        """A copy of what acting needs, of one seed, on the default device."""
        return self.transform.own(self.actor_params(), index)

    def state_of(self, index: int) -> RunState:
        """One seed's state. It may be a view: drop it before the next dispatch."""
        state: RunState = self.transform.get(self.state, index)
        return state

    def set_state(self, index: int, state: RunState) -> None:
        """Put another state in place of one seed's."""
        self.state = huge_pages.advise(self.transform.put(self.state, index, state))
        self._params = None

    def release(self, index: int) -> RunState:
        """Shapes of one seed's state; memory that another state would not reuse is freed."""
        shapes: RunState = jax.eval_shape(lambda: self.state_of(index))
        self.transform.release(self.state)
        return shapes

    def load_replay(self, dumped: Any) -> ReplayState:
        """One seed's replay from what `Replay.dump` gave."""
        return OneSeed().compile(self.recipe.replay.load, 1)(dumped)
