"""What steers XLA. A helper here returns what its plain counterpart would; its form decides what XLA makes of it.

Algorithms call these by purpose, and say what they compute. What each buys was measured on CPU; in small programs,
whose kernels take microseconds, two things cost more than arithmetic:

- Copies. XLA copies a whole array (a gigabyte of replay) when it cannot tell that what is read from it is read before
  it is written in place. `true_after_reading` and `scatter_twice` order the two.
- Kernels, and how many are ready to run at once. XLA's CPU runtime gives kernels to a second thread once more than
  eight of them are ready, which takes longer (15 us) than any of those of a replay does. `pair` and `constant_like`
  keep their number below that.

`tests/support/hlo.py` counts both in compiled programs.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from lsp.types import Array, Key

T = TypeVar("T")
THREEFRY_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
THREEFRY_PARITY = 0x1BD11BDA


def cond_any(condition: Array, function: Callable[[T], T], state: T) -> T:
    """`function(state)` or `state`, by `condition` bool[].

    Under vmap, where `jax.lax.cond` would run the function every time and select, it runs only if any condition holds.
    """

    def chosen(condition: Array, state: T) -> T:
        return jax.tree.map(partial(jnp.where, condition), function(state), state)

    @jax.custom_batching.custom_vmap
    def run(condition: Array, state: T) -> T:
        return jax.lax.cond(condition, function, lambda state: state, state)

    @run.def_vmap  # type: ignore[untyped-decorator, unused-ignore]
    def run_together(size: int, batched: Any, *arguments: Any) -> tuple[T, T]:
        batched = tuple(batched)
        stacked = jax.tree.map(lambda x, has_axis: x if has_axis else jnp.stack([x] * size), arguments, batched)
        done = jax.lax.cond(jnp.any(stacked[0]), jax.vmap(chosen), lambda _, state: state, *stacked)
        return done, jax.tree.map(lambda _: True, done)

    result: T = run(condition, state)
    return result


def random_bits(key: Key, shape: tuple[int, ...]) -> Array:
    """`jax.random.bits(key, shape)`, u32[shape], to the last bit, without its loop.

    JAX writes Threefry as a loop on CPU, which compiles sooner, and which XLA runs as some eighty calls of kernels: ten
    times what hashing the few numbers of a batch takes. Here the rounds are written out. For keys of other generators
    it calls `jax.random.bits`.

    Source: Salmon et al. (2011), "Parallel Random Numbers: As Easy as 1, 2, 3", Threefry-2x32 of 20 rounds.
    """
    count = math.prod(shape)
    usual = jax.config.jax_threefry_partitionable  # type: ignore[attr-defined]
    if not usual or jax.random.key_impl(key) != "threefry2x32" or count > 2**32:
        return jax.random.bits(key, shape)
    first, second = jax.random.key_data(key)
    schedule = first, second, first ^ second ^ jnp.uint32(THREEFRY_PARITY)
    x, y = jnp.full(count, schedule[0]), jnp.arange(count, dtype=jnp.uint32) + schedule[1]
    for turn in range(5):
        for rotation in THREEFRY_ROTATIONS[turn % 2]:
            x = x + y
            y = x ^ (y << rotation | y >> 32 - rotation)
        x, y = x + schedule[(turn + 1) % 3], y + schedule[(turn + 2) % 3] + jnp.uint32(turn + 1)
    return (x ^ y).reshape(shape)


def pair(first: Array, second: Array) -> Array:
    """Two numbers of one type in one array, [2]: across a call they are one buffer, and written they are one kernel."""
    return jnp.stack([first, second])


def true_after_reading(values: Array) -> Array:
    """True for each of `values`, which are 0 or more, as XLA cannot know: what it masks waits for them to be computed.

    A write masked by it comes after the reads that `values` are from, and after those that share them. Where nothing
    else orders a read and a write of one array, XLA copies the array to keep both.
    """
    return values >= 0


def constant_like(indices: Array, value: bool) -> Array:
    """`value` for each of `indices`, which are 0 or more: bool of their shape.

    A vector of constants would be a kernel of its own, and ready as soon as the program starts.
    """
    return (indices >= 0) == value


def scatter_twice(*vectors: Array) -> list[Array]:
    """Indices [n] and values [n] of a scatter with a single write repeated, which leaves its result what it is.

    XLA turns a scatter of one row into the update of a slice, and then copies what is read as well.
    """
    return [jnp.repeat(vector, 2 if vector.size == 1 else 1) for vector in vectors]


def write_rows(rows: Array, new: Array, start: Array, indices: Array) -> Array:
    """`rows` [C, W] with `new` [n, W] at the distinct `indices` i32[n], of which `start` i32[] is the first.

    One row is written as a slice, which is faster. More are scattered, because a slice that reaches beyond the end
    would be moved to end there.
    """
    if new.shape[0] == 1:
        return jax.lax.dynamic_update_slice(rows, new, (start, jnp.zeros((), jnp.int32)))
    return rows.at[indices].set(new, unique_indices=True, mode="promise_in_bounds")


def computed_once(ascending: Array) -> Array:
    """Numbers in ascending order, as they are.

    XLA repeats what it can fuse in every use of its result, and a sort it cannot fuse. Of the indices that a sum-tree's
    descent ends in, this makes a sample and a write in one program take some 35 % less time.
    """
    return jnp.sort(ascending)


def sort(values: Array) -> Array:
    """`values` f32[n] in ascending order; they are 0 or more, or all the same negative number, and not NaN.

    Bits of such floats, read as integers, have the order of the floats, and XLA sorts integers five times faster.
    """
    bits = jnp.sort(jax.lax.bitcast_convert_type(values, jnp.int32))
    return jax.lax.bitcast_convert_type(bits, jnp.float32)
