"""Flat parameters: nothing is lost or moved by flattening, and Adam over the vector is Adam over the leaves."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lsp.agents import learner

TREE = {
    "policy": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.float32([7, 8])},
    "critic": [np.float32([[9]]), np.float32([10, 11])],
    "log_alpha": np.float32(-1.0),
}
NAMES = sorted(TREE)


def init(key: jax.Array) -> dict[str, Any]:
    return jax.tree.map(jnp.asarray, TREE) | {"log_alpha": jnp.float32(-1.0) + 0 * jax.random.uniform(key)}


FLAT = learner.make_flat_params(init)


def test_unravel_inverts_init(key: jax.Array) -> None:
    vector = FLAT.init(key)
    assert vector.shape == (sum(FLAT.sizes.values()),) == (12,)
    jax.tree.map(np.testing.assert_array_equal, FLAT.unravel(vector), TREE)


@pytest.mark.parametrize("name", NAMES)
def test_segment_is_the_named_subtree(name: str, key: jax.Array) -> None:
    leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(TREE[name])]
    np.testing.assert_array_equal(learner.segment(FLAT, FLAT.init(key), name), np.concatenate(leaves))


def test_segments_in_order_make_the_vector(key: jax.Array) -> None:
    vector = FLAT.init(key)
    parts = [learner.segment(FLAT, vector, name) for name in FLAT.sizes]
    np.testing.assert_array_equal(np.concatenate(parts), vector)
    with pytest.raises(KeyError, match="value"):
        learner.segment(FLAT, vector, "value")


def test_adam_over_the_vector_is_adam_with_its_own_rate_for_each_name(key: jax.Array, rng: np.random.Generator) -> None:
    rates = {"policy": 1e-2, "critic": 3e-3, "log_alpha": 0.0}
    optimizer = learner.make_adam(FLAT, rates)
    vector, per_name = FLAT.init(key), init(key)
    state = optimizer.init(vector)
    states = {name: optax.adam(rate).init(per_name[name]) for name, rate in rates.items()}
    for _ in range(3):
        gradient = rng.normal(size=vector.shape).astype(np.float32)
        updates, state = optimizer.update(gradient, state)
        vector = optax.apply_updates(vector, updates)
        for name, rate in rates.items():
            updates, states[name] = optax.adam(rate).update(FLAT.unravel(gradient)[name], states[name])
            per_name[name] = optax.apply_updates(per_name[name], updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), FLAT.unravel(vector), per_name)
    assert per_name["log_alpha"] == TREE["log_alpha"]


def test_a_reinitialised_network_has_an_adam_of_its_own(key: jax.Array, rng: np.random.Generator) -> None:
    """And the others' continues as if nothing had happened."""
    rates = {"policy": 1e-2, "critic": 3e-3, "log_alpha": 3e-3}
    plain, grown = learner.make_adam(FLAT, rates), learner.make_adam(FLAT, rates, ["policy"])
    vector = FLAT.init(key)
    gradients = rng.normal(size=(30, *vector.shape)).astype(np.float32)
    whole, late = plain.init(vector), optax.adam(rates["policy"])
    for gradient in gradients[:20]:
        _, whole = plain.update(gradient, whole)
    state = learner.grow_optimizer(FLAT, whole, grown.init(vector), ["policy"])
    fresh = late.init(learner.segment(FLAT, vector, "policy"))
    for gradient in gradients[20:]:
        expected, whole = plain.update(gradient, whole)
        updates, state = grown.update(gradient, state)
        expected_of_new, fresh = late.update(learner.segment(FLAT, gradient, "policy"), fresh)
        np.testing.assert_allclose(learner.segment(FLAT, updates, "policy"), expected_of_new, rtol=1e-4)
        for name in ("critic", "log_alpha"):
            np.testing.assert_array_equal(*(learner.segment(FLAT, each, name) for each in (updates, expected)))


@pytest.mark.parametrize(("tau", "expected"), [(0.0, [1.0, 2.0]), (1.0, [3.0, -2.0]), (0.25, [1.5, 1.0])])
def test_polyak(tau: float, expected: list[float]) -> None:
    np.testing.assert_array_equal(learner.polyak(np.float32([1, 2]), np.float32([3, -2]), tau), np.float32(expected))
