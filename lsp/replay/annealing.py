"""How the exponent beta of importance weights grows with the number of updates."""

from collections.abc import Callable

import jax.numpy as jnp
import optax

from lsp.config import ReplayConfig
from lsp.types import Array

Schedule = Callable[[Array], Array]  # updates so far, i32[] -> f32[]
EPOCH = 1_000  # updates, in the study


def from_config(config: ReplayConfig) -> Schedule:
    """The schedule that a configuration asks for."""
    if config.beta_bug:
        return anneal_as_coded(config.beta, config.beta_final, config.beta_updates)
    every = EPOCH if config.beta_schedule == "epochs" else 1
    return anneal(config.beta, config.beta_final, config.beta_updates, every)


def anneal(first: float, last: float, updates: int, every: int = 1) -> Schedule:
    """From `first` to `last` in a straight line over `updates`, changing once in `every`; `last` from then on."""
    linear = optax.linear_schedule(first, last, updates)
    return lambda count: linear(count - count % every)


def anneal_as_coded(first: float, last: float, updates: int) -> Schedule:
    """What the study's code made of its schedule: `first` for one epoch, then, once and for all, some 1 too much.

    Its increment lacks parentheses, (last - first) / epochs + 1, and is added only while beta is at most 1.
    """
    too_much = first + (last - first) / (updates / EPOCH) + 1
    return lambda count: jnp.where(count < EPOCH, first, too_much)
