"""Scalar critics: each predicts the expected soft return."""

import math
from functools import partial

import jax.numpy as jnp

from lsp import losses
from lsp.agents.critics.perceptrons import make_perceptrons
from lsp.agents.critics.protocol import Critics, Fit, Head, State
from lsp.config import CriticConfig, StageConfig
from lsp.types import Array


def make(config: StageConfig) -> Critics:
    """Scalar critics, N = 1 output each, as a configuration asks for them."""
    head = Head(
        values=lambda outputs: outputs[..., 0],
        target=partial(_target, config.critic),
        loss=partial(_loss, config.critic),
        value_loss=partial(_value_loss, config),
    )
    return Critics(head, *make_perceptrons(config.critic, num_outputs=1))


def _target(config: CriticConfig, outputs: Array, reward: Array, discount: Array, entropy_cost: Array) -> Array:
    target = losses.soft_q_target(outputs[..., 0], reward, discount, entropy_cost, config.target)
    if (config.target_min, config.target_max) == (-math.inf, math.inf):
        return target
    return jnp.clip(target, config.target_min, config.target_max)


def _loss(config: CriticConfig, state: State, outputs: Array, target: Array, weights: Array) -> Fit:
    loss, td_errors = losses.critic_loss(outputs[..., 0], target, weights, config.loss, config.huber_delta)
    errors = jnp.abs(td_errors)
    # LAP's least priority is 1 where Huber's threshold is 1: with another one, errors count in units of it.
    priorities = jnp.mean(errors, axis=0) / (config.huber_delta if config.loss == "huber" else 1.0)
    returns = {"target": jnp.mean(target), "td_error": jnp.mean(errors)}
    return Fit(loss, priorities, state, metrics={}, returns=returns)


def _value_loss(config: StageConfig, value: Array, outputs: Array, entropy_cost: Array, weights: Array) -> Array:
    q = losses.join(outputs[..., 0], config.policy.q)
    return losses.value_loss(value[..., 0], q, entropy_cost, weights)
