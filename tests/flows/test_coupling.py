"""A stack of couplings with a bijector of the test's own: halves alternate, and outputs come per dimension."""

import dataclasses

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp.config import FlowConfig
from lsp.flows import coupling
from lsp.types import Array, Flow
from tests.support.builders import random_params

CONFIG = FlowConfig(hidden_sizes=(4,), embedding_sizes=(4,), zero_init=False)


def make(action_dim: int, num_couplings: int, observation_dim: int = 2) -> Flow:
    """Couplings that add the sum of two outputs a dimension and double the result."""

    def shift(pairs: Array, once: Array) -> distrax.Bijector:
        total = once + pairs.reshape(*once.shape, 2).sum(axis=-1)
        return distrax.ScalarAffine(shift=total, scale=jnp.asarray(2.0))

    config = dataclasses.replace(CONFIG, num_couplings=num_couplings)
    return coupling.make_flow(config, observation_dim, action_dim, {"pairs": 2, "once": 1}, shift)


@pytest.mark.parametrize(
    ("action_dim", "num_couplings", "factors"),
    [(1, 1, [2]), (1, 3, [8]), (3, 1, [2, 1, 1]), (3, 2, [2, 2, 2]), (3, 3, [4, 2, 2]), (4, 1, [2, 2, 1, 1])],
)
def test_halves_alternate(
    action_dim: int, num_couplings: int, factors: list[int], rng: np.random.Generator
) -> None:
    """The log-determinant and each dimension's own derivative say how often it was doubled."""
    flow = make(action_dim, num_couplings)
    params = random_params(flow.init, rng)
    latent, s = rng.normal(size=action_dim).astype(np.float32), rng.normal(size=2).astype(np.float32)
    forward = jax.jit(flow.forward_and_log_det)
    action, log_det = forward(params, latent, s)
    np.testing.assert_allclose(log_det, np.sum(np.log(factors)), rtol=1e-6)
    again, inverse_log_det = jax.jit(flow.inverse_and_log_det)(params, action, s)
    np.testing.assert_allclose(again, latent, atol=1e-5)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-6)
    jacobian = jax.jit(jax.jacfwd(lambda h: flow.forward_and_log_det(params, h, s)[0]))(latent)
    np.testing.assert_allclose(np.linalg.det(jacobian), np.prod(factors), rtol=1e-4)
    assert (action[np.array(factors) == 1] == latent[np.array(factors) == 1]).all()


def test_bounded() -> None:
    x = jnp.asarray([-50.0, -1.0, 0.0, 1e-3, 2.0])
    np.testing.assert_allclose(coupling.bounded(x, 2.0), 2 * np.tanh(np.asarray(x) / 2), rtol=1e-6)
    assert coupling.bounded(x, float("inf")) is x


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_sizes_below_one_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        make(sizes[0], sizes[2], sizes[1])
