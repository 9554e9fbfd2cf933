"""The sum-tree against naive twins over long histories, and its laws: exact sums, no empty leaf drawn, fair draws."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lsp.replay import sum_tree
from tests.support import reference
from tests.support.hlo import whole_array_copies

MILLION = 2**20
Cycle = Callable[[sum_tree.SumTree, jax.Array], tuple[sum_tree.SumTree, Any]]

set_leaves = jax.jit(sum_tree.set_leaves)
get_leaves = jax.jit(sum_tree.get_leaves)
find = jax.jit(sum_tree.find)
stratified_sample = jax.jit(sum_tree.stratified_sample, static_argnums=2)


def tree_of(leaves: np.ndarray) -> sum_tree.SumTree:
    return set_leaves(sum_tree.init(len(leaves)), np.arange(len(leaves)), np.asarray(leaves, np.float32))


def priorities(rng: np.random.Generator, n: int) -> np.ndarray:
    """Six decades and 20% zeros."""
    return (10 ** rng.uniform(-3, 3, n) * (rng.random(n) > 0.2)).astype(np.float32)


def assert_same_tree(tree: sum_tree.SumTree, leaves: np.ndarray) -> None:
    """Leaves and every sum above them, to the last bit; padding zero. The root above other levels is not stored."""
    root, *below = reference.sum_tree_levels(leaves)
    for level, expected in zip(tree.levels, below or [root], strict=True):
        np.testing.assert_array_equal(level, expected)
    assert sum_tree.total(tree) == functools.reduce(operator.add, root[0])


def writes(rng: np.random.Generator, capacity: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A chunk of a ring that may wrap around, or scattered indices with repeats, some of them or of the values bad."""
    if rng.random() < 0.5:
        return (rng.integers(capacity) + np.arange(n)) % capacity, priorities(rng, n)
    values = priorities(rng, n)
    bad = rng.choice(np.array([np.nan, np.inf, -np.inf, -1.0, 1e-39], np.float32), n)
    return rng.integers(-3, capacity + 3, n), np.where(rng.random(n) < 0.1, bad, values)


@pytest.mark.parametrize("capacity", [1, 3, 16, 17, 256, 1000])
def test_long_history(capacity: int, rng: np.random.Generator) -> None:
    tree, leaves = sum_tree.init(capacity), np.zeros(capacity, np.float32)
    assert_same_tree(tree, leaves)
    for step in range(300):
        indices, values = writes(rng, capacity, 1 if step % 3 == 0 else 33)
        tree, leaves = set_leaves(tree, indices, values), reference.sum_tree_set(leaves, indices, values)
        assert_same_tree(tree, leaves)


def test_a_million_leaves(rng: np.random.Generator) -> None:
    leaves = priorities(rng, MILLION)
    tree = tree_of(leaves)
    for _ in range(10):
        indices, values = writes(rng, MILLION, 128)
        tree, leaves = set_leaves(tree, indices, values), reference.sum_tree_set(leaves, indices, values)
    assert_same_tree(tree, leaves)
    np.testing.assert_allclose(sum_tree.total(tree), leaves.sum(dtype=np.float64), rtol=1e-5)


def test_last_of_repeated_writes_wins() -> None:
    tree = set_leaves(sum_tree.init(5), jnp.array([3, 1, 3, 1, 3]), jnp.array([9.0, 8.0, 7.0, 2.0, 4.0]))
    np.testing.assert_array_equal(get_leaves(tree, np.arange(5)), [0, 2, 0, 4, 0])
    assert sum_tree.total(tree) == 6


