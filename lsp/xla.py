"""A branch that stays one under vmap."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from lsp.types import Array

T = TypeVar("T")


def run_if(condition: Array, function: Callable[[T], T], state: T) -> T:
    """`function(state)` or `state`, by `condition` bool[].

    Under vmap, where `jax.lax.cond` would run the function every time and select, it runs only if any condition holds.
    """

    def chosen(condition: Array, state: T) -> T:
        return jax.tree.map(partial(jnp.where, condition), function(state), state)

    @jax.custom_batching.custom_vmap
    def run(condition: Array, state: T) -> T:
        return jax.lax.cond(condition, function, lambda state: state, state)

    @run.def_vmap  # type: ignore[untyped-decorator, unused-ignore]
    def run_together(size: int, batched: Any, *arguments: Any) -> tuple[T, T]:
        batched = tuple(batched)
        lanes = jax.tree.map(lambda x, has_lanes: x if has_lanes else jnp.stack([x] * size), arguments, batched)
        done = jax.lax.cond(jnp.any(lanes[0]), jax.vmap(chosen), lambda _, state: state, *lanes)
        return done, jax.tree.map(lambda _: True, done)

    result: T = run(condition, state)
    return result
