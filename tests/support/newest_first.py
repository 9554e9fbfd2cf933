"""A kind of replay that `lsp` knows nothing of: a batch is the newest transitions, each once, in order."""

import jax.numpy as jnp

from lsp.config import Config
from lsp.replay import make_uniform, ring
from lsp.types import Batch, Key, Replay

NAME = "newest"


def make(config: Config) -> Replay:
    """The newest `batch_size` transitions of at most `capacity`."""

    def sample(state: ring.Ring, key: Key) -> Batch:
        del key
        age = jnp.minimum(jnp.arange(config.replay.batch_size), jnp.maximum(state.size - 1, 0))
        slots = (state.position - 1 - age) % config.replay.capacity
        return Batch(ring.gather(state, slots), slots, jnp.ones(config.replay.batch_size))

    return make_uniform(config.replay.capacity, config.replay.batch_size)._replace(sample=sample)
