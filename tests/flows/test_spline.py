"""Spline flows: bijections of all numbers with the right Jacobians, smooth at their ends, the identity beyond them."""

import dataclasses
import math
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp import flows
from lsp.config import FlowConfig
from lsp.flows import spline
from lsp.types import Flow
from tests.support import reference
from tests.support.builders import random_params
from tests.support.flows import ROWS, Case, log_det_error, make_case, round_trip_error

OBSERVATION_DIM, BOUND = 4, 2.0  # so near that some latents lie beyond it
CONFIG = FlowConfig(
    kind="spline", hidden_sizes=(8,), embedding_sizes=(8, 4), zero_init=False, num_bins=5, tail_bound=BOUND
)
CONFIGS = {
    "shared": CONFIG,
    "separate": dataclasses.replace(CONFIG, separate_nets=True, activation="tanh", num_bins=2),
    "free": dataclasses.replace(CONFIG, max_log_scale=math.inf, num_couplings=3),
}


def make(config: FlowConfig = CONFIG, action_dim: int = 3) -> Flow:
    return spline.make(config, OBSERVATION_DIM, action_dim)


@lru_cache
def case(action_dim: int, kind: str = "shared", x64: bool = True) -> Case:
    """Compile once for all tests that ask for the same flow."""
    return make_case(make(CONFIGS[kind], action_dim), OBSERVATION_DIM, seed=action_dim, x64=x64)


KINDS = pytest.mark.parametrize("kind", CONFIGS)
ACTION_DIMS = pytest.mark.parametrize("action_dim", [1, 2, 3, 8])


@KINDS
@ACTION_DIMS
def test_exact_in_double_precision(action_dim: int, kind: str) -> None:
    c = case(action_dim, kind)
    assert np.any(np.abs(c.latent) > BOUND)
    assert round_trip_error(c) < 1e-10
    assert log_det_error(c) < 1e-9
    np.testing.assert_allclose(c.inverse_log_det, -c.log_det, rtol=0, atol=1e-10)


@pytest.mark.parametrize("action_dim", [1, 3])
def test_exact_enough_in_single_precision(action_dim: int) -> None:
    c = case(action_dim, x64=False)
    assert c.action.dtype == np.float32
    assert round_trip_error(c) < 1e-4
    assert log_det_error(c) < 1e-3
    np.testing.assert_allclose(c.inverse_log_det, -c.log_det, rtol=0, atol=1e-3)


