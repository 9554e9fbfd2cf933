"""Densities of latents and squashed actions: mass one, and a squash exact far into its tails."""

import math

import jax
import numpy as np
import pytest

from lsp import flows
from lsp.flows import make_real_nvp
from tests.support.builders import FLOWS, random_params

ROWS = 32


def test_sample_and_log_prob_agree_with_the_inverse(key: jax.Array) -> None:
    rng = np.random.default_rng(3)
    flow = make_real_nvp(4, 3, **FLOWS["modern"])
    params, observation = random_params(flow.init, rng), rng.normal(size=(ROWS, 4)).astype(np.float32)

    @jax.jit
    def both(key: jax.Array) -> tuple[jax.Array, ...]:
        action, log_prob = flows.sample_and_log_prob(flow, params, observation, key)
        latent, log_det = flow.inverse_and_log_det(params, action, observation)
        return action, log_prob, flows.normal_log_prob(latent) + log_det

    action, log_prob, expected = both(key)
    assert action.shape == (ROWS, 3)
    np.testing.assert_allclose(log_prob, expected, atol=1e-4)
    assert np.any(both(jax.random.fold_in(key, 1))[0] != action)


def test_normal_log_prob() -> None:
    at_zero = -math.log(2 * math.pi)
    x = np.float32([[0.0, 0.0], [1.0, -2.0]])
    np.testing.assert_allclose(flows.normal_log_prob(x), [at_zero, at_zero - 2.5], rtol=1e-6)


@pytest.mark.usefixtures("x64")
def test_tanh_log_det_is_exact() -> None:
    """Against log(1 - tanh^2) = -2 log cosh where float64 still carries it, and log 4 - 2|u| where it does not."""
    u = np.linspace(-300.0, 300.0, 2001)
    expected = np.where(np.abs(u) > 20, math.log(4) - 2 * np.abs(u), -2 * np.log(np.cosh(np.clip(u, -20, 20))))
    np.testing.assert_allclose(flows.tanh_log_det(u[:, None]), expected, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(flows.tanh_log_det(u[None, :5]), [expected[:5].sum()], rtol=1e-14)


@pytest.mark.parametrize("magnitude", [0.0, 1.0, 9.0, 20.0, 100.0])
def test_tanh_log_det_is_finite_with_its_gradient(magnitude: float) -> None:
    u = np.float32([-magnitude, magnitude])
    value, gradient = jax.value_and_grad(flows.tanh_log_det)(u)
    np.testing.assert_allclose(value, -4 * (magnitude - math.log(2) + np.log1p(np.exp(-2 * magnitude))), rtol=1e-6)
    np.testing.assert_allclose(gradient, -2 * np.tanh(u), atol=1e-6)


@pytest.mark.usefixtures("x64")
def test_approximate_log_det_is_the_study_s() -> None:
    u = np.array([[-1.0, 0.5, 2.0], [9.0, -30.0, 0.0]])
    expected = [np.sum([math.log(1 - math.tanh(x) ** 2 + 1e-6) for x in row]) for row in u]
    np.testing.assert_allclose(flows.approximate_tanh_log_det(u), expected, rtol=1e-9)
    np.testing.assert_allclose(flows.approximate_tanh_log_det(np.array([40.0, -40.0])), 2 * math.log(1e-6), rtol=1e-9)
