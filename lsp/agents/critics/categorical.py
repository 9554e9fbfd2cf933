"""Categorical critics: each predicts the distribution of the soft return, as logits on fixed atoms."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient

from lsp import categorical
from lsp.agents.critics import as_written
from lsp.agents.critics.perceptrons import make_perceptrons
from lsp.agents.critics.protocol import Critics, Fit, Head, State
from lsp.config import CriticConfig, StageConfig
from lsp.types import Array

INITIAL_DEPTH = 10.0


class DistributionTarget(NamedTuple):
    """A target of categorical critics."""

    probs: Array  # f32[B, N], or [K, B, N] where critics are independent
    clipped: Array  # f32[B] or [K, B] probability that was outside the support


def make(config: StageConfig) -> Critics:
    """Categorical critics as a configuration asks for them; N atoms."""
    with jax.ensure_compile_time_eval():  # the start of a grown layer is traced, and this with it
        support = make_support(config.critic)
    literal = config.critic.distribution_target == "as_written"
    head = as_written.make_head(config, support) if literal else _make_head(config, support)
    initial = None if literal else _near_zero(support)
    return Critics(head, *make_perceptrons(config.critic, support.size, initial, config.critic.logit_scale))


def _make_head(config: StageConfig, support: Array) -> Head:
    return Head(
        values=lambda outputs: categorical.mean(jax.nn.softmax(outputs), support),
        target=partial(_target, config.critic, support),
        loss=partial(_loss, config, support),
        value_loss=partial(_value_loss, config, support),
        widens=config.critic.support == "adaptive",
    )


def make_support(config: CriticConfig) -> Array:
    """The atoms of categorical critics, f32[N]."""
    make = categorical.make_symexp_support if config.support == "symexp" else categorical.make_support
    return make(config.v_min, config.v_max, config.num_atoms)


def _near_zero(support: Array) -> tuple[float, ...]:
    """Logits of a distribution around zero, falling by 1 an atom to -10: a mean near 0, and no atom out of reach."""
    center = int(np.argmin(np.abs(np.asarray(support))))
    return tuple(-min(abs(i - center), INITIAL_DEPTH) for i in range(support.size))


def _target(
    config: CriticConfig, support: Array, outputs: Array, reward: Array, discount: Array, entropy_cost: Array
) -> DistributionTarget:
    probs = categorical.join(jax.nn.softmax(outputs), support, config.target)
    atoms = categorical.soft_target_atoms(support, reward, discount, entropy_cost)
    atoms = jnp.broadcast_to(atoms, probs.shape)
    target = _on_support(config, support, atoms, probs)
    return stop_gradient(DistributionTarget(target, categorical.clip_rate(atoms, probs, support)))


def _on_support(config: CriticConfig, support: Array, atoms: Array, probs: Array) -> Array:
    """The distribution to fit, [..., N], of `probs` on `atoms` [..., N]."""
    if config.distribution_target == "hl_gauss":
        return categorical.hl_gauss(jnp.sum(probs * atoms, axis=-1), support)
    return categorical.project(atoms, probs, support)


def _loss(
    config: StageConfig, support: Array, state: State, outputs: Array, target: DistributionTarget, weights: Array
) -> Fit:
    wanted, coupled = target.probs, target.probs.ndim < outputs.ndim
    cross_entropy = categorical.cross_entropy(jnp.broadcast_to(wanted, outputs.shape), outputs)
    loss = jnp.sum(jnp.mean(weights[None] * cross_entropy, axis=-1))
    probs = jax.nn.softmax(outputs)
    q, y, floor = categorical.mean(probs, support), categorical.mean(wanted, support), categorical.entropy(wanted)
    if coupled:
        y, floor = y[None], floor[None]
    divergence, errors = cross_entropy - floor, jnp.abs(q - y)
    variance = categorical.mean(probs, support**2) - q**2
    edge_mass = jnp.mean(categorical.edge_mass(probs))
    returns = {
        "target": jnp.mean(y),
        "td_error": jnp.mean(errors),
        "return_std": jnp.mean(jnp.sqrt(jnp.maximum(variance, 0.0))),
    }
    metrics = {"distribution_kl": jnp.mean(divergence), "edge_mass": edge_mass, "clip_rate": jnp.mean(target.clipped)}
    ranked = jnp.maximum(divergence, 0.0) if config.replay.priority == "kl" else errors
    return Fit(loss, jnp.mean(ranked, axis=0), state, metrics, returns, edge_mass)


def _value_loss(
    config: StageConfig, support: Array, value: Array, outputs: Array, entropy_cost: Array, weights: Array
) -> Array:
    probs = categorical.join(jax.nn.softmax(stop_gradient(outputs)), support, config.policy.q)
    cost = stop_gradient(entropy_cost)
    atoms = categorical.soft_target_atoms(support, jnp.zeros_like(cost), jnp.ones_like(cost), cost)
    target = _on_support(config.critic, support, atoms, probs)
    return jnp.mean(weights * categorical.cross_entropy(target, value))
