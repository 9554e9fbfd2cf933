"""The study's categorical critics as written, `--critic.distribution-target=as_written`: a control that learns nothing.

The study's Equations 3.1 and 3.2, read literally: return distributions are vectors of probabilities, to which a reward
is added and which are subtracted and squared. The best approximation of r + gamma * q by a distribution does not depend
on r at all, and repeating it ends at the uniform distribution for every state and action.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from lsp import categorical
from lsp.agents.critics.protocol import Fit, Head, State
from lsp.config import StageConfig
from lsp.types import Array


def make_head(config: StageConfig, support: Array) -> Head:
    """The head of categorical critics on the atoms `support` [N]."""
    return Head(
        values=lambda outputs: categorical.mean(jax.nn.softmax(outputs), support),
        target=partial(_target, config, support),
        loss=_loss,
        value_loss=partial(_value_loss, config, support),
    )


def _target(
    config: StageConfig, support: Array, outputs: Array, reward: Array, discount: Array, entropy_cost: Array
) -> Array:
    probs = categorical.join(jax.nn.softmax(outputs), support, config.critic.target)
    return stop_gradient(reward[..., None] + discount[..., None] * (probs - entropy_cost[..., None]))


def _loss(state: State, outputs: Array, target: Array, weights: Array) -> Fit:
    probs = jax.nn.softmax(outputs)
    errors = jnp.sum((probs - target[None]) ** 2, axis=-1) / 2
    returns = {"target": jnp.mean(target), "td_error": jnp.mean(errors)}
    metrics = {"distribution_entropy": -jnp.mean(jnp.sum(probs * jax.nn.log_softmax(outputs), axis=-1))}
    loss = jnp.sum(jnp.mean(weights[None] * errors, axis=-1))
    return Fit(loss, jnp.mean(errors, axis=0), state, metrics, returns)


def _value_loss(
    config: StageConfig, support: Array, value: Array, outputs: Array, entropy_cost: Array, weights: Array
) -> Array:
    joined = categorical.join(jax.nn.softmax(stop_gradient(outputs)), support, config.policy.q)
    target = stop_gradient(joined - entropy_cost[..., None])
    return jnp.mean(weights * jnp.sum((jax.nn.softmax(value) - target) ** 2, axis=-1) / 2)
