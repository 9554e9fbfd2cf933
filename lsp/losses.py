"""Soft targets and losses, as functions of arrays: no network, no parameters, no key.

Throughout, `entropy_cost` is alpha * (log pi(a|s) - log prior(a)) at the *same* action whose value is used, in scaled
reward; a uniform prior counts as log prior = 0. Haarnoja et al. (2018), arXiv 1801.01290 and 1812.05905.

Shapes are asserted while tracing: [B, 1] against [B] would otherwise broadcast to [B, B] and still average to a number.
"""

from functools import partial

import chex
import jax.numpy as jnp
import optax
from jax.lax import stop_gradient

from lsp.types import Array


def join(q: Array, rule: str) -> Array:
    """One value from an ensemble's, [K, ...] -> [...]: `min`, `mean`, or `first` (member 0)."""
    if rule == "min":
        return jnp.min(q, axis=0)
    if rule == "mean":
        return jnp.mean(q, axis=0)
    if rule == "first":
        return q[0]
    raise ValueError(f"join: unknown rule {rule!r}; choose min, mean or first")


def soft_q_target(next_q: Array, reward: Array, discount: Array, entropy_cost: Array, rule: str = "min") -> Array:
    """Soft Bellman target of Q.

        y = r + d * (join_k Q_k(s', a') - entropy_cost(a'|s'))

    Args:
      next_q: [K, ...] target critics at (s', a'), a' ~ pi.
      reward: [...] scaled; n-step: the discounted sum.
      discount: [...] gamma^n, 0 where the task terminated (the entropy term is dropped with the value).
      entropy_cost: [...] at a'.
      rule: how critics are joined; `min` is clipped double Q.

    Returns:
      [...] target. Gradient: none.
    Source: Haarnoja et al. (2018b), arXiv 1812.05905, Eq. 5 and 6, with the prior of arXiv 1804.02808 added.
    """
    value = join(next_q, rule)
    chex.assert_equal_shape([value, reward, discount, entropy_cost])
    return stop_gradient(reward + discount * (value - entropy_cost))


def critic_loss(
    q: Array, target: Array, weights: Array, kind: str = "mse", huber_delta: float = 1.0
) -> tuple[Array, Array]:
    """Weighted regression of every critic on the target.

        sum_k mean_b w_b * rho(q_kb - y_b),     rho(x) = x^2/2, or Huber's: from |x| = delta on, delta (|x| - delta/2)

    Args:
      q: [K, B].
      target: [B]; no gradient flows to it.
      weights: [B] importance weights.
      kind: "mse" or "huber".
      huber_delta: delta, in scaled reward.

    Returns:
      loss [] and TD errors q - y [K, B].
    """
    chex.assert_equal_shape([q[0], target, weights])
    td_errors = q - stop_gradient(target)[None]
    huber = partial(optax.huber_loss, delta=huber_delta)
    rho = {"mse": optax.l2_loss, "huber": huber}[kind](td_errors)
    return jnp.sum(jnp.mean(weights[None] * rho, axis=-1)), td_errors


def value_loss(value: Array, q: Array, entropy_cost: Array, weights: Array) -> Array:
    """Regression of V on the soft value of one sampled action.

        mean_b w_b * (V_b - sg(Q_b - entropy_cost_b))^2 / 2

    Args:
      value: [B].
      q: [B] joined critics at a ~ pi(.|s).
      entropy_cost: [B] at that action.
      weights: [B].

    Returns:
      loss []. Source: Haarnoja et al. (2018a), arXiv 1801.01290, Eq. 5, with the prior added.
    """
    chex.assert_equal_shape([value, q, entropy_cost, weights])
    return jnp.mean(weights * optax.l2_loss(value, stop_gradient(q - entropy_cost)))


def policy_loss(q: Array, entropy_cost: Array, weights: Array) -> Array:
    """Pathwise policy loss, mean_b w_b * (entropy_cost_b - Q_b); gradient flows through both to the action.

    Args:
      q: [B] joined critics at a ~ pi(.|s), differentiable in a.
      entropy_cost: [B] at that action, differentiable.
      weights: [B].

    Returns:
      loss []. Source: arXiv 1812.05905, Eq. 9, with the prior added.
    """
    chex.assert_equal_shape([q, entropy_cost, weights])
    return jnp.mean(weights * (entropy_cost - q))


def likelihood_ratio_policy_loss(log_prob: Array, q: Array, value: Array, entropy_cost: Array, weights: Array) -> Array:
    """Score-function policy loss with V as baseline.

        mean_b w_b * log pi_b * sg(entropy_cost_b - Q_b + V_b)

    Args:
      log_prob: [B] of a *fixed* action, differentiable in the parameters.
      q: [B] joined critics at that action.
      value: [B] baseline.
      entropy_cost: [B].
      weights: [B].

    Returns:
      loss []. Source: SAC-LSP's released code; Eq. 2.27 of the study prints the opposite sign of V.
    """
    chex.assert_equal_shape([log_prob, q, value, entropy_cost, weights])
    return jnp.mean(weights * log_prob * stop_gradient(entropy_cost - q + value))


def temperature_loss(log_alpha: Array, log_prob: Array, target_entropy: float) -> Array:
    """Loss whose gradient raises alpha while the entropy is below its target.

        -log_alpha * mean_b sg(log pi_b + target_entropy)

    Args:
      log_alpha: [].
      log_prob: [B] of the action in [-1, 1], nats.
      target_entropy: nats.

    Returns:
      loss []. Source: arXiv 1812.05905, Eq. 18. Differs: the factor is log alpha, not alpha, as in common practice.
    """
    return -log_alpha * stop_gradient(jnp.mean(log_prob) + target_entropy)
