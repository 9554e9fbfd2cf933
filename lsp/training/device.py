"""What a run does on the device, as functions to be compiled: start, store rows, update, act.

A dispatch adds the new rows to replay, runs U updates in a scan, and returns the next actions. State is donated, so
that parameters, optimizer and replay never leave the device and are never copied.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lsp import packing
from lsp.config.executors import latent_scales
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


class Dispatches(NamedTuple):
    """The compiled functions of a run, and the names of the metrics that `learn` returns."""

    init: Callable[[Key], RunState]
    act: Callable[..., Array]
    collect: Callable[..., tuple[RunState, Array, Array]]
    learn: Callable[..., tuple[RunState, Array, Array]]
    actor_params: Callable[[RunState], Params]
    encode: Callable[[Params, np.ndarray], tuple[Array, Array]] | None  # packed rows; see `Agent.encode`
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
      the new state, actions [E, 2A], and the mean of each metric over the updates, [M] (empty where U = 0).
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

    def one_update(carry: RunState, keys: Key) -> tuple[RunState, Array]:
        sample_key, update_key = keys
        batch = replay.sample(carry.replay, sample_key)
        agent_state, info = agent.update(carry.agent, batch, update_key)
        replay_state = replay.update_priorities(carry.replay, batch.indices, info.priorities)
        metrics = info.metrics | replay.metrics(carry.replay, batch)
        return RunState(agent_state, replay_state), jnp.stack([metrics[name] for name in sorted(metrics)])

    state, metrics = RunState(agent_state, replay_state), jnp.zeros(0)
    if num_updates:
        keys = jax.random.split(stream_key(root, Stream.LEARN, step), (num_updates, 2))
        state, history = jax.lax.scan(one_update, state, keys)
        metrics = jnp.mean(history, axis=0)
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


def make_dispatches(recipe: Recipe, spec: EnvSpec, num_updates: int) -> Dispatches:
    """Compile-ready functions of a run: jit and donation are applied here and in `sweep.py` only."""
    return Dispatches(
        init=jax.jit(partial(init_state, recipe, spec)),
        act=jax.jit(partial(act, recipe.agent, scales=latent_scales(recipe.config.executors))),
        collect=jax.jit(partial(advance, recipe, spec, 0), donate_argnums=0),
        learn=jax.jit(partial(advance, recipe, spec, num_updates), donate_argnums=0),
        actor_params=jax.jit(partial(copy_actor_params, recipe)),
        encode=jax.jit(partial(encode_rows, recipe, spec)) if recipe.agent.encode else None,
        metric_names=metric_names(recipe, spec),
    )
