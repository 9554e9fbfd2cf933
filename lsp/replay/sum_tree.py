"""Sum-tree: draw leaf i with probability leaf_i / total, in logarithmic time, inside jit and under vmap.

Each inner node holds 16 children, each child the sum of the node below it; the leaves are the last level. One node is
64 bytes, a cache line, and a million leaves are four levels and 4.5 MB below a root that is summed when it is asked
for. Levels are separate arrays because XLA copies one array that a program first samples from and then writes.

Two rules keep rounding harmless. A parent is recomputed from its children, never moved by a difference, so that
errors do not pile up. The descent enters only children that hold mass, so that a leaf of zero is never drawn, however
sums round.

Source: Schaul et al. (2016), "Prioritized Experience Replay", appendix B.2.1. Differs: 16 children a node instead of 2.
"""

import functools
import operator

import flax.struct
import jax
import jax.numpy as jnp

from lsp import xla
from lsp.types import Array, Key

FAN_OUT = 16
MAX_CAPACITY = 2**31 - FAN_OUT  # padded to whole nodes, every leaf still has an i32 index
MAX_WRITES = 2**24  # `_last_of_each` counts in f32


@flax.struct.dataclass
class SumTree:
    """Non-negative masses and their sums. Slots past the capacity hold zero and take no writes."""

    levels: tuple[Array, ...]  # f32[nodes, 16], the first of 16 nodes or fewer; node n's child c is node 16n + c below
    capacity: int = flax.struct.field(pytree_node=False)


def init(capacity: int) -> SumTree:
    """A tree of `capacity` zero leaves; any capacity, not only powers of 16.

    Raises:
      ValueError: a capacity below 1, or with more leaves than i32 can index.
    """
    if not 1 <= capacity <= MAX_CAPACITY:
        raise ValueError(f"a sum-tree needs a capacity in [1, {MAX_CAPACITY}], got {capacity}")
    return from_leaves(jnp.zeros(operator.index(capacity)))


def from_leaves(leaves: Array) -> SumTree:
    """The tree of leaves f32[capacity], each above zero or zero, to the last bit as if written one by one."""
    capacity, levels = leaves.size, [_nodes(leaves)]
    while levels[0].shape[0] > FAN_OUT:
        levels.insert(0, _nodes(_sums(levels[0])))
    return SumTree(tuple(levels), capacity)


def total(tree: SumTree) -> Array:
    """Sum of all leaves, f32[]. Gradient: none."""
    return jax.lax.stop_gradient(_sums(_root(tree)))


def get_leaves(tree: SumTree, indices: Array) -> Array:
    """The leaves at `indices`, i32[...] -> f32[...]; zero at an index outside [0, capacity). Gradient: none.

    Raises:
      TypeError: indices that are not integers.
    """
    indices = _as_indices(indices)
    node, child = _locate(tree, indices)
    leaves = tree.levels[-1].at[node, child].get(mode="promise_in_bounds")
    return jax.lax.stop_gradient(jnp.where(_inside(tree, indices), leaves, 0.0))


def set_leaves(tree: SumTree, indices: Array, values: Array) -> SumTree:
    """Write leaves, then recompute every node above them.

    An index given more than once keeps its last value, as if the writes came one by one: a ring that wraps around
    within a chunk holds the later row, and a transition drawn twice keeps one fresh priority (the maximum of several
    noisy ones would be biased upward).

    Args:
      tree: the tree.
      indices: i32[n] leaves to write.
      values: f32[n] new masses; negative and subnormal ones count as zero. The sum of all leaves must stay finite.

    Returns:
      The new tree. Writes to an index outside [0, capacity), of an infinity or of NaN are ignored.

    Raises:
      TypeError: indices that are not integers, or values that are not floating-point.
      ValueError: arguments that are not vectors of one length, or longer than 2**24.
    Gradient: none.
    """
    indices, values = _as_indices(indices), jnp.asarray(values)
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise TypeError(f"sum-tree values must be floating-point, got {values.dtype}")
    if indices.ndim != 1 or indices.shape != values.shape or indices.size > MAX_WRITES:
        raise ValueError(
            f"sum-tree indices and values must be vectors of one length, at most {MAX_WRITES}; "
            f"got shapes {indices.shape} and {values.shape}"
        )
    values = jax.lax.stop_gradient(values).astype(jnp.float32)
    # Reads of the same leaves, such as those for importance weights, come first.
    read = xla.true_after_reading(get_leaves(tree, indices))
    accepted = _inside(tree, indices) & jnp.isfinite(values) & read
    values = jnp.where(values >= jnp.finfo(jnp.float32).tiny, values, 0.0)

    *parents, leaves = tree.levels
    node, child = _locate(tree, indices)
    leaves, last = _last_of_each(leaves, node, child, accepted)
    levels = [leaves.at[_where_dropped(leaves, node, last), child].set(values, mode="drop")]
    for parent in reversed(parents):
        # Leaves under one node write one and the same sum, so the order of these writes does not matter.
        sums = _sums(levels[0].at[node].get(mode="promise_in_bounds"))
        node, child = jnp.divmod(node, FAN_OUT)
        summed = xla.true_after_reading(sums)  # so that levels are written one at a time
        levels.insert(0, parent.at[_where_dropped(parent, node, summed), child].set(sums, mode="drop"))
    return SumTree(tuple(levels), tree.capacity)


