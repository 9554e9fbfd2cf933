"""The training loop: step the environments on the host, do everything else in one dispatch.

A dispatch adds the new rows to replay, runs U updates in a scan, and returns the next actions. State is donated, so
that parameters, optimiser and replay never leave the device and are never copied; metrics stay there until somebody
asks.

With `block` K the host steps K times between dispatches, acting on the parameters of the last one, and the dispatch
then carries K rows an executor and the updates due for them.
"""

import math
from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lsp import rows as packing
from lsp.executors_config import latent_scales
from lsp.types import (
    ActionSample,
    Agent,
    Array,
    EnvSpec,
    Episode,
    Executors,
    Key,
    Params,
    Recipe,
    ReplayState,
    State,
    Transition,
)


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
    observation = jnp.zeros(spec.observation_dim)
    outcome = jnp.zeros(packing.outcome_dim(spec.goals)) if spec.goals else None
    return Transition(observation, jnp.zeros(spec.action_dim), jnp.zeros(()), jnp.zeros(()), observation, outcome)


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
    chunk = packing.unpack(rows, spec.observation_dim, packing.outcome_dim(spec.goals))
    agent_state = agent.observe(state.agent, chunk, returns)
    if priorities is None:
        priorities = _new_priorities(recipe, agent_state, root, step, chunk)
    replay_state = replay.add(state.replay, chunk, priorities)

    def one_update(carry: RunState, key: Key) -> tuple[RunState, Array]:
        sample_key, update_key = jax.random.split(key)
        batch = replay.sample(carry.replay, sample_key)
        agent_state, info = agent.update(carry.agent, batch, update_key)
        replay_state = replay.update_priorities(carry.replay, batch.indices, info.priorities)
        metrics = info.metrics | replay.metrics(carry.replay, batch)
        return RunState(agent_state, replay_state), jnp.stack([metrics[name] for name in sorted(metrics)])

    state, metrics = RunState(agent_state, replay_state), jnp.zeros(0)
    if num_updates:
        keys = jax.random.split(stream_key(root, Stream.LEARN, step), num_updates)
        state, history = jax.lax.scan(one_update, state, keys)
        metrics = jnp.mean(history, axis=0)
    return state, metrics


def _new_priorities(recipe: Recipe, state: State, root: Key, step: Array, chunk: Transition) -> Array:
    """Priorities of new rows, [n]: their TD errors where so configured, else inf, which stands for the maximum."""
    agent, config = recipe.agent, recipe.config.replay
    if config.kind == "prioritized" and config.initial == "td":
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
    chunk = packing.unpack(rows, spec.observation_dim, packing.outcome_dim(spec.goals))
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
        self.state = self._dispatches.init(self.root)
        self._params: Params | None = None
        self._metrics: Array | np.ndarray = np.zeros(0, np.float32)
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []  # rows and returns since the last dispatch
        self._learning_starts = config.learning_starts  # the step from which `utd` counts
        self._uncounted = 0  # updates that `utd` does not count
        self._stale = 0  # chunks still to come whose actions are those of the layer below
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
            self._keep(chunk.rows, chunk.returns, stale=self._stale > 0)
            self._stale = max(0, self._stale - 1)
        if len(self._waiting) == self.config.block:
            self._actions = self._dispatch(chunk.observations)
        else:
            self._actions = self._act(chunk.observations)
        return chunk.episodes

    def grow(self, recipe: Recipe, state: RunState, *, same_actions: bool, fresh: bool, extra_updates: int) -> None:
        """Go on with the next stage of a run.

        Args:
          recipe: of the new stage.
          state: its first state.
          same_actions: whether the layer in training is still the same, so that rows on their way mean what they did.
          fresh: whether replay is empty, so that learning waits for `learning_starts` steps again.
          extra_updates: updates that were made in between and that `utd` does not count.
        """
        self.config, self.state, self._params = recipe.config, state, None
        self._dispatches = make_dispatches(recipe, self.executors.spec, self._updates_per_dispatch)
        self._metrics = np.zeros(0, np.float32)
        self.updates += extra_updates
        self._uncounted += extra_updates
        if fresh:
            self._learning_starts, self._uncounted = self.step + self.config.learning_starts, self.updates
        if not same_actions:
            # Rows that n-step returns hold back, and the actions already chosen, are still to come in the old terms.
            self._stale = min(self.config.n_step - 1, self.step // self.config.executors.count) + 1
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
        earned = int(self.config.utd * max(0, self.step - self._learning_starts))
        return earned - (self.updates - self._uncounted) >= self._updates_per_dispatch

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
            "stage": [self._learning_starts, self._uncounted, self._stale],
            "actions": self._actions.copy(),
            "metrics": np.array(self._metrics),
            "waiting": [[rows.copy(), returns.copy()] for rows, returns in self._waiting],
            "executors": self.executors.get_state(),
        }

    def set_state(self, host: dict[str, Any], state: RunState) -> None:
        """Go on from `get_state`'s result and the device's part."""
        self.step, self.updates = host["step"], host["updates"]
        self._learning_starts, self._uncounted, self._stale = host["stage"]
        self.state, self._params = state, None
        self._actions, self._metrics = np.asarray(host["actions"]), np.asarray(host["metrics"])
        self._waiting = [(np.asarray(rows), np.asarray(returns)) for rows, returns in host["waiting"]]
        self.executors.set_state(host["executors"])
