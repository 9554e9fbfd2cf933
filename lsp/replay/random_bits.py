"""Random words for drawing rows: the numbers of `jax.random.bits`, without its loop.

JAX writes Threefry as a loop on CPU, which compiles sooner, and which XLA runs as some eighty calls of kernels: ten
times what hashing the few words of a batch takes.

Source: Salmon et al. (2011), "Parallel Random Numbers: As Easy as 1, 2, 3", Threefry-2x32 of 20 rounds.
"""

import math

import jax
import jax.numpy as jnp

from lsp.types import Array, Key

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def bits(key: Key, shape: tuple[int, ...]) -> Array:
    """`jax.random.bits(key, shape)`, u32[shape], to the last bit; of other keys than Threefry's by calling it."""
    count = math.prod(shape)
    usual = jax.config.jax_threefry_partitionable  # type: ignore[attr-defined]
    if not usual or jax.random.key_impl(key) != "threefry2x32" or count > 2**32:
        return jax.random.bits(key, shape)
    first, second = jax.random.key_data(key)
    schedule = first, second, first ^ second ^ jnp.uint32(PARITY)
    x, y = jnp.full(count, schedule[0]), jnp.arange(count, dtype=jnp.uint32) + schedule[1]
    for turn in range(5):
        for rotation in ROTATIONS[turn % 2]:
            x = x + y
            y = x ^ (y << rotation | y >> 32 - rotation)
        x, y = x + schedule[(turn + 1) % 3], y + schedule[(turn + 2) % 3] + jnp.uint32(turn + 1)
    return (x ^ y).reshape(shape)
