"""Flows: bijections with the right Jacobians, densities of mass one, and a squash exact far into its tails."""

import math
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp import flows
from lsp.flows import make_real_nvp
from tests.support import reference
from tests.support.builders import FLOWS, random_params
from tests.support.flows import ROWS, Case, log_det_error, make_case, round_trip_error

OBSERVATION_DIM = 4


@lru_cache
def case(action_dim: int, preset: str = "modern", num_couplings: int = 2, x64: bool = True) -> Case:
    """Compile once for all tests that ask for the same flow."""
    flow = make_real_nvp(OBSERVATION_DIM, action_dim, **FLOWS[preset], num_couplings=num_couplings)
    return make_case(flow, OBSERVATION_DIM, seed=action_dim + 100 * num_couplings, x64=x64)


PRESETS = pytest.mark.parametrize("preset", FLOWS)
ACTION_DIMS = pytest.mark.parametrize("action_dim", [1, 2, 3, 8, 17])


@PRESETS
@ACTION_DIMS
def test_exact_in_double_precision(action_dim: int, preset: str) -> None:
    c = case(action_dim, preset)
    assert round_trip_error(c) < 1e-10
    assert log_det_error(c) < 1e-9
    np.testing.assert_allclose(c.inverse_log_det, -c.log_det, rtol=0, atol=1e-12)


@pytest.mark.parametrize("action_dim", [1, 3, 17])
def test_exact_enough_in_single_precision(action_dim: int) -> None:
    c = case(action_dim, x64=False)
    assert c.action.dtype == np.float32
    assert round_trip_error(c) < 1e-5
    assert log_det_error(c) < 1e-4
    np.testing.assert_allclose(c.inverse_log_det, -c.log_det, rtol=0, atol=1e-5)


@pytest.mark.parametrize("num_couplings", [1, 3, 4, 8])
def test_any_depth(num_couplings: int) -> None:
    c = case(3, num_couplings=num_couplings)
    assert round_trip_error(c) < 1e-10
    assert log_det_error(c) < 1e-9


@PRESETS
@ACTION_DIMS
def test_equals_the_plain_loop(action_dim: int, preset: str) -> None:
    c = case(action_dim, preset)
    for i in range(4):
        action, log_det = reference.real_nvp_forward(
            c.params,
            c.latent[i],
            c.observation[i],
            num_couplings=2,
            max_log_scale=FLOWS[preset].get("max_log_scale", 2.0),
            activation=FLOWS[preset].get("activation", "relu"),
        )
        np.testing.assert_allclose(c.action[i], action, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(c.log_det[i], log_det, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("action_dim", [2, 3, 17])
def test_one_coupling_leaves_the_second_half_alone(action_dim: int) -> None:
    c = case(action_dim, num_couplings=1)
    half = action_dim // 2
    np.testing.assert_array_equal(c.action[:, half:], c.latent[:, half:])
    np.testing.assert_array_equal(c.latent_again[:, half:], c.latent[:, half:])
    assert np.all(c.action[:, :half] != c.latent[:, :half])


@PRESETS
@ACTION_DIMS
def test_two_couplings_transform_every_dimension(action_dim: int, preset: str) -> None:
    c = case(action_dim, preset)
    assert np.all(c.action != c.latent)


@pytest.mark.parametrize("action_dim", [1, 3])
def test_starts_as_the_identity(action_dim: int, key: jax.Array) -> None:
    flow = make_real_nvp(OBSERVATION_DIM, action_dim, hidden_sizes=(4,), embedding_sizes=(4,), num_couplings=3)
    latent, observation = np.float32([[0.3, -2.0, 1.0]])[:, :action_dim], np.ones((1, OBSERVATION_DIM), np.float32)
    action, log_det = jax.jit(lambda key: flow.forward_and_log_det(flow.init(key), latent, observation))(key)
    np.testing.assert_array_equal(action, latent)
    np.testing.assert_array_equal(log_det, [0.0])


def test_log_scale_is_bounded_where_asked() -> None:
    """Ten times the conditioners' outputs: finite under the clamp, overflowing without it."""
    rng = np.random.default_rng(0)
    latent, observation = 3 * rng.normal(size=(256, 8)), 3 * rng.normal(size=(256, OBSERVATION_DIM))
    finite = {}
    for bound in (2.0, math.inf):
        flow = make_real_nvp(OBSERVATION_DIM, 8, **FLOWS["modern"] | {"max_log_scale": bound}, num_couplings=4)
        params = random_params(flow.init, np.random.default_rng(1))
        for i in range(4):
            out = params[f"coupling_{i}"]["both_out"]
            params[f"coupling_{i}"]["both_out"] = jax.tree.map(lambda leaf: 10 * leaf, out)
        forward, inverse = jax.jit(flow.forward_and_log_det), jax.jit(flow.inverse_and_log_det)
        action, log_det = forward(params, latent, observation)
        finite[bound] = bool(np.isfinite(action).all() and np.isfinite(log_det).all())
        if bound == 2.0:
            assert np.all(np.abs(log_det) <= 2.0 * 4 * 4 + 1e-4)  # 4 couplings, each scaling 4 of 8 dimensions
            assert np.isfinite(np.concatenate(inverse(params, latent, observation), axis=None)).all()
    assert finite == {2.0: True, math.inf: False}


def test_rows_are_independent() -> None:
    c = case(3)
    observation, latent = c.observation[:3], c.latent[:3]
    derivatives = jax.jit(jax.jacrev(c.flow.forward_and_log_det, argnums=(1, 2)))(c.params, latent, observation)
    for derivative in jax.tree.leaves(derivatives):
        by_rows = np.moveaxis(np.asarray(derivative), -2, 1)  # [row out, row in, ...]
        assert np.all(by_rows[~np.eye(3, dtype=bool)] == 0)
        assert np.all(np.any(by_rows[np.eye(3, dtype=bool)] != 0, axis=tuple(range(1, by_rows.ndim - 1))))


def test_leading_axes_and_transformations() -> None:
    c = case(3, x64=False)
    forward = jax.jit(c.flow.forward_and_log_det)
    shaped = forward(c.params, c.latent.reshape(2, ROWS // 2, 3), c.observation.reshape(2, ROWS // 2, OBSERVATION_DIM))
    single = jax.jit(jax.vmap(c.flow.forward_and_log_det, in_axes=(None, 0, 0)))(c.params, c.latent, c.observation)
    for by_shape, by_vmap, expected in zip(shaped, single, (c.action, c.log_det), strict=True):
        np.testing.assert_allclose(by_shape.reshape(expected.shape), expected, atol=1e-5)
        np.testing.assert_allclose(by_vmap, expected, atol=1e-5)

    def mean_log_prob(params: Any) -> jax.Array:
        latent, log_det = c.flow.inverse_and_log_det(params, c.action, c.observation)
        return jnp.mean(flows.normal_log_prob(latent) + log_det)

    gradient = jax.jit(jax.grad(mean_log_prob))(c.params)
    assert all(np.isfinite(leaf).all() and np.any(leaf != 0) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_sizes_below_one_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        make_real_nvp(sizes[0], sizes[1], num_couplings=sizes[2])
