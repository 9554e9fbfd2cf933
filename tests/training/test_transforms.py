"""A function of all seeds is the function of each; the whole dispatches are tested in `test_seed.py`."""

import jax
import numpy as np
import pytest

from lsp.training.transforms import ManySeeds, OneSeed, of_seeds


def test_one_seed_is_plain_jit() -> None:
    transform = of_seeds(1)
    assert isinstance(transform, OneSeed)
    doubled = transform.compile(lambda x, n: x * n, 2, shared=(1,))
    np.testing.assert_array_equal(doubled(np.float32([1, 2]), np.float32(2)), [2, 4])
    assert transform.roots([7]) == jax.random.key(7)
    value = np.ones(3, np.float32)
    assert transform.stack([0], [value]) is value
    (back,) = transform.unstack(value)
    np.testing.assert_array_equal(back, value)
    assert transform.get(value, 0) is transform.own(value, 0) is value
    assert transform.put("old", 0, "new") == "new"


def test_many_seeds_are_mapped_over_devices() -> None:
    """Two devices of two seeds, one place idle; an argument that is shared has no such axes."""
    transform = of_seeds(3)
    assert isinstance(transform, ManySeeds)
    a, b = (np.random.default_rng(seed).normal(size=(2, 2, 4)).astype(np.float32) for seed in (0, 1))
    mapped = transform.compile(lambda x, y, n: x.sum() * y + n, 3, shared=(2,))
    found = mapped(a, b, np.float32(2.0))
    np.testing.assert_allclose(found, a.sum(-1, keepdims=True) * b + 2, rtol=1e-5)
    assert len(found.sharding.device_set) == 2


@pytest.mark.parametrize("index", [0, 1, 2])
def test_one_of_many(index: int) -> None:
    """What is put for one seed is got back, and the others stay as they are."""
    transform = of_seeds(3)
    start = transform.compile(lambda root: {"a": jax.random.normal(root, (2,)), "b": 5}, 1)(transform.roots([3, 1, 4]))
    before = [jax.tree.map(np.array, transform.get(start, i)) for i in range(3)]
    np.testing.assert_allclose(before[1]["a"], jax.random.normal(jax.random.key(1), (2,)), rtol=1e-6)
    after = transform.put(start, index, {"a": np.ones(2, np.float32), "b": np.int32(7)})
    for i in range(3):
        expected = {"a": np.ones(2), "b": 7} if i == index else before[i]
        np.testing.assert_equal(jax.tree.map(np.array, transform.own(after, i)), expected)


def test_stacking_leaves_zeros_for_seeds_that_are_gone() -> None:
    transform = of_seeds(3)
    stacked = transform.stack([0, 2], [np.full(2, 1.0), np.full(2, 3.0)])
    np.testing.assert_array_equal(stacked, [[[1, 1], [0, 0]], [[3, 3], [0, 0]]])
    np.testing.assert_array_equal(transform.unstack(stacked)[2], [3, 3])
