"""A training loop without a run's folder, to be stepped and timed, with a replay that is full from the start."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from lsp.agents import build
from lsp.config import Config
from lsp.envs import env_spec
from lsp.executors import factory
from lsp.training.device import Device, example_transition
from lsp.training.seed import Seed
from lsp.training.session import LOOPS
from lsp.types import EnvSpec, Executors, Key, Transition


def make_executors(config: Config, seed: int) -> Executors:
    """The executors of one seed."""
    return factory.make(config, [1_000 * seed + i for i in range(config.executors.count)])


def random_transitions(spec: EnvSpec, key: Key, count: int, discount: float) -> Transition:
    """Normal numbers in the shapes of an environment's transitions, [count]."""
    leaves, tree = jax.tree.flatten(example_transition(spec))
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.normal(k, (count, *leaf.shape)) for k, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, drawn)._replace(discount=jnp.full(count, discount))


class Training:
    """Seeds 0 to `count` - 1 in one loop."""

    def __init__(
        self, config: Config, count: int = 1, make_executors: Callable[[Config, int], Executors] = make_executors
    ) -> None:
        """Make executors and initial states."""
        spec = env_spec(config)
        self.config = config
        self.device = Device(build(config, spec), spec, range(count))
        self.loop = LOOPS[config.executors.mode](self.device)
        configs = [dataclasses.replace(config, seed=seed) for seed in range(count)]
        self.seeds = [Seed(i, each, make_executors(each, i)) for i, each in enumerate(configs)]

    @property
    def step(self) -> int:
        """Environment steps so far, of each seed."""
        return self.seeds[0].step

    @property
    def updates(self) -> int:
        """Updates so far, of each seed."""
        return self.seeds[0].updates

    def fill(self, most: int = 2**14) -> None:
        """Write random transitions all over every replay, at `most` so many at once.

        A nearly empty one would stay in cache and flatter the sampling.
        """
        spec, config, add = self.device.spec, self.config, self.device.recipe.replay.add
        chunk = min(most, config.replay.capacity)
        for _ in range(2 if len(self.seeds) > 1 else 0):  # leading axes of devices and of seeds
            add = jax.vmap(add, in_axes=(0, None, None))
        once = jax.jit(
            lambda replay, key: add(
                replay, random_transitions(spec, key, chunk, config.gamma), jnp.full(chunk, jnp.inf)
            ),
            donate_argnums=0,
        )
        replay = self.device.state.replay
        for part in range(-(-config.replay.capacity // chunk)):
            replay = once(replay, jax.random.fold_in(jax.random.key(1), part))
        self.device.state = self.device.state._replace(replay=jax.block_until_ready(replay))

    def start(self) -> None:
        """Reset every environment."""
        self.loop.start(self.seeds)

    def advance(self) -> None:
        """One step of every executor, and what is due after it."""
        for seed in self.seeds:
            self.loop.collect(seed)
        self.loop.answer(self.seeds)

    def run(self, calls: int) -> None:
        """Advance so often, and wait for it."""
        for _ in range(calls):
            self.advance()
        self.wait()

    def until_updated(self, updates: int) -> None:
        """Advance until there have been so many more updates, and wait for them."""
        last = self.updates + updates
        while self.updates < last:
            self.advance()
        self.wait()

    def wait(self) -> None:
        """Until the device is done."""
        jax.block_until_ready(jax.tree.leaves(self.device.state))

    def close(self) -> None:
        """Close every environment."""
        for seed in self.seeds:
            seed.executors.close()
