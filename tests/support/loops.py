"""Loops that compile in a moment, for tests: a learner of a few numbers, and short episodes."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp import envs
from lsp.agents import build
from lsp.config import Config, ExecutorsConfig, stages
from lsp.executors.executor import Executor
from lsp.executors.inproc import InProcess
from lsp.replay import make_uniform
from lsp.training import device
from lsp.training.device import Compiled, Device, RunState
from lsp.training.loop import Loop, Schedule, TrainingLoop
from lsp.training.seed import Seed, StageChange
from lsp.training.transforms import Transform
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


ORIGINAL = device.compile


@functools.cache
def _compiled(recipe: Recipe, spec: EnvSpec, num_updates: int, count: int) -> Compiled:
    return ORIGINAL(recipe, spec, num_updates, device.of_seeds(count))


def share_compilations(monkeypatch: pytest.MonkeyPatch, config: Config | None = None, count: int = 1) -> None:
    """Let loops of `count` seeds of one agent and one number of updates run the same compiled code.

    `config`: what the code depends on; None: nothing but the agent.
    """

    def shared(recipe: Recipe, spec: EnvSpec, num_updates: int, transform: Transform) -> Compiled:
        del transform
        return _compiled(recipe._replace(config=config or Config()), spec, num_updates, count)

    monkeypatch.setattr(device, "compile", shared)


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

    def fake(recipe: Recipe, spec: EnvSpec, num_updates: int, transform: Transform) -> Compiled:
        del transform
        actions = np.zeros((recipe.config.executors.count, 2 * spec.action_dim), np.float32)
        return Compiled(
            init=lambda root: None,
            act=lambda *_: actions,
            collect=functools.partial(dispatch, actions, 0),
            advance=functools.partial(dispatch, actions, num_updates),
            store=lambda *_: (None, np.zeros(0)),
            learn=lambda *_: (None, np.zeros(0)),
            actor_params=lambda state: None,
            encode=None,
            metric_names=(),
        )

    monkeypatch.setattr(device, "compile", fake)
    return dispatched


class Training:
    """A loop and the seeds that it trains, as a session holds them; what is of one seed is of the first."""

    def __init__(self, loop: TrainingLoop, seeds: Sequence[Seed]) -> None:
        self.loop, self.device, self.seeds, self.seed = loop, loop.device, list(seeds), seeds[0]
        self.root, self.executors = self.seed.root, self.seed.executors

    @property
    def step(self) -> int:
        return self.seed.step

    @property
    def updates(self) -> int:
        return self.seed.updates

    @property
    def state(self) -> RunState:
        return self.device.state_of(self.seed.index)

    def start(self) -> None:
        self.loop.start(self.seeds)

    def advance(self) -> list[Any]:
        """One step of every executor; returns the episodes that ended."""
        episodes = [episode for seed in self.seeds for episode in self.loop.collect(seed)]
        self.loop.answer(self.seeds)
        return episodes

    def until(self, steps: int) -> None:
        """Advance until each seed has made so many environment steps."""
        while self.step < steps:
            self.advance()

    def begin_stage(self, recipe: Recipe, state: RunState, change: StageChange) -> None:
        self.loop.begin_stage(recipe, state, change, self.seeds)

    def metrics(self) -> dict[str, float]:
        """Of an interval, which ends with it."""
        line = self.loop.metrics(self.seed)
        self.loop.begin_interval(self.seed)
        return line

    def actor_params(self) -> Any:
        return self.device.actor_params_of(self.seed.index)

    def get_state(self) -> dict[str, Any]:
        return self.loop.get_state(self.seed)

    def set_state(self, host: dict[str, Any], state: RunState) -> None:
        self.loop.set_state(self.seed, host, state)


def make_executors(config: Config, seed: int, limit: int = 7) -> InProcess:
    """Executors with episodes of `limit` steps, one more for each further executor."""

    def executor(index: int) -> Executor:
        env = envs.make(config.env, max_episode_steps=limit + index)
        return Executor(env, 100 * seed + index, config.gamma, config.n_step, stages.reward_of(config, 0))

    return InProcess(executor, config.executors.count)


def make_many(recipe: Recipe, seeds: Sequence[int], limit: int = 7, schedule: Schedule | None = None) -> Training:
    """Several seeds of a recipe; not started."""
    loop = Loop(Device(recipe, TASKS[recipe.config.env], seeds), schedule)
    configs = [dataclasses.replace(recipe.config, seed=seed) for seed in seeds]
    return Training(
        loop, [Seed(i, config, make_executors(config, config.seed, limit)) for i, config in enumerate(configs)]
    )


def make_loop(recipe: Recipe, limit: int = 7, schedule: Schedule | None = None) -> Training:
    """The seed of a recipe; not started."""
    return make_many(recipe, (recipe.config.seed,), limit, schedule)


def started(recipe: Recipe, limit: int = 7, schedule: Schedule | None = None) -> Training:
    """A loop that has taken its first observations."""
    made = make_loop(recipe, limit, schedule)
    made.start()
    return made


def device_state(run: Training) -> list[np.ndarray]:
    """Copies of every array that the run has on the device."""
    return [np.array(leaf) for leaf in jax.tree.leaves(run.state)]
