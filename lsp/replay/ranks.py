"""Ranks of priorities: 1 for the largest, one more for every larger priority; equal ones share a rank.

To keep all ranks exact would mean a sort after every write. So ranks are looked up in a sorted copy that is refreshed
now and then: right after `refresh` the rank of every transition is exact; in between, one that was written gets the
rank that its new priority would have had at the last refresh, and the others keep theirs. A transition that was never
replayed may have an infinite priority, and then rank 1 with all its like.

Source: Schaul et al. (2016), "Prioritized Experience Replay", arXiv 1511.05952, section 3.3 and appendix B.2.1.
Differs: the authors sample from a rarely sorted heap, by segments of equal mass; here ranks become the masses of a
sum-tree, and transitions written since the last sort are not left out.
"""

from typing import NamedTuple

import jax.numpy as jnp

from lsp import xla
from lsp.types import Array

EMPTY = -1.0  # an empty slot: below every priority


class Ranks(NamedTuple):
    """Priorities of all slots, and their order at the last refresh."""

    priorities: Array  # f32[C] as last written
    ordered: Array  # f32[C] ascending, as of the last refresh


def init(capacity: int) -> Ranks:
    """Of `capacity` empty slots."""
    return Ranks(jnp.full(capacity, EMPTY), jnp.full(capacity, EMPTY))


def write(ranks: Ranks, indices: Array, priorities: Array) -> Ranks:
    """Set `priorities` f32[n], 0 or more, at distinct `indices` i32[n]; what lies beyond the end is dropped."""
    return ranks._replace(priorities=ranks.priorities.at[indices].set(priorities, mode="drop"))


def last_of_each(indices: Array, accepted: Array) -> Array:
    """Which of n writes is the last accepted one of its index, bool[n]; by n^2 comparisons."""
    later = jnp.triu(jnp.ones((indices.size, indices.size), bool), k=1)
    again = later & accepted[None, :] & (indices[:, None] == indices[None, :])
    return accepted & ~jnp.any(again, axis=1)


def lookup(ranks: Ranks, priorities: Array) -> Array:
    """Rank, i32[n], that each of `priorities` f32[n] had among all transitions at the last refresh."""
    return 1 + ranks.ordered.size - jnp.searchsorted(ranks.ordered, priorities, side="right").astype(jnp.int32)


def refresh(ranks: Ranks) -> Ranks:
    """Sort all priorities; some 0.1 seconds for a million."""
    return ranks._replace(ordered=xla.sort(ranks.priorities))


def due(updates: Array, every: int) -> Array:
    """Whether update number `updates`, i32[] from 1, ends with a refresh: each multiple of `every`, and 1, 2, 4, 8, ...

    The powers of two only up to `every`: a short history changes faster.
    """
    return (updates % every == 0) | ((updates & (updates - 1) == 0) & (updates < every))


def dump(ranks: Ranks, size: int) -> Ranks:
    """Cut down to `size` filled slots: what a checkpoint needs."""
    return Ranks(ranks.priorities[:size], ranks.ordered[ranks.ordered.shape[0] - size :])


def load(dumped: Ranks, capacity: int) -> Ranks:
    """Inverse of `dump`."""
    empty, size = init(capacity), dumped.priorities.shape[0]
    ordered = empty.ordered.at[capacity - size :].set(dumped.ordered)
    return Ranks(empty.priorities.at[:size].set(dumped.priorities), ordered)
