"""What only a look at every row can tell, learned by looking at a few of them after each update.

A sweep is a pass over all rows, a window an update; what it found counts when it ends, and then the next one begins.

The largest mass: what is written can raise it at once, that it has fallen shows in a sweep. So `maximum` is never below
the largest mass, and never above the largest of the last two sweeps. It decays where priorities do, as they must when a
learned temperature falls, and costs a read of a few kilobytes in place of a second tree.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lsp.replay.sum_tree import FAN_OUT, SumTree
from lsp.types import Array

WINDOWS = 4096  # updates of one sweep; fewer where the tree has fewer nodes


class Sweep(NamedTuple):
    """Findings: first of the last complete sweep, second of the one under way. Pairs are two buffers less a call."""

    maxima: Array  # f32[2] largest mass: of the sweep, and of everything written since it began
    unseen: Array  # i32[2] rows never replayed, as the sweep saw them

    @property
    def maximum(self) -> Array:
        """Never below the largest mass, f32[]."""
        return self.maxima[0]

    @property
    def never_replayed(self) -> Array:
        """Rows, as the last sweep saw them, i32[]."""
        return self.unseen[0]


def init() -> Sweep:
    """Of a replay without rows."""
    return Sweep(jnp.zeros(2), jnp.zeros(2, jnp.int32))


def written(sweep: Sweep, masses: Array) -> Sweep:
    """After `masses`, f32[n], were written; NaN among them count for nothing."""
    return sweep._replace(maxima=jnp.maximum(sweep.maxima, jnp.nanmax(masses, initial=0.0)))


def look(sweep: Sweep, tree: SumTree, replayed: Array, size: Array, step: Array) -> Sweep:
    """After a look at the window of `step`, i32[], which counts up by one a call.

    Args:
      sweep: findings so far.
      tree: masses.
      replayed: bool[nodes, 16], in the layout of the leaves, rows that have ever been replayed.
      size: i32[] rows stored; of those behind, only the mass is looked at.
      step: i32[] calls so far.
    """
    nodes = replayed.shape[0]
    window = -(-nodes // WINDOWS)
    count = -(-nodes // window)
    start = (step % count) * window
    # The last window may reach beyond the end; the slice then starts earlier, at nodes that were seen before.
    masses, known = (jax.lax.dynamic_slice_in_dim(of, start, window) for of in (tree.levels[-1], replayed))
    node = jnp.minimum(start, nodes - window) + jnp.arange(window)
    row = node[:, None] * FAN_OUT + jnp.arange(FAN_OUT)[None, :]
    unknown = ~known & (row >= start * FAN_OUT) & (row < size)
    maxima = jnp.maximum(sweep.maxima, jnp.array([0.0, jnp.max(masses)]))
    unseen = sweep.unseen + jnp.array([0, jnp.sum(unknown, dtype=jnp.int32)])
    ends = step % count == count - 1
    return Sweep(*(jnp.where(ends, jnp.array([of[1], 0], of.dtype), of) for of in (maxima, unseen)))
