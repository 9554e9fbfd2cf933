"""Flows with random parameters, some inputs, and all that the identities of a bijection speak of."""

from typing import Any, NamedTuple

import jax
import numpy as np

from lsp.types import Flow
from tests.support.builders import random_params

ROWS = 32


class Case(NamedTuple):
    """A flow with random parameters, some inputs, and what it makes of them."""

    flow: Flow
    params: Any
    latent: np.ndarray
    observation: np.ndarray
    action: np.ndarray
    log_det: np.ndarray
    latent_again: np.ndarray
    inverse_log_det: np.ndarray
    jacobian: np.ndarray


def make_case(flow: Flow, observation_dim: int, seed: int, x64: bool) -> Case:
    """Evaluate the flow forward and back, and differentiate it, in one compiled function."""
    rng = np.random.default_rng(seed)
    params = random_params(flow.init, rng)
    latent, observation = rng.normal(size=(ROWS, flow.action_dim)), rng.normal(size=(ROWS, observation_dim))

    def forward(latent: jax.Array, observation: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        action, log_det = flow.forward_and_log_det(params, latent, observation)
        return action, (action, log_det, *flow.inverse_and_log_det(params, action, observation))

    with jax.enable_x64(x64):
        jacobian, results = jax.jit(jax.vmap(jax.jacfwd(forward, has_aux=True)))(latent, observation)
    return Case(flow, params, latent, observation, *map(np.asarray, results), np.asarray(jacobian))


def round_trip_error(c: Case) -> float:
    """Largest |f^-1(f(h)) - h| in units of 1 + |h|."""
    return np.max(np.abs(c.latent_again - c.latent) / (1 + np.linalg.norm(c.latent, axis=-1, keepdims=True)))


def log_det_error(c: Case) -> float:
    """Largest difference from the Jacobian's own, in nats."""
    sign, expected = np.linalg.slogdet(c.jacobian.astype(np.float64))
    assert np.all(sign == 1)
    assert np.std(expected) > 0.01
    return np.max(np.abs(c.log_det - expected))
