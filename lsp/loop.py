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
    metric_names: Sequence[str]


def example_transition(spec: EnvSpec) -> Transition:
    """A transition of zeros, no leading axis: what `Replay.init` takes."""
    observation = jnp.zeros(spec.observation_dim)
    outcome = jnp.zeros(packing.outcome_dim(spec.goals)) if spec.goals else None
    return Transition(observation, jnp.zeros(spec.action_dim), jnp.zeros(()), jnp.zeros(()), observation, outcome)


def act(agent: Agent, params: Params, root: Key, step: Array, observations: Array, random: Array) -> Array:
    """Actions for [E, S], the two spaces side by side: [E, 2A]; uniformly random ones where `random`."""
    key = stream_key(root, Stream.ACT, step)
    chosen, uniform = agent.act(params, observations, key), agent.act_random(params, observations, key)
    return jnp.where(random, jnp.concatenate(uniform, axis=-1), jnp.concatenate(chosen, axis=-1))


def advance(
    recipe: Recipe,
    num_updates: int,
    state: RunState,
    root: Key,
    step: Array,
    rows: Array,
    returns: Array,
    observations: Array,
    random: Array,
    *,
    outcome_dim: int = 0,
) -> tuple[RunState, Array, Array]:
    """One dispatch: store new rows, update `num_updates` times, act.

    Args:
      recipe: agent and replay.
      num_updates: U, static; 0 only collects.
      state: donated by the caller.
      root: the run's root key.
      step: i32[] environment steps so far.
      rows: [n, W] packed transitions.
      returns: [n] discounted returns so far.
      observations: [E, S] to act on.
      random: bool[] act uniformly.
      outcome_dim: numbers of a row's outcome, static; 0 of tasks without goals.

    Returns:
      the new state, actions [E, 2A], and the mean of each metric over the updates, [M] (empty where U = 0).
    """
    agent, replay = recipe.agent, recipe.replay
    chunk = packing.unpack(rows, observations.shape[-1], outcome_dim)
    agent_state = agent.observe(state.agent, chunk, returns)
    replay_state = replay.add(state.replay, chunk, _new_priorities(recipe, agent_state, root, step, chunk))

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
    return state, act(agent, agent.actor_params(state.agent), root, step, observations, random), metrics


def _new_priorities(recipe: Recipe, state: State, root: Key, step: Array, chunk: Transition) -> Array:
    """Priorities of new rows, [n]: their TD errors where so configured, else inf, which stands for the maximum."""
    agent, config = recipe.agent, recipe.config.replay
    if config.kind == "prioritized" and config.initial == "td":
        return agent.priority(agent.actor_params(state), chunk, stream_key(root, Stream.PRIORITIZE, step))
    return jnp.full(chunk.reward.shape, jnp.inf)


def make_dispatches(recipe: Recipe, spec: EnvSpec, num_updates: int) -> Dispatches:
    """Compile-ready functions of a run: jit and donation are applied here and in `sweep.py` only."""

    def init(root: Key) -> RunState:
        agent_state = recipe.agent.init(stream_key(root, Stream.INIT, 0))
        return RunState(agent_state, recipe.replay.init(example_transition(spec)))

    def metrics(root: Key) -> dict[str, Array]:
        state = init(root)
        batch = recipe.replay.sample(state.replay, root)
        return recipe.agent.update(state.agent, batch, root)[1].metrics | recipe.replay.metrics(state.replay, batch)

    def actor_params(state: RunState) -> Params:
        return jax.tree.map(jnp.copy, recipe.agent.actor_params(state.agent))

    dispatch = partial(advance, recipe, outcome_dim=packing.outcome_dim(spec.goals))
    return Dispatches(
        init=jax.jit(init),
        act=jax.jit(partial(act, recipe.agent)),
        collect=jax.jit(partial(dispatch, 0), donate_argnums=0),
        learn=jax.jit(partial(dispatch, num_updates), donate_argnums=0),
        actor_params=jax.jit(actor_params),
        metric_names=sorted(jax.eval_shape(metrics, jax.random.key(0))),
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
            self._waiting.append((chunk.rows, chunk.returns))
        if len(self._waiting) == self.config.block:
            self._actions = self._dispatch(chunk.observations)
        else:
            self._actions = self._act(chunk.observations)
        return chunk.episodes

    def metrics(self) -> dict[str, float]:
        """Metrics of the latest updates; waits for them. Empty before the first."""
        return dict(zip(self._dispatches.metric_names, np.asarray(self._metrics).tolist(), strict=False))

    def actor_params(self) -> Params:
        """A copy of what acting needs, safe from donation."""
        if self._params is None:
            self._params = self._dispatches.actor_params(self.state)
        return self._params

    def _act(self, observations: np.ndarray) -> np.ndarray:
        random = np.bool_(self.step < self.config.warmup_steps)
        return np.asarray(
            self._dispatches.act(self.actor_params(), self.root, np.int32(self.step), observations, random)
        )

    def _dispatch(self, observations: np.ndarray) -> np.ndarray:
        rows, returns = (np.concatenate(part) for part in zip(*self._waiting, strict=True))
        self._waiting.clear()
        random = np.bool_(self.step < self.config.warmup_steps)
        learns = self._updates_due() >= self._updates_per_dispatch
        function = self._dispatches.learn if learns else self._dispatches.collect
        arguments = (self.root, np.int32(self.step), rows, returns, observations, random)
        self.state, actions, metrics = function(self.state, *arguments)
        self._params = None
        if learns:
            self.updates += self._updates_per_dispatch
            self._metrics = metrics
        return np.asarray(actions)

    def _updates_due(self) -> int:
        """Updates that `utd` has earned since learning started and that are still to be made."""
        return int(self.config.utd * max(0, self.step - self.config.learning_starts)) - self.updates

    def get_state(self) -> dict[str, Any]:
        """The host's part of the run, as nested dicts of NumPy arrays and JSON values."""
        return {
            "step": self.step,
            "updates": self.updates,
            "actions": self._actions.copy(),
            "metrics": np.array(self._metrics),
            "waiting": [[rows.copy(), returns.copy()] for rows, returns in self._waiting],
            "executors": self.executors.get_state(),
        }

    def set_state(self, host: dict[str, Any], state: RunState) -> None:
        """Go on from `get_state`'s result and the device's part."""
        self.step, self.updates = host["step"], host["updates"]
        self.state, self._params = state, None
        self._actions, self._metrics = np.asarray(host["actions"]), np.asarray(host["metrics"])
        self._waiting = [(np.asarray(rows), np.asarray(returns)) for rows, returns in host["waiting"]]
        self.executors.set_state(host["executors"])
