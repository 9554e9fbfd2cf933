"""Rewriting every transition of any kind of replay in place: an action means something else once a layer is frozen."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from lsp import packing
from lsp.replay.ring import ALONE, Ring
from lsp.types import Array, Key, ReplayState, Transition

BLOCK = 4096  # transitions rewritten at a time: beyond them no memory is needed

Rewrite = Callable[[Transition], tuple[Transition, Array]]


def reencode(state: ReplayState, rewrite: Rewrite, key: Key) -> tuple[ReplayState, Array]:
    """Rewrite every transition of a replay.

    Where one cannot be rewritten, its slot takes a copy of another, drawn at random from those that can: slots,
    ages and priorities stay as they are.

    Args:
      state: of any replay that keeps its transitions in a `Ring`; donate it, and nothing is copied.
      rewrite: transitions [n, ...] -> the new ones, and whether each can be used, bool[n].
      key: consumed.

    Returns:
      The new state, and the number of transitions dropped, i32[]. If that is all of them, the replay holds nothing of
      use.
    """
    dropped = jnp.zeros((), jnp.int32)

    def one(leaf: Array | Ring) -> Array | Ring:
        nonlocal dropped
        if not isinstance(leaf, Ring):
            return leaf
        ring, lost = _reencode_ring(leaf, rewrite, key)
        dropped = dropped + lost
        return ring

    return jax.tree.map(one, state, is_leaf=lambda leaf: isinstance(leaf, Ring)), dropped


def _reencode_ring(ring: Ring, rewrite: Rewrite, key: Key) -> tuple[Ring, Array]:
    capacity = ring.rows.shape[0]
    block = min(BLOCK, capacity)
    num_blocks = (ring.size + block - 1) // block

    def rewrite_block(i: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        rows, usable = carry
        start, slots = _block(i, block, capacity)
        old = jax.lax.dynamic_slice_in_dim(rows, start, block)
        new, ok = rewrite(ring.layout.unpack(old))
        # The last block begins early where it would not fit: none may be rewritten twice.
        due = (slots >= i * block) & (slots < ring.size)
        merged = jnp.where(due[:, None], packing.pack(new), old)
        known = jnp.where(due, ok, jax.lax.dynamic_slice_in_dim(usable, start, block))
        put = jax.lax.dynamic_update_slice_in_dim
        return put(rows, merged, start, 0), put(usable, known, start, 0)

    rows, usable = jax.lax.fori_loop(0, num_blocks, rewrite_block, (ring.rows, jnp.zeros(capacity, bool)))
    count = jnp.sum(usable, dtype=jnp.int32)
    usable_first = jnp.argsort(~usable)  # stable

    def fill_block(i: Array, rows: Array) -> Array:
        start, slots = _block(i, block, capacity)
        others = usable_first[jax.random.randint(jax.random.fold_in(key, i), (block,), 0, jnp.maximum(count, 1))]
        stays = usable[slots] | (slots >= ring.size)
        filled = rows[jnp.where(stays, slots, others)]
        if ring.layout.outcome_dim:
            step = ring.layout.episode_step
            filled = filled.at[:, step].set(jnp.where(stays, filled[:, step], ALONE))
        return jax.lax.dynamic_update_slice_in_dim(rows, filled, start, 0)

    dropped = ring.size - count
    rows = jax.lax.fori_loop(0, jnp.where(dropped > 0, num_blocks, 0), fill_block, rows)
    return dataclasses.replace(ring, rows=rows), dropped


def _block(i: Array, block: int, capacity: int) -> tuple[Array, Array]:
    start = jnp.minimum(i * block, capacity - block)
    return start, start + jnp.arange(block, dtype=jnp.int32)
