"""The learner's state and its optimizer: all trainable parameters, both Adam moments and the targets as flat vectors.

Few leaves cross the jit boundary, and Adam runs over one vector; unravelling them inside an update costs nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from lsp import normalizers
from lsp.hierarchy import Frozen
from lsp.types import Array, Key


class SupportRange(NamedTuple):
    """How wide a support has become that widens itself (`lsp.agents.support`)."""

    scale: Array  # f32[] scaled reward that a unit of the atoms stands for
    edge_mass: Array  # f32[] running mean of the probability on the edges


class ActorParams(NamedTuple):
    """What acting and ranking new transitions need: all of the learner but its optimizer."""

    params: Array  # f32[P] trainable parameters: policy layer, critics, value, log alpha
    target: Array  # f32[T] Polyak average of the parameters that targets use
    observation_stats: normalizers.Moments  # of [S]
    return_stats: normalizers.Moments  # of []
    layers: tuple[Frozen, ...]  # frozen layers below the one in training, bottom first
    critic_states: dict[str, Any]  # of each ensemble of critics, what it keeps beside its parameters; () for nothing
    support: SupportRange | None = None  # None: as wide as configured


class LearnerState(NamedTuple):
    """Everything an agent learns."""

    actor: ActorParams
    opt_state: optax.OptState


class FlatParams(NamedTuple):
    """A dictionary of parameter trees as one vector."""

    init: Callable[[Key], Array]  # key -> f32[P]
    unravel: Callable[[Array], dict[str, Any]]
    sizes: dict[str, int]  # numbers under each name, in the vector's order


def make_flat_params(init: Callable[[Key], Mapping[str, Any]]) -> FlatParams:
    """Flatten what `init` makes; the order of names is the pytree's (alphabetical)."""
    shapes = jax.eval_shape(init, jax.random.key(0))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), dict(shapes))
    _, unravel = ravel_pytree(zeros)
    sizes = {name: sum(leaf.size for leaf in jax.tree.leaves(zeros[name])) for name in sorted(zeros)}
    return FlatParams(lambda key: ravel_pytree(dict(init(key)))[0], unravel, sizes)


def segment(flat: FlatParams, vector: Array, name: str) -> Array:
    """The part of `vector` that holds `name`."""
    start = 0
    for other, size in flat.sizes.items():
        if other == name:
            return vector[start : start + size]
        start += size
    raise KeyError(name)


class UpdateCounts(NamedTuple):
    """State of `_correct_bias`."""

    adam: Array  # i32[] updates that Adam has counted
    reinitialised: dict[str, Array]  # i32[] those of each reinitialised network


def make_adam(
    flat: FlatParams, learning_rates: Mapping[str, float], reinitialised: Sequence[str] = ()
) -> optax.GradientTransformation:
    """Adam over the flat vector with a step size for each name.

    Elementwise it equals one Adam for each name. Kingma and Ba (2015), arXiv 1412.6980; beta .9 and .999, epsilon 1e-8.
    Networks that were `reinitialised` have had fewer updates than Adam counts (`grow_optimizer`), and have their bias
    corrected for that.
    """

    def scale(updates: Array) -> Array:
        if len(set(learning_rates.values())) == 1:  # the same numbers, without a vector of P equal ones to read
            return updates * -next(iter(learning_rates.values()))
        return updates * by_name(flat, {name: -learning_rates[name] for name in flat.sizes})

    corrections = [_correct_bias(flat, reinitialised)] if reinitialised else []
    return optax.chain(optax.scale_by_adam(), *corrections, optax.stateless(lambda updates, _: scale(updates)))


def by_name(flat: FlatParams, values: Mapping[str, Any]) -> Array:
    """A vector like the parameters', [P], that holds for each name its one value."""
    return jnp.concatenate([jnp.full(size, values[name]) for name, size in flat.sizes.items()])


def _correct_bias(flat: FlatParams, reinitialised: Sequence[str]) -> optax.GradientTransformation:
    """Without this the first steps of a network whose moments start at zero would be up to six times too long."""

    def correction(count: Array) -> Array:
        return jnp.sqrt(1.0 - 0.999**count) / (1.0 - 0.9**count)

    def init(params: Array) -> UpdateCounts:
        del params
        return UpdateCounts(jnp.zeros((), jnp.int32), {name: jnp.zeros((), jnp.int32) for name in reinitialised})

    def update(
        updates: Array, counts: UpdateCounts, params: Array | None = None
    ) -> tuple[Array, UpdateCounts]:
        del params
        counts = jax.tree.map(lambda count: count + 1, counts)
        ratios = {name: correction(own) / correction(counts.adam) for name, own in counts.reinitialised.items()}
        return updates * by_name(flat, dict.fromkeys(flat.sizes, 1.0) | ratios), counts

    return optax.GradientTransformation(init, update)


def grow_optimizer(
    flat: FlatParams, old: optax.OptState, new: optax.OptState, reinitialised: Sequence[str]
) -> optax.OptState:
    """`new`, an optimizer's first state, with count and moments of `old` but for the `reinitialised` networks.

    The networks of both have the same names and sizes; an old layer and a new one are of one kind.
    """
    adam, counts, *rest = new
    kept = by_name(flat, {name: name not in reinitialised for name in flat.sizes})
    moments = adam._replace(
        count=old[0].count, mu=jnp.where(kept, old[0].mu, adam.mu), nu=jnp.where(kept, old[0].nu, adam.nu)
    )
    return moments, counts._replace(adam=old[0].count), *rest


def updates_of(state: optax.OptState, name: str) -> Array:
    """Updates that a network has had, i32[]: where it was reinitialised, since then."""
    for part in state:
        if isinstance(part, UpdateCounts) and name in part.reinitialised:
            return part.reinitialised[name]
    count: Array = state[0].count
    return count


def polyak(target: Array, online: Array, tau: float) -> Array:
    """(1 - tau) * target + tau * online."""
    return target + tau * (online - target)
