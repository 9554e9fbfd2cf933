"""What the critics' outputs mean: scalar values, or laws of the return on fixed atoms.

A `Head` is all that the agent's update knows of it. Targets are opaque to everyone else.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient

from lsp import categorical, losses
from lsp.config import Config, CriticConfig
from lsp.types import Array

Target = Any  # what `Head.target` gives to `Head.loss`
Metrics = dict[str, Array]
INITIAL_DEPTH = 10.0


class Head(NamedTuple):
    """How to read, bootstrap and fit the critics' outputs; K critics, B rows, N outputs each."""

    num_outputs: int
    initial_output: tuple[float, ...] | None  # of a new network, whatever its input; None: as the network's layers fall
    output_scale: float  # outputs are this times the networks' last layers
    values: Callable[[Array], Array]  # outputs [K, B, N] -> expected soft return [K, B]
    target: Callable[[Array, Array, Array, Array], Target]  # next outputs [K, B, N], reward, discount, entropy cost [B]
    loss: Callable[[Array, Target, Array], tuple[Array, Array, Metrics]]  # outputs, target, weights -> loss, priorities
    value_loss: Callable[[Array, Array, Array, Array], Array]  # outputs of V [B, N] and Q [K, B, N], cost, weights


def make_head(config: Config) -> Head:
    """The head that a configuration asks for."""
    if config.critic.kind == "scalar":
        return Head(
            num_outputs=1,
            initial_output=None,
            output_scale=1.0,
            values=lambda outputs: outputs[..., 0],
            target=partial(_scalar_target, config.critic),
            loss=partial(_scalar_loss, config.critic),
            value_loss=partial(_scalar_value_loss, config),
        )
    with jax.ensure_compile_time_eval():  # the start of a grown layer is traced, and this with it
        support = make_support(config.critic)
    as_written = config.critic.law == "as_written"
    return Head(
        num_outputs=config.critic.num_atoms,
        initial_output=None if as_written else _near_zero(support),
        output_scale=config.critic.logit_scale,
        values=lambda outputs: categorical.mean(jax.nn.softmax(outputs), support),
        target=partial(_simplex_target if as_written else _law_target, config.critic, support),
        loss=partial(_simplex_loss if as_written else _law_loss, config, support),
        value_loss=partial(_simplex_value_loss if as_written else _law_value_loss, config, support),
    )


def make_support(config: CriticConfig) -> Array:
    """The atoms of categorical critics, f32[N]."""
    make = categorical.make_symexp_support if config.support == "symexp" else categorical.make_support
    return make(config.v_min, config.v_max, config.num_atoms)


def _near_zero(support: Array) -> tuple[float, ...]:
    """Logits of a law around zero, falling by 1 an atom to -10: a mean near 0, and no atom out of reach."""
    center = int(np.argmin(np.abs(np.asarray(support))))
    return tuple(-min(abs(i - center), INITIAL_DEPTH) for i in range(support.size))


def _scalar_target(config: CriticConfig, outputs: Array, reward: Array, discount: Array, entropy_cost: Array) -> Array:
    target = losses.soft_q_target(outputs[..., 0], reward, discount, entropy_cost, config.target)
    if (config.target_min, config.target_max) == (-math.inf, math.inf):
        return target
    return jnp.clip(target, config.target_min, config.target_max)


def _scalar_loss(config: CriticConfig, outputs: Array, target: Array, weights: Array) -> tuple[Array, Array, Metrics]:
    loss, td_errors = losses.critic_loss(outputs[..., 0], target, weights, config.loss)
    errors = jnp.abs(td_errors)
    return loss, jnp.mean(errors, axis=0), {"target": jnp.mean(target), "td_error": jnp.mean(errors)}


def _scalar_value_loss(config: Config, value: Array, outputs: Array, entropy_cost: Array, weights: Array) -> Array:
    q = losses.join(outputs[..., 0], config.policy.q)
    return losses.value_loss(value[..., 0], q, entropy_cost, weights)


class LawTarget(NamedTuple):
    """A target of categorical critics."""

    probs: Array  # f32[B, N], or [K, B, N] where critics are independent
    clipped: Array  # f32[B] or [K, B] probability that was outside the support


