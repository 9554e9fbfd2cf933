"""Circular storage of transitions on the device, shared by every kind of replay.

Memory: 4*(2S + A + 2) bytes a transition and, with goals, 4*(G + 2) more; 1.04 GB for a million transitions of
`lsp/RllabAnt-v0` (S = 125, A = 8).

In one dispatch, write first and sample after: the other order makes XLA copy the whole ring.
"""

import dataclasses

import flax.struct
import jax.numpy as jnp

from lsp import packing, xla
from lsp.packing import Layout
from lsp.types import Array, Transition

ALONE = -(2.0**24)
"""The step, in its outcome, of a transition whose neighbors are not of its episode: a copy of one from elsewhere."""


@flax.struct.dataclass
class Ring:
    """The newest `capacity` transitions."""

    rows: Array  # f32[C, W] packed transitions
    counts: Array  # i32[2] `position` and `size`
    layout: Layout = flax.struct.field(pytree_node=False)  # of a row

    @property
    def position(self) -> Array:
        """Where the next transition goes, i32[]."""
        return self.counts[..., 0]

    @property
    def size(self) -> Array:
        """Slots filled, i32[]."""
        return self.counts[..., 1]


def init(example: Transition, capacity: int) -> Ring:
    """An empty ring for transitions like `example` (no leading axis)."""
    layout = Layout.like(example)
    return Ring(jnp.zeros((capacity, layout.width)), jnp.zeros(2, jnp.int32), layout)


def add(ring: Ring, chunk: Transition) -> tuple[Ring, Array]:
    """Write a chunk [n, ...] over the oldest transitions; returns the ring and the slots written, i32[n].

    Raises:
      ValueError: a chunk larger than the ring.
    """
    capacity, _ = ring.rows.shape
    new = packing.pack(chunk)
    n = new.shape[0]
    if n > capacity:
        raise ValueError(f"a chunk of {n} transitions does not fit a replay of {capacity}")
    slots = (ring.position + jnp.arange(n, dtype=jnp.int32)) % capacity
    stored = xla.write_rows(ring.rows, new, ring.position, slots)
    counts = xla.pair((ring.position + n) % capacity, jnp.minimum(ring.size + n, capacity))
    return dataclasses.replace(ring, rows=stored, counts=counts), slots


def below(random_bits: Array, count: Array) -> Array:
    """Numbers in [0, count), i32[B], uniform for random bits u32[B]: remainders of 2^32 are as good as uniform.

    `count`: i32[] or i32[B]; where it is 0 or less, the number is 0.
    """
    return (random_bits % jnp.maximum(count, 1).astype(jnp.uint32)).astype(jnp.int32)


def gather(ring: Ring, slots: Array) -> Transition:
    """The transitions in `slots`, i32[B]; slots must lie in [0, capacity)."""
    return ring.layout.unpack(ring.rows.at[slots].get(mode="promise_in_bounds"))


def dump(ring: Ring, size: int) -> Ring:
    """The ring cut down to its `size` filled slots: what a checkpoint needs. Of NumPy leaves it is a view."""
    return dataclasses.replace(ring, rows=ring.rows[:size])


def load(dumped: Ring, capacity: int) -> Ring:
    """Inverse of `dump`."""
    stored = jnp.zeros((capacity, dumped.rows.shape[-1])).at[: dumped.rows.shape[0]].set(dumped.rows)
    return dataclasses.replace(dumped, rows=stored)
