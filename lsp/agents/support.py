"""A support that widens itself: where probability piles up on its edges, a unit of the atoms becomes twice as large.

Rewards and temperature are divided by the scale, and the critics' output layers are moved to the wider atoms, so
that predictions mean the same return before and after. It is part of the update, hence of the state: neither the
cadence of logging nor a resumed run changes when it happens.
"""

from collections.abc import Callable, Mapping
from functools import partial

import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from lsp import categorical, xla
from lsp.agents import learner
from lsp.agents.critics import Head
from lsp.agents.critics.categorical import make_support
from lsp.agents.learner import ActorParams, FlatParams, LearnerState, SupportRange
from lsp.agents.parts import Parts
from lsp.config import StageConfig
from lsp.types import Array

WINDOW = 1_000  # updates
MAX_EDGE_MASS = 1e-3
FACTOR = 2.0


def init(head: Head) -> SupportRange | None:
    """The configured support with no probability seen on its edges; None where it does not widen."""
    return SupportRange(jnp.ones(()), jnp.zeros(())) if head.widens else None


def plain_reward_factor(config: StageConfig, actor: ActorParams) -> Array | float:
    """Scaled reward that a unit of reward is, f32[] or a number."""
    if not config.normalize.rewards:
        return config.reward_scale
    return config.reward_scale / jnp.sqrt(actor.return_stats.variance + 1e-8)


def fit(parts: Parts, state: LearnerState) -> LearnerState:
    """`state` with a support that holds the discounted returns seen, as long as the critics have had no update.

        scale <- the least power of 2 with |mean| + 2 std of them on the atoms

    So the critics need not climb from edge to edge where returns are large. New ones predict 0 at any scale, also those
    that are new again with another layer. Afterwards the support is as it was.
    """
    actor, config = state.actor, parts.config
    if actor.support is None:
        return state
    seen = jnp.abs(actor.return_stats.mean) + 2 * jnp.sqrt(actor.return_stats.variance)
    widths = seen * plain_reward_factor(config, actor) / max(-config.critic.v_min, config.critic.v_max)
    doublings = jnp.ceil(jnp.log2(jnp.maximum(widths, 1.0)))
    untrained = learner.updates_of(state.opt_state, "critic") == 0
    support = actor.support._replace(scale=jnp.where(untrained, FACTOR**doublings, actor.support.scale))
    return state._replace(actor=actor._replace(support=support))


def scale(actor: ActorParams) -> Array | float:
    """Scaled reward that a unit of the atoms stands for; 1 where the support does not widen."""
    return 1.0 if actor.support is None else actor.support.scale


def in_reward(actor: ActorParams, returns: Mapping[str, Array]) -> dict[str, Array]:
    """Metrics in scaled reward, of metrics in units of the atoms; and the support's scale, where it widens."""
    if actor.support is None:
        return dict(returns)
    unit = actor.support.scale
    return {name: unit * x for name, x in returns.items()} | {"support_scale": unit}


def widen(parts: Parts, state: LearnerState, edge_mass: Array | None) -> LearnerState:
    """`state` with a support twice as wide, if there was too much probability on its edges over the last updates.

        edge <- edge + (edge_mass - edge) / 1000;     if edge > 0.001: scale <- 2 scale, edge <- 0

    Args:
      parts: the agent's.
      state: after an update.
      edge_mass: [] that the update found: mean probability on the first and the last atom.
    """
    support = state.actor.support
    if support is None:
        return state
    assert edge_mass is not None, "a head that widens reports it"
    edge = support.edge_mass + (edge_mass - support.edge_mass) / WINDOW
    followed = state._replace(actor=state.actor._replace(support=support._replace(edge_mass=edge)))
    return xla.cond_any(edge > MAX_EDGE_MASS, partial(_double, parts), followed)


def _double(parts: Parts, state: LearnerState) -> LearnerState:
    actor, (adam, *rest) = state.actor, state.opt_state
    assert actor.support is not None
    matrix, offset = categorical.regrid(make_support(parts.config.critic), FACTOR)

    def regrid(flat: FlatParams, vector: Array, offset: Array) -> Array:
        return _on_outputs(parts, flat, vector, lambda kernel: kernel @ matrix, lambda bias: bias @ matrix + offset)

    still = jnp.zeros_like(offset)  # Adam's moments are averages over a logit's gradients, and stay with their logit
    adam = adam._replace(mu=regrid(parts.flat, adam.mu, still), nu=regrid(parts.flat, adam.nu, still))
    params = regrid(parts.flat, actor.params, offset)
    target = regrid(parts.flat_target, actor.target, offset)
    wide = SupportRange(actor.support.scale * FACTOR, jnp.zeros(()))
    return LearnerState(actor._replace(params=params, target=target, support=wide), (adam, *rest))


def _on_outputs(
    parts: Parts, flat: FlatParams, vector: Array, kernel: Callable[[Array], Array], bias: Callable[[Array], Array]
) -> Array:
    """`vector` with the kernels [H, N] and biases [N] of every critic's output layer replaced by what they map to."""
    trees = flat.unravel(vector)
    for name, net in (("critic", parts.critic), ("value", parts.value)):
        if name in trees:
            assert net.map_outputs is not None, "an ensemble whose head widens has it"
            trees[name] = net.map_outputs(trees[name], kernel, bias)
    return ravel_pytree(trees)[0]