def _law_target(
    config: CriticConfig, support: Array, outputs: Array, reward: Array, discount: Array, entropy_cost: Array
) -> LawTarget:
    probs = categorical.join(jax.nn.softmax(outputs), support, config.target)
    atoms = categorical.soft_target_atoms(support, reward, discount, entropy_cost)
    atoms = jnp.broadcast_to(atoms, probs.shape)
    law = _on_support(config, support, atoms, probs)
    return stop_gradient(LawTarget(law, categorical.clip_rate(atoms, probs, support)))


def _on_support(config: CriticConfig, support: Array, atoms: Array, probs: Array) -> Array:
    """The law to fit, [..., N], of `probs` on `atoms` [..., N]."""
    if config.law == "hl_gauss":
        return categorical.hl_gauss(jnp.sum(probs * atoms, axis=-1), support)
    return categorical.project(atoms, probs, support)


def _law_loss(
    config: Config, support: Array, outputs: Array, target: LawTarget, weights: Array
) -> tuple[Array, Array, Metrics]:
    law, coupled = target.probs, target.probs.ndim < outputs.ndim
    cross_entropy = categorical.cross_entropy(jnp.broadcast_to(law, outputs.shape), outputs)
    loss = jnp.sum(jnp.mean(weights[None] * cross_entropy, axis=-1))
    probs = jax.nn.softmax(outputs)
    q, y, floor = categorical.mean(probs, support), categorical.mean(law, support), categorical.entropy(law)
    if coupled:
        y, floor = y[None], floor[None]
    divergence, errors = cross_entropy - floor, jnp.abs(q - y)
    variance = categorical.mean(probs, support**2) - q**2
    metrics = {
        "target": jnp.mean(y),
        "td_error": jnp.mean(errors),
        "law_kl": jnp.mean(divergence),
        "law_std": jnp.mean(jnp.sqrt(jnp.maximum(variance, 0.0))),
        "edge_mass": jnp.mean(categorical.edge_mass(probs)),
        "clip_rate": jnp.mean(target.clipped),
    }
    errors = jnp.maximum(divergence, 0.0) if config.replay.priority == "kl" else errors
    return loss, jnp.mean(errors, axis=0), metrics


def _law_value_loss(
    config: Config, support: Array, value: Array, outputs: Array, entropy_cost: Array, weights: Array
) -> Array:
    probs, cost = _joined(config, support, outputs), stop_gradient(entropy_cost)
    atoms = categorical.soft_target_atoms(support, jnp.zeros_like(cost), jnp.ones_like(cost), cost)
    law = _on_support(config.critic, support, atoms, probs)
    return jnp.mean(weights * categorical.cross_entropy(law, value))


def _joined(config: Config, support: Array, outputs: Array) -> Array:
    return categorical.join(jax.nn.softmax(stop_gradient(outputs)), support, config.policy.q)


# The study's Equations 3.1 and 3.2, read literally: laws are vectors of probabilities, to which a reward is added and
# which are subtracted and squared. The best approximation of r + gamma * q by a law does not depend on r at all, and
# repeating it ends at the uniform law for every state and action: nothing is learned. Kept as a control.


def _simplex_target(
    config: CriticConfig, support: Array, outputs: Array, reward: Array, discount: Array, entropy_cost: Array
) -> LawTarget:
    probs = categorical.join(jax.nn.softmax(outputs), support, config.target)
    vector = reward[..., None] + discount[..., None] * (probs - entropy_cost[..., None])
    return stop_gradient(LawTarget(vector, jnp.zeros_like(reward)))


def _simplex_loss(
    config: Config, support: Array, outputs: Array, target: LawTarget, weights: Array
) -> tuple[Array, Array, Metrics]:
    probs = jax.nn.softmax(outputs)
    errors = jnp.sum((probs - target.probs[None]) ** 2, axis=-1) / 2
    metrics = {
        "target": jnp.mean(target.probs),
        "td_error": jnp.mean(errors),
        "law_entropy": -jnp.mean(jnp.sum(probs * jax.nn.log_softmax(outputs), axis=-1)),
    }
    return jnp.sum(jnp.mean(weights[None] * errors, axis=-1)), jnp.mean(errors, axis=0), metrics


def _simplex_value_loss(
    config: Config, support: Array, value: Array, outputs: Array, entropy_cost: Array, weights: Array
) -> Array:
    target = stop_gradient(_joined(config, support, outputs) - entropy_cost[..., None])
    return jnp.mean(weights * jnp.sum((jax.nn.softmax(value) - target) ** 2, axis=-1) / 2)
