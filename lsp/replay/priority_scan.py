"""What only a scan of all slots can tell, learned by inspecting a few of them after each update.

A scan is a pass over all slots, a window of them an update. What it found counts when it ends, and the next one starts.

The largest mass: what is written can raise it at once, that it has fallen shows in a scan. So `maximum` is never below
the largest mass, and never above the largest of the last two scans. It decays where priorities do, as they must when a
learned temperature falls, and costs a read of a few kilobytes in place of a second tree.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lsp import xla
from lsp.replay.sum_tree import FAN_OUT, SumTree
from lsp.types import Array

WINDOWS = 4096  # updates of one scan; fewer where the tree has fewer nodes


class PriorityScan(NamedTuple):
    """Findings, in pairs: first of the last complete scan, second of the one in progress."""

    maxima: Array  # f32[2] largest mass: of the scan, and of everything written since it started
    unseen: Array  # i32[2] transitions never replayed, as the scan saw them

    @property
    def maximum(self) -> Array:
        """Never below the largest mass, f32[]."""
        return self.maxima[0]

    @property
    def never_replayed(self) -> Array:
        """Transitions, as the last scan saw them, i32[]."""
        return self.unseen[0]


def init() -> PriorityScan:
    """Of an empty replay."""
    return PriorityScan(jnp.zeros(2), jnp.zeros(2, jnp.int32))


def after_writes(scan: PriorityScan, masses: Array) -> PriorityScan:
    """After `masses`, f32[n], were written; NaN among them count for nothing."""
    return scan._replace(maxima=jnp.maximum(scan.maxima, jnp.nanmax(masses, initial=0.0)))


def inspect_window(scan: PriorityScan, tree: SumTree, replayed: Array, size: Array, step: Array) -> PriorityScan:
    """After inspecting the window of `step`, i32[], which counts up by one a call.

    Args:
      scan: findings so far.
      tree: masses.
      replayed: bool[nodes, 16], in the layout of the leaves, slots whose transition has ever been replayed.
      size: i32[] slots filled; of those behind, only the mass is inspected.
      step: i32[] calls so far.
    """
    nodes = replayed.shape[0]
    window = -(-nodes // WINDOWS)
    count = -(-nodes // window)
    start = (step % count) * window
    # The last window may reach beyond the end; the slice then starts earlier, at nodes that were seen before.
    masses, known = (jax.lax.dynamic_slice_in_dim(of, start, window) for of in (tree.levels[-1], replayed))
    node = jnp.minimum(start, nodes - window) + jnp.arange(window)
    slot = node[:, None] * FAN_OUT + jnp.arange(FAN_OUT)[None, :]
    unknown = ~known & (slot >= start * FAN_OUT) & (slot < size)
    maxima = jnp.maximum(scan.maxima, xla.pair(jnp.zeros(()), jnp.max(masses)))
    unseen = scan.unseen + xla.pair(jnp.int32(0), jnp.sum(unknown, dtype=jnp.int32))
    ends = step % count == count - 1
    return PriorityScan(*(jnp.where(ends, xla.pair(of[1], jnp.zeros((), of.dtype)), of) for of in (maxima, unseen)))
