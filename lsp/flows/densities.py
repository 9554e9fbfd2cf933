"""Log-densities of latents and of squashed actions, and sampling from a flow.

A flow is a bijection between a latent h ~ N(0, I) and an action, for each observation s. Densities follow from the
change of variables, log p(u|s) = log N(h; 0, I) - log|det du/dh|.
"""

import math

import jax
import jax.numpy as jnp

from lsp.types import Array, Flow, Key, Params


def normal_log_prob(x: Array) -> Array:
    """log N(x; 0, I) in nats, [..., A] -> [...]."""
    return -0.5 * jnp.sum(x**2, axis=-1) - 0.5 * x.shape[-1] * math.log(2 * math.pi)


def tanh_log_det(u: Array) -> Array:
    """log|det| of the elementwise tanh at u, [..., A] -> [...], in nats.

        sum_i log(1 - tanh(u_i)^2) = sum_i 2 (log 2 - u_i - softplus(-2 u_i))

    Numerics: the right-hand side is exact for any finite u, where the left one underflows beyond |u| of about 9.
    """
    return jnp.sum(2.0 * (math.log(2.0) - u - jax.nn.softplus(-2.0 * u)), axis=-1)


def approximate_tanh_log_det(u: Array) -> Array:
    """The study's sum_i log(1 - tanh(u_i)^2 + 1e-6), [..., A] -> [...]: never below -13.8 a dimension."""
    return jnp.sum(jnp.log(1.0 - jnp.tanh(u) ** 2 + 1e-6), axis=-1)


def sample_and_log_prob(flow: Flow, params: Params, observation: Array, key: Key) -> tuple[Array, Array]:
    """Draw an action u = f(h; s), h ~ N(0, I), with its log-density before any squash.

    Args:
      flow: the bijection.
      params: its parameters.
      observation: [..., S].
      key: consumed.

    Returns:
      action [..., A] and log p(u|s) [...] in nats. Gradient flows through both (pathwise).
    """
    latent = jax.random.normal(key, (*observation.shape[:-1], flow.action_dim))
    action, log_det = flow.forward_and_log_det(params, latent, observation)
    return action, normal_log_prob(latent) - log_det