def find(tree: SumTree, mass: Array) -> Array:
    """The leaf at which the running sum of the leaves passes `mass`: the smallest i with mass < leaf_0 + ... + leaf_i.

    Args:
      tree: the tree.
      mass: f32[...] in [0, total); below (and NaN) gives the first leaf that is not zero, above gives the last.

    Returns:
      i32[...] indices, never of a zero leaf, unless all leaves are zero: then 0.
    Gradient: none.
    Numerics: sums are float32, so an index may be off where `mass` lies within rounding of a leaf's edge. A mass has 24
      bits: leaves below total / 2**24 are drawn only roughly in proportion.
    """
    mass = jax.lax.stop_gradient(jnp.asarray(mass, jnp.float32))
    mass = jnp.where(mass > 0, mass, 0.0)
    node, mass = _descend(_root(tree), mass)
    for level in tree.levels:
        child, mass = _descend(level.at[node].get(mode="promise_in_bounds"), mass)
        node = FAN_OUT * node + child
    return node


def stratified_sample(tree: SumTree, key: Key, num_samples: int) -> Array:
    """Draw leaves in proportion to their mass, with replacement: i32[num_samples], in ascending order.

    The total is cut into `num_samples` equal segments, and one mass is drawn uniformly from each. This lowers the
    variance of a batch and leaves the expected count of every leaf at num_samples * leaf / total.

    An empty tree (total 0) gives index 0 throughout; a caller that may meet one checks `total`.

    Raises:
      ValueError: num_samples below 1.
    """
    if num_samples < 1:
        raise ValueError(f"stratified_sample needs num_samples of at least 1, got {num_samples}")
    return stratified_find(tree, xla.random_bits(key, (num_samples,)))


def stratified_find(tree: SumTree, random_bits: Array) -> Array:
    """`stratified_sample` with random bits u32[n] in place of a key, for a caller that draws more with them."""
    segment = jnp.arange(random_bits.size, dtype=jnp.float32)
    within = (random_bits >> 8).astype(jnp.float32) * 2.0**-24  # [0, 1)
    mass = total(tree) * ((segment + within) / random_bits.size)
    return xla.computed_once(find(tree, mass))


def _root(tree: SumTree) -> Array:
    """Sums of the nodes of the first level, f32[16]."""
    return _nodes(_sums(tree.levels[0]))[0]


def _nodes(children: Array) -> Array:
    """Children f32[n] as nodes, f32[nodes, 16], padded with zeros."""
    return jnp.pad(children, (0, -children.size % FAN_OUT)).reshape(-1, FAN_OUT)


def _as_indices(indices: Array) -> Array:
    indices = jnp.asarray(indices)
    if not jnp.issubdtype(indices.dtype, jnp.integer):
        raise TypeError(f"sum-tree indices must be integers, got {indices.dtype}")
    return indices.astype(jnp.int32)


def _inside(tree: SumTree, indices: Array) -> Array:
    return (indices >= 0) & (indices < tree.capacity)


def _locate(tree: SumTree, indices: Array) -> tuple[Array, Array]:
    """Node and child of leaves; of the nearest leaf for an index outside, so that it can be read from or summed."""
    node, child = jnp.divmod(jnp.clip(indices, 0, tree.capacity - 1), FAN_OUT)
    return node, child


def _where_dropped(level: Array, node: Array, keep: Array) -> Array:
    """`node` where `keep`, elsewhere a node past the end, whose writes mode="drop" discards."""
    return jnp.where(keep, node, level.shape[0])


def _last_of_each(leaves: Array, node: Array, child: Array, accepted: Array) -> tuple[Array, Array]:
    """The leaves, spoilt where written, and which of n writes is the last accepted one of its leaf, bool[n].

    A scatter with repeated indices applies them in no promised order, a scattered minimum in none that matters. So
    write i first claims its leaf with -1 - i, below any mass, and the smallest claim stays. One refused claims nothing.
    """
    claims = jnp.where(accepted, -1.0 - jnp.arange(node.size, dtype=jnp.float32), jnp.nan)
    leaves = leaves.at[_where_dropped(leaves, node, accepted), child].min(claims, mode="drop")
    return leaves, leaves.at[node, child].get(mode="promise_in_bounds") == claims


def _sums(nodes: Array) -> Array:
    """Sums of nodes' children, f32[..., 16] -> f32[...], left to right on every backend (`jnp.sum` may reorder)."""
    return functools.reduce(operator.add, (nodes[..., child] for child in range(FAN_OUT)))


def _descend(nodes: Array, mass: Array) -> tuple[Array, Array]:
    """The child in which `mass` falls and the mass left inside it: f32[..., 16], f32[...] -> i32[...], f32[...].

    It is the last child that holds something and starts at or before `mass`. That skips empty children, and where the
    mass exceeds the sum (by rounding, or at the caller's wish) the last that holds something remains.
    """
    chosen, chosen_start = jnp.zeros(mass.shape, jnp.int32), jnp.zeros_like(mass)
    start = jnp.zeros_like(mass)
    for child in range(FAN_OUT):
        enter = (nodes[..., child] > 0) & (start <= mass)
        chosen, chosen_start = jnp.where(enter, child, chosen), jnp.where(enter, start, chosen_start)
        start = start + nodes[..., child]
    return chosen, mass - chosen_start