@KINDS
@ACTION_DIMS
def test_equals_the_plain_loop(action_dim: int, kind: str) -> None:
    c, config = case(action_dim, kind), CONFIGS[kind]
    names = ("num_couplings", "activation", "max_log_scale", "num_bins", "tail_bound")
    for i in range(4):
        action, log_det = reference.spline_forward(
            c.params, c.latent[i], c.observation[i], **{name: getattr(config, name) for name in names}
        )
        np.testing.assert_allclose(c.action[i], action, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(c.log_det[i], log_det, rtol=1e-9, atol=1e-10)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("action_dim", [1, 3])
def test_starts_as_the_identity(action_dim: int, key: jax.Array) -> None:
    """Within the bound up to rounding, and beyond it."""
    flow = make(dataclasses.replace(CONFIG, zero_init=True), action_dim)
    latent = np.linspace(-7.0, 7.0, 30).reshape(-1, action_dim)
    observation = np.ones((len(latent), OBSERVATION_DIM))
    for direction in (flow.forward_and_log_det, flow.inverse_and_log_det):
        action, log_det = jax.jit(lambda key, go=direction: go(flow.init(key), latent, observation))(key)
        np.testing.assert_allclose(action, latent, rtol=0, atol=1e-6)  # initial parameters are in single precision
        np.testing.assert_allclose(log_det, 0.0, atol=1e-6)


def curve(params: Any, x: np.ndarray, config: FlowConfig = CONFIG) -> tuple[np.ndarray, np.ndarray]:
    """A flow of one dimension at the points x [n], and its log-slope there."""
    flow = make(config, action_dim=1)
    y, log_slope = jax.jit(flow.forward_and_log_det)(params, x[:, None], np.ones((len(x), OBSERVATION_DIM)))
    return np.asarray(y)[:, 0], np.asarray(log_slope)


@pytest.mark.usefixtures("x64")
def test_takes_the_interval_to_itself_and_is_the_identity_beyond_it(rng: np.random.Generator) -> None:
    params = random_params(make(action_dim=1).init, rng, scale=3.0)
    inside = np.linspace(-BOUND, BOUND, 1001)
    y, log_slope = curve(params, inside)
    assert np.all(np.diff(y) > 0)
    np.testing.assert_allclose(y[[0, -1]], [-BOUND, BOUND], rtol=1e-12)
    assert np.max(np.abs(y - inside)) > 0.1
    np.testing.assert_allclose(log_slope[[0, -1]], 0.0, atol=1e-12)
    far = np.array([-1e6, -3.0, -BOUND, BOUND, 3.0, 1e6])
    y, log_slope = curve(params, far)
    np.testing.assert_allclose(y, far, rtol=1e-12)
    np.testing.assert_allclose(log_slope, 0.0, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_its_slope_is_continuous(rng: np.random.Generator) -> None:
    """At knots and at the ends: halving the distance of neighbors halves the largest step of the log-slope."""
    config = dataclasses.replace(CONFIG, num_couplings=1)
    params = random_params(make(config, action_dim=1).init, rng)
    steps = [np.max(np.abs(np.diff(curve(params, np.linspace(-3, 3, n), config)[1]))) for n in (24_001, 48_001)]
    assert 0 < steps[0] < 0.05
    assert steps[1] < 0.6 * steps[0]


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_densities_have_mass_one(rng: np.random.Generator) -> None:
    flow = make(action_dim=1)
    params = random_params(flow.init, rng)
    u = np.linspace(-9.0, 9.0, 40_001)

    @jax.jit
    def density(u: jax.Array) -> jax.Array:
        latent, log_det = flow.inverse_and_log_det(params, u[:, None], jnp.ones((len(u), OBSERVATION_DIM)))
        return jnp.exp(flows.normal_log_prob(latent) + log_det)

    p = np.asarray(density(u))
    assert np.max(np.abs(p - np.exp(-u**2 / 2) / math.sqrt(2 * math.pi))) > 0.1
    np.testing.assert_allclose(np.trapezoid(p, u), 1.0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_finite_whatever_the_network_says(scale: float, rng: np.random.Generator) -> None:
    """Values and gradients, forward and back, at the ends of bins and far beyond them."""
    config = dataclasses.replace(CONFIG, max_log_scale=math.inf if scale == 1.0 else 2.0)
    flow = make(config, action_dim=2)
    params = random_params(flow.init, rng, scale)
    h = np.float32([-1e8, -30, -BOUND, -1, -0.4, 0, 0.4, 1, BOUND, 30, 1e8])
    points = np.stack(np.meshgrid(h, h), axis=-1).reshape(-1, 2)
    s = rng.normal(size=(len(points), OBSERVATION_DIM)).astype(np.float32)
    for direction in (flow.forward_and_log_det, flow.inverse_and_log_det):

        def total(params: Any, h: jax.Array, go: Any = direction) -> tuple[jax.Array, tuple[jax.Array, ...]]:
            values, log_det = go(params, h, s)
            return jnp.sum(jnp.tanh(values)) + jnp.sum(log_det), (values, log_det)

        gradient, values = jax.jit(jax.grad(total, (0, 1), has_aux=True))(params, points)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((gradient, values)))


@pytest.mark.slow
def test_bounded_outputs_bound_the_slope(rng: np.random.Generator) -> None:
    """What the docstring says of m = 2 and 8 bins, with the outputs at their bounds."""
    config = FlowConfig(kind="spline", num_couplings=1, hidden_sizes=(8,), embedding_sizes=(8, 4))
    params = random_params(make(config, action_dim=1).init, rng)
    out = params["coupling_0"]["both_out"]
    x = np.linspace(-4.99, 4.99, 2001, dtype=np.float32)
    for _ in range(20):
        out["bias"] = 1e3 * rng.choice([-1, 1], out["bias"].shape).astype(np.float32)
        _, log_slope = curve(params, x, config)
        assert np.min(log_slope) > -11.3
        assert np.max(log_slope) < 5.8


def test_leading_axes_and_transformations() -> None:
    c = case(3, x64=False)
    forward = jax.jit(c.flow.forward_and_log_det)
    shaped = forward(c.params, c.latent.reshape(2, ROWS // 2, 3), c.observation.reshape(2, ROWS // 2, OBSERVATION_DIM))
    single = jax.jit(jax.vmap(c.flow.forward_and_log_det, in_axes=(None, 0, 0)))(c.params, c.latent, c.observation)
    for by_shape, by_vmap, expected in zip(shaped, single, (c.action, c.log_det), strict=True):
        np.testing.assert_allclose(by_shape.reshape(expected.shape), expected, atol=1e-5)
        np.testing.assert_allclose(by_vmap, expected, atol=1e-5)
