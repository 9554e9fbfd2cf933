"""Loops that compile in a moment, for tests: a learner of a few numbers, and short episodes."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp import envs
from lsp.agents import build
from lsp.config import Config, ExecutorsConfig
from lsp.executors.executor import Executor
from lsp.executors.inproc import InProcess
from lsp.replay import make_uniform
from lsp.training import loop
from lsp.training.device import Dispatches
from lsp.training.loop import Loop
from lsp.types import ActionSample, Agent, Array, Batch, EnvSpec, Key, Recipe, Transition, UpdateInfo
from tests.support.builders import tiny_config

CAPACITY, BATCH = 64, 8
POINT_MASS = EnvSpec(observation_dim=4, action_dim=2)
ANT = EnvSpec(observation_dim=125, action_dim=8)
TASKS = {"lsp/PointMass-v0": POINT_MASS, "lsp/RllabAnt-v0": ANT}


class Toy(NamedTuple):
    """A learner whose numbers depend on everything it was ever told, on every key, and on their order."""

    weights: Array  # f32[S]
    observed: Array  # f32[]
    updates: Array  # i32[]


@functools.cache
def make_toy(spec: EnvSpec) -> Agent:
    """The toy as an agent."""

    def observe(state: Toy, chunk: Transition, returns: Array) -> Toy:
        return state._replace(observed=0.9 * state.observed + jnp.mean(chunk.reward) + jnp.mean(returns))

    def act(params: Toy, observation: Array, key: Key) -> ActionSample:
        latent = jax.random.normal(key, (*observation.shape[:-1], spec.action_dim))
        u = latent + jnp.tanh(observation @ params.weights)[..., None]
        return ActionSample(jnp.tanh(u), u)

    def act_random(params: Toy, observation: Array, key: Key) -> ActionSample:
        del params
        env_action = jax.random.uniform(key, (*observation.shape[:-1], spec.action_dim), minval=-0.9, maxval=0.9)
        return ActionSample(env_action, jnp.arctanh(env_action))

    def update(state: Toy, batch: Batch, key: Key) -> tuple[Toy, UpdateInfo]:
        step = jnp.mean(batch.transitions.reward) * jax.random.normal(key, state.weights.shape)
        weights = jnp.tanh(0.9 * state.weights + step + state.observed)
        metrics = {"weights": jnp.mean(weights), "updates": state.updates.astype(jnp.float32)}
        return state._replace(weights=weights, updates=state.updates + 1), UpdateInfo(jnp.ones(BATCH), metrics)

    return Agent(
        init=lambda key: Toy(jax.random.normal(key, (spec.observation_dim,)), jnp.zeros(()), jnp.zeros((), jnp.int32)),
        observe=observe,
        actor_params=lambda state: state,
        act=act,
        act_mode=lambda params, observation: act(params, observation, jax.random.key(0)),
        act_latent=lambda params, observation, latent: ActionSample(jnp.tanh(latent), latent),
        act_random=act_random,
        update=update,
        priority=lambda state, transitions, key: jnp.ones(transitions.reward.shape),
    )


@functools.cache
def _compiled(agent: Agent, replay: Any, spec: EnvSpec, num_updates: int) -> Dispatches:
    return ORIGINAL(Recipe(agent, replay, Config()), spec, num_updates)


ORIGINAL = loop.make_dispatches


def share_compilations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let loops of one agent and one number of updates run the same compiled code."""
    monkeypatch.setattr(
        loop, "make_dispatches", lambda recipe, spec, number: _compiled(recipe.agent, recipe.replay, spec, number)
    )


@functools.cache
def toy_replay() -> Any:
    return make_uniform(CAPACITY, BATCH)


def toy_config(**overrides: Any) -> Config:
    """Random actions for 5 steps, updates after 10, one a step. `count` is that of the executors."""
    executors = ExecutorsConfig(count=overrides.pop("count", 1))
    ours = Config(env="lsp/PointMass-v0", warmup_steps=5, learning_starts=10, n_step=1, block=1, utd=1.0)
    return dataclasses.replace(ours, executors=executors, **overrides)


def toy_recipe(config: Config) -> Recipe:
    return Recipe(make_toy(TASKS[config.env]), toy_replay(), config)


@functools.cache
def ant_recipe() -> Recipe:
    """The real agent on the ant, tiny: 4 steps of 3 executors to a dispatch of 3 updates, 3-step returns."""
    config = tiny_config(
        **{"env": "lsp/RllabAnt-v0", "n_step": 3, "block": 4, "utd": 0.25, "warmup_steps": 12, "learning_starts": 24}
        | {"executors.count": 3, "replay.capacity": 100, "replay.batch_size": BATCH}
    )
    return build(config, ANT)


def record_only(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, np.ndarray]]:
    """Let loops run without a device; returns what they dispatch: number of updates, rows."""
    dispatched: list[tuple[int, np.ndarray]] = []

    def dispatch(actions: np.ndarray, number: int, *arguments: Any) -> tuple[Any, np.ndarray, np.ndarray]:
        dispatched.append((number, arguments[3]))
        return None, actions, np.zeros(0)

    def fake(recipe: Recipe, spec: EnvSpec, num_updates: int) -> Dispatches:
        actions = np.zeros((recipe.config.executors.count, 2 * spec.action_dim), np.float32)
        return Dispatches(
            init=lambda root: None,
            act=lambda *_: actions,
            collect=functools.partial(dispatch, actions, 0),
            learn=functools.partial(dispatch, actions, num_updates),
            actor_params=lambda state: None,
            encode=None,
            metric_names=(),
        )

    monkeypatch.setattr(loop, "make_dispatches", fake)
    return dispatched


def make_loop(recipe: Recipe, limit: int = 7) -> Loop:
    """A loop of episodes of `limit` steps, one more for each further executor; not started."""
    config = recipe.config

    def executor(index: int) -> Executor:
        env = envs.make(config.env, max_episode_steps=limit + index)
        return Executor(env, 100 * config.seed + index, config.gamma, config.n_step)

    return Loop(recipe, InProcess(executor, config.executors.count))


def started(recipe: Recipe, limit: int = 7) -> Loop:
    """A loop that has taken its first observations."""
    made = make_loop(recipe, limit)
    made.start()
    return made


def device_state(run: Loop) -> list[np.ndarray]:
    """Copies of every array that the run has on the device."""
    return [np.array(leaf) for leaf in jax.tree.leaves(run.state)]
