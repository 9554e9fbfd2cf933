"""A kind of critics for tests alone: scalar ones that normalize their inputs by running statistics, as batch norm does.

The statistics are no parameters: no gradient moves them, and every update does.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lsp.agents.critics import Critics, Ensemble, scalar
from lsp.config import Config
from lsp.types import Array, Params

STEP = 0.1  # of the running means
NAME, MODULE = "running", __name__


class Statistics(NamedTuple):
    """Running statistics of all inputs side by side."""

    mean: Array  # f32[I]
    variance: Array  # f32[I]


def make(config: Config) -> Critics:
    """Scalar critics on normalized inputs."""
    head, critic, value = scalar.make(config)
    return Critics(head, _normalizing(critic), _normalizing(value))


def _normalizing(inner: Ensemble) -> Ensemble:
    return Ensemble(
        init=inner.init,
        init_state=_init_state,
        apply=partial(_apply, inner),
        train=partial(_train, inner),
    )


def _init_state(params: Params, *examples: Array) -> Statistics:
    del params
    size = sum(example.size for example in examples)
    return Statistics(jnp.zeros(size), jnp.ones(size))


def _apply(inner: Ensemble, params: Params, state: Statistics, *inputs: Array) -> Array:
    together = jnp.concatenate(inputs, axis=-1)
    mean, std = (jnp.broadcast_to(x, together.shape) for x in (state.mean, jnp.sqrt(state.variance + 1e-3)))
    ends = [sum(x.shape[-1] for x in inputs[: i + 1]) for i in range(len(inputs) - 1)]
    return inner.apply(params, (), *jnp.split((together - mean) / std, ends, axis=-1))


def _train(inner: Ensemble, params: Params, state: Statistics, *inputs: Array) -> tuple[Array, Statistics]:
    batch = jnp.concatenate(inputs, axis=-1)
    seen = Statistics(jnp.mean(batch, axis=0), jnp.var(batch, axis=0))
    moved = jax.tree.map(lambda old, new: old + STEP * (jax.lax.stop_gradient(new) - old), state, seen)
    return _apply(inner, params, moved, *inputs), moved
