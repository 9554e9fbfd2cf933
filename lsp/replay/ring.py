"""Circular storage of transitions on the device, shared by every kind of replay.

Memory: 4*(2S + A + 2) bytes a row and, with goals, 4*(G + 2) more; 1.04 GB for a million transitions of
`lsp/RllabAnt-v0` (S = 125, A = 8).

In one dispatch, write first and sample after: the other order makes XLA copy the whole ring.
"""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp

from lsp import packing
from lsp.types import Array, GoalTask, Transition

ALONE = -(2.0**24)
"""The step, in its outcome, of a row whose neighbors are not of its episode: a copy of a row from elsewhere."""


@flax.struct.dataclass
class Ring:
    """The newest `capacity` rows."""

    rows: Array  # f32[C, W] packed transitions
    counts: Array  # i32[2] `position` and `size`: one buffer across a call instead of two
    observation_dim: int = flax.struct.field(pytree_node=False)
    outcome_dim: int = flax.struct.field(pytree_node=False, default=0)

    @property
    def position(self) -> Array:
        """Where the next row goes, i32[]."""
        return self.counts[..., 0]

    @property
    def size(self) -> Array:
        """Rows filled, i32[]."""
        return self.counts[..., 1]


def memory_bytes(capacity: int, observation_dim: int, action_dim: int, goals: GoalTask | None = None) -> int:
    """Bytes of the rows of a ring."""
    return 4 * capacity * packing.width(observation_dim, action_dim, goals)


def init(example: Transition, capacity: int) -> Ring:
    """An empty ring for rows like `example` (no leading axis)."""
    outcome_dim = 0 if example.outcome is None else example.outcome.shape[-1]
    shape = (capacity, packing.width(example.observation.shape[-1], example.action.shape[-1]) + outcome_dim)
    return Ring(jnp.zeros(shape), jnp.zeros(2, jnp.int32), example.observation.shape[-1], outcome_dim)


def add(ring: Ring, chunk: Transition) -> tuple[Ring, Array]:
    """Write a chunk [n, ...] over the oldest rows; returns the ring and the slots written, i32[n].

    Raises:
      ValueError: a chunk larger than the ring.
    """
    capacity, _ = ring.rows.shape
    new = packing.pack(chunk)
    n = new.shape[0]
    if n > capacity:
        raise ValueError(f"a chunk of {n} rows does not fit a replay of {capacity}")
    slots = (ring.position + jnp.arange(n, dtype=jnp.int32)) % capacity
    # A slice across the end would be clamped onto the newest rows; a scatter wraps. Of one row the slice is faster.
    if n == 1:
        stored = jax.lax.dynamic_update_slice(ring.rows, new, (ring.position, jnp.zeros((), jnp.int32)))
    else:
        stored = ring.rows.at[slots].set(new, unique_indices=True, mode="promise_in_bounds")
    counts = jnp.stack([(ring.position + n) % capacity, jnp.minimum(ring.size + n, capacity)])
    return dataclasses.replace(ring, rows=stored, counts=counts), slots


def below(words: Array, count: Array) -> Array:
    """Numbers in [0, count), i32[B], uniform for random words u32[B]: remainders of 2^32 are as good as uniform.

    `count`: i32[] or i32[B]; where it is 0 or less, the number is 0.
    """
    return (words % jnp.maximum(count, 1).astype(jnp.uint32)).astype(jnp.int32)


def gather(ring: Ring, slots: Array) -> Transition:
    """The transitions in `slots`, i32[B]; slots must lie in [0, capacity)."""
    return packing.unpack(ring.rows.at[slots].get(mode="promise_in_bounds"), ring.observation_dim, ring.outcome_dim)


def dump(ring: Ring, size: int) -> Ring:
    """The ring cut down to its `size` filled rows: what a checkpoint needs. Of NumPy leaves it is a view."""
    return dataclasses.replace(ring, rows=ring.rows[:size])


def load(dumped: Ring, capacity: int) -> Ring:
    """Inverse of `dump`."""
    stored = jnp.zeros((capacity, dumped.rows.shape[-1])).at[: dumped.rows.shape[0]].set(dumped.rows)
    return dataclasses.replace(dumped, rows=stored)