def test_reads_outside_are_zero() -> None:
    tree = tree_of(np.ones(17))
    indices = jnp.array([[-17, -1, 0], [16, 17, 2**30]])
    np.testing.assert_array_equal(get_leaves(tree, indices), [[0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize("capacity", [1, 3, 17, 300])
def test_find_is_exact_where_sums_are(capacity: int, rng: np.random.Generator) -> None:
    leaves = rng.integers(0, 3, capacity).astype(np.float32)
    leaves[rng.integers(capacity)] = 5
    masses = np.arange(-1, leaves.sum() + 2, 0.5, dtype=np.float32)
    expected = [reference.sum_tree_find(leaves, float(mass)) for mass in masses]
    np.testing.assert_array_equal(find(tree_of(leaves), masses), expected)


def test_find_at_the_edges_and_beyond(rng: np.random.Generator) -> None:
    for _ in range(30):
        leaves = priorities(rng, 1000) * (rng.random(1000) < 0.3)
        leaves[:300] = leaves[-20:] = 0
        edges = np.cumsum(leaves)
        total = np.float32(sum_tree.total(tree_of(leaves)))
        near = [edges, np.nextafter(edges, np.float32(0)), np.nextafter(edges, np.float32(np.inf)), leaves * 0 + total]
        masses = np.concatenate(near)
        found = np.asarray(find(tree_of(leaves), masses))
        assert (leaves[found] > 0).all()
        after = np.cumsum(leaves, dtype=np.float64)[found]
        assert (after - leaves[found] <= masses + 1e-6 * total).all()
        assert (masses <= after + 1e-6 * total).all()
    first, *_, last = np.flatnonzero(leaves)
    beyond = np.array([-np.inf, -1, np.nan, 0, 2 * total, np.inf] + [0] * (len(masses) - 6), np.float32)
    np.testing.assert_array_equal(find(tree_of(leaves), beyond)[:6], [first, first, first, first, last, last])


def test_frequencies_follow_the_leaves(key: jax.Array, rng: np.random.Generator) -> None:
    leaves = rng.uniform(0.5, 5, 300).astype(np.float32) * (rng.random(300) > 0.2)
    tree = tree_of(leaves)
    draw = jax.jit(jax.vmap(lambda key: sum_tree.stratified_sample(tree, key, 1)[0]))
    counts = np.bincount(draw(jax.random.split(key, 50_000)), minlength=300)
    assert counts[leaves == 0].sum() == 0
    held = leaves > 0
    expected = leaves[held] / leaves.sum(dtype=np.float64) * 50_000
    assert 0.01 < stats.chisquare(counts[held], expected * counts.sum() / expected.sum()).pvalue < 0.99


@pytest.mark.parametrize("num_samples", [1, 7, 128])
def test_one_draw_in_each_segment(num_samples: int, key: jax.Array, rng: np.random.Generator) -> None:
    leaves = priorities(rng, 1000)
    indices = np.asarray(stratified_sample(tree_of(leaves), key, num_samples))
    assert indices.shape == (num_samples,)
    assert indices.dtype == np.int32
    after = np.cumsum(leaves, dtype=np.float64) / leaves.sum(dtype=np.float64) * num_samples
    segment = np.arange(num_samples)
    assert (segment <= after[indices] + 1e-4).all()
    assert (after[indices] - leaves[indices] / leaves.sum() * num_samples <= segment + 1 + 1e-4).all()


def test_draws_differ_within_their_segments(key: jax.Array) -> None:
    tree = tree_of(np.ones(4000))
    draw = jax.jit(jax.vmap(lambda key: sum_tree.stratified_sample(tree, key, 4)))
    place = np.asarray(draw(jax.random.split(key, 2000))) - 1000 * np.arange(4)
    assert stats.kstest((place.ravel() + 0.5) / 1000, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(place.T)[0, 1:]).max() < 0.1


def cycle(tree: sum_tree.SumTree, key: jax.Array) -> tuple[sum_tree.SumTree, tuple[jax.Array, jax.Array]]:
    """Sample, weights that the new priorities do not depend on, write: what makes XLA copy the leaves if it can."""
    sample_key, value_key = jax.random.split(key)
    indices = sum_tree.stratified_sample(tree, sample_key, 128)
    weights = (sum_tree.get_leaves(tree, indices) / sum_tree.total(tree)) ** -0.5
    values = jax.random.uniform(value_key, (128,)) * (jnp.arange(128) % 4 > 0)
    return sum_tree.set_leaves(tree, indices, values), (indices, weights / jnp.max(weights))


def cycles(tree: sum_tree.SumTree, key: jax.Array) -> tuple[sum_tree.SumTree, tuple[jax.Array, jax.Array]]:
    return jax.lax.scan(cycle, tree, jax.random.split(key, 16))


def test_vmap_and_scan_change_nothing(rng: np.random.Generator) -> None:
    all_leaves = [priorities(rng, 1000) for _ in range(3)]
    keys = jax.random.split(jax.random.key(5), 3)
    stacked = jax.tree.map(lambda *levels: jnp.stack(levels), *map(tree_of, all_leaves))
    together, (indices, _) = jax.jit(jax.vmap(cycles))(stacked, keys)
    single = jax.jit(cycle)
    for seed, leaves in enumerate(all_leaves):
        tree = tree_of(leaves)
        for step, key in enumerate(jax.random.split(keys[seed], 16)):
            before = get_leaves(tree, np.arange(1000))
            tree, (alone, _) = single(tree, key)
            np.testing.assert_array_equal(indices[seed, step], alone)
            assert (before[alone] > 0).all()
        np.testing.assert_array_equal(together.levels[-1][seed], tree.levels[-1])
        assert_same_tree(tree, np.asarray(tree.levels[-1]).ravel()[:1000])


@pytest.mark.parametrize("body", [cycle, cycles])
@pytest.mark.parametrize("seeds", [None, 2])
def test_no_copy_of_the_tree(body: Cycle, seeds: int | None) -> None:
    tree = jax.eval_shape(functools.partial(sum_tree.init, MILLION))
    key = jax.eval_shape(lambda: jax.random.key(0))
    if seeds is not None:
        stack = lambda x: jax.ShapeDtypeStruct((seeds, *x.shape), x.dtype)  # noqa: E731
        tree, key, body = jax.tree.map(stack, tree), stack(key), jax.vmap(body)
    large, temporaries = whole_array_copies(body, tree, key, min_elements=50_000)
    assert large == []
    assert temporaries < 250_000


def test_a_copy_would_be_seen() -> None:
    def careless(leaves: jax.Array, indices: jax.Array) -> tuple[jax.Array, jax.Array]:
        return leaves.at[indices].set(1.0), leaves[indices]

    shapes = jax.ShapeDtypeStruct((MILLION,), jnp.float32), jax.ShapeDtypeStruct((128,), jnp.int32)
    large, temporaries = whole_array_copies(careless, *shapes, min_elements=50_000)
    assert large != []
    assert temporaries > 4_000_000


def test_donation_takes(key: jax.Array) -> None:
    tree = tree_of(np.ones(1000))
    after, _ = jax.jit(cycle, donate_argnums=0)(tree, key)
    assert all(level.is_deleted() for level in tree.levels)
    assert not any(level.is_deleted() for level in after.levels)


def test_empty_tree_gives_index_zero(key: jax.Array) -> None:
    tree = sum_tree.init(1000)
    np.testing.assert_array_equal(stratified_sample(tree, key, 4), [0, 0, 0, 0])
    emptied = set_leaves(tree_of(np.ones(1000)), np.arange(1000), np.zeros(1000, np.float32))
    assert sum_tree.total(emptied) == 0


def test_no_gradient() -> None:
    tree, places = tree_of(np.ones(20)), jnp.array([3, 18])

    def written(values: jax.Array) -> jax.Array:
        return jnp.sum(sum_tree.set_leaves(tree, places, values).levels[0])

    def read(tree: sum_tree.SumTree) -> jax.Array:
        return sum_tree.total(tree) + jnp.sum(sum_tree.get_leaves(tree, places))

    assert (jax.jit(jax.grad(written))(jnp.ones(2)) == 0).all()
    assert all((level == 0).all() for level in jax.jit(jax.grad(read))(tree).levels)
    assert jax.jit(jax.grad(lambda mass: find(tree, mass).astype(jnp.float32)))(4.5) == 0


@pytest.mark.parametrize("capacity", [0, -1, 2**31])
def test_impossible_capacity(capacity: int) -> None:
    with pytest.raises(ValueError, match=f"capacity.*{capacity}"):
        sum_tree.init(capacity)


def test_misuse_is_named() -> None:
    tree, one = sum_tree.init(4), jnp.ones(1)
    with pytest.raises(TypeError, match="indices must be integers, got float32"):
        sum_tree.set_leaves(tree, one, one)
    with pytest.raises(TypeError, match="indices must be integers, got float32"):
        sum_tree.get_leaves(tree, one)
    with pytest.raises(TypeError, match="values must be floating-point, got int32"):
        sum_tree.set_leaves(tree, jnp.array([1]), jnp.array([1]))
    for indices, values in [(jnp.array([1, 2]), one), (jnp.array([[1]]), jnp.array([[1.0]])), (jnp.array(1), one[0])]:
        with pytest.raises(ValueError, match=r"one length.*got shapes"):
            sum_tree.set_leaves(tree, indices, values)
    with pytest.raises(ValueError, match="num_samples of at least 1, got 0"):
        sum_tree.stratified_sample(tree, jax.random.key(0), 0)
