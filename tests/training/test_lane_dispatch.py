"""Functions over lanes are the function in each lane; the whole dispatches are tested with `lsp.training.sweep`."""

import jax
import numpy as np

from lsp.training.lane_dispatch import over_lanes, set_lane


def test_over_lanes() -> None:
    """Two devices of three lanes; an argument that is shared has no such axes."""
    devices = jax.local_devices()[:2]
    a, b = (np.random.default_rng(seed).normal(size=(2, 3, 4)).astype(np.float32) for seed in (0, 1))
    mapped = over_lanes(devices, lambda x, y, n: x.sum() * y + n, 3, shared=(2,))
    found = mapped(a, b, np.float32(2.0))
    np.testing.assert_allclose(found, a.sum(-1, keepdims=True) * b + 2, rtol=1e-5)
    assert len(found.sharding.device_set) == 2


def test_set_lane() -> None:
    """Of one device's lanes, and only where it is this device's turn."""
    tree, new = {"a": np.zeros((3, 2)), "b": np.zeros(3, int)}, {"a": np.ones(2), "b": np.int64(7)}
    jitted = jax.jit(set_lane)
    here, elsewhere = (jitted(tree, new, np.int32(1), np.bool_(yes)) for yes in (True, False))
    np.testing.assert_array_equal(here["a"], [[0, 0], [1, 1], [0, 0]])
    np.testing.assert_array_equal(here["b"], [0, 7, 0])
    assert not np.any(elsewhere["a"])
