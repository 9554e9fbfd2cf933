"""The learner's state and its optimiser: all trainable parameters, both Adam moments and the targets as flat vectors.

Few leaves cross the jit boundary, and Adam runs over one vector; unravelling them inside an update costs nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from lsp import normalizers
from lsp.types import Array, Key, Params


class ActorParams(NamedTuple):
    """What acting and ranking new rows need: all of the learner but its optimiser."""

    params: Array  # f32[P] trainable parameters: policy layer, critics, value, log alpha
    target: Array  # f32[T] Polyak average of the parameters that targets use
    observation_stats: normalizers.Moments  # of [S]
    return_stats: normalizers.Moments  # of []
    layers: tuple[Params, ...]  # frozen layers below the one in training, bottom first


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


def make_adam(flat: FlatParams, learning_rates: Mapping[str, float]) -> optax.GradientTransformation:
    """Adam over the flat vector with a step size for each name.

    Elementwise it equals one Adam for each name. Kingma and Ba (2015), arXiv 1412.6980; beta .9 and .999, epsilon 1e-8.
    """

    def scale(updates: Array) -> Array:
        if len(set(learning_rates.values())) == 1:  # the same numbers, without a vector of P equal ones to read
            return updates * -next(iter(learning_rates.values()))
        rates = [jnp.full(size, -learning_rates[name]) for name, size in flat.sizes.items()]
        return updates * jnp.concatenate(rates)

    return optax.chain(optax.scale_by_adam(), optax.stateless(lambda updates, _: scale(updates)))


def polyak(target: Array, online: Array, tau: float) -> Array:
    """(1 - tau) * target + tau * online."""
    return target + tau * (online - target)
