"""Uniform replay: every stored transition equally likely, with replacement."""

import jax.numpy as jnp

from lsp import xla
from lsp.config import Config
from lsp.replay import ring
from lsp.types import Array, Batch, Key, Replay, Transition


def make(config: Config) -> Replay:
    """The uniform replay of a configuration."""
    return make_uniform(config.replay.capacity, config.replay.batch_size)


def make_uniform(capacity: int, batch_size: int) -> Replay:
    """Replay that draws `batch_size` of the newest `capacity` transitions uniformly.

    Weights are ones, and priorities are ignored.

    Raises:
      ValueError: a size below 1.
    """
    if min(capacity, batch_size) < 1:
        raise ValueError(f"make_uniform: {capacity=} and {batch_size=} must be at least 1")

    def init(example: Transition) -> ring.Ring:
        return ring.init(example, capacity)

    def add(state: ring.Ring, chunk: Transition, priorities: Array) -> ring.Ring:
        del priorities
        return ring.add(state, chunk)[0]

    def sample(state: ring.Ring, key: Key) -> Batch:
        slots = ring.below(xla.random_bits(key, (batch_size,)), state.size)
        return Batch(ring.gather(state, slots), slots, jnp.ones(batch_size))

    def update_priorities(state: ring.Ring, indices: Array, priorities: Array) -> ring.Ring:
        del indices, priorities
        return state

    def metrics(state: ring.Ring, batch: Batch) -> dict[str, Array]:
        age = (state.position - 1 - batch.indices) % capacity
        return {"replay_size": state.size.astype(jnp.float32), "batch_age": jnp.mean(age.astype(jnp.float32))}

    return Replay(
        init=init,
        add=add,
        sample=sample,
        update_priorities=update_priorities,
        size=lambda state: state.size,
        dump=ring.dump,
        load=lambda dumped: ring.load(dumped, capacity),
        metrics=metrics,
        refused=lambda state: jnp.zeros((), jnp.int32),  # it has no use for priorities
    )
