"""What a sweep does on its devices: `lsp.training.device`'s functions under pmap over devices of vmap within one.

Arrays have two leading axes: D devices, N lanes of a device; see `lsp.training.sweep`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from lsp.config.executors import latent_scales
from lsp.training.device import Dispatches, act, advance, copy_actor_params, encode_rows, init_state, metric_names
from lsp.types import Array, EnvSpec, Recipe


def make_dispatches(recipe: Recipe, spec: EnvSpec, num_updates: int, devices: Sequence[jax.Device]) -> Dispatches:
    """`lsp.training.device.make_dispatches` for lanes: every array has leading axes [D, N], but the step and `random`.

    `encode` is of a single lane, for it is needed in a few steps only.
    """
    mapped = partial(over_lanes, devices)
    act_some = partial(act, recipe.agent, scales=latent_scales(recipe.config.executors))
    return Dispatches(
        init=mapped(partial(init_state, recipe, spec), 1),
        act=mapped(act_some, 5, shared=(2, 4)),
        collect=mapped(partial(advance, recipe, spec, 0), 7, shared=(2, 6), donate=(0,)),
        learn=mapped(partial(advance, recipe, spec, num_updates), 7, shared=(2, 6), donate=(0,)),
        actor_params=mapped(partial(copy_actor_params, recipe), 1),
        encode=jax.jit(partial(encode_rows, recipe, spec)) if recipe.agent.encode else None,
        metric_names=metric_names(recipe, spec),
    )


def over_lanes(
    devices: Sequence[jax.Device],
    function: Callable[..., Any],
    arguments: int,
    shared: tuple[int, ...] = (),
    donate: tuple[int, ...] = (),
) -> Any:
    """`function` of so many arguments for all lanes: each but the `shared` ones has leading axes [D, N]."""
    axes = tuple(None if i in shared else 0 for i in range(arguments))
    mapped = jax.vmap(function, in_axes=axes)
    return jax.pmap(mapped, in_axes=axes, donate_argnums=donate, devices=list(devices))


def set_lane(state: Any, new: Any, lane: Array, here: Array) -> Any:
    """Replace one lane of a device's [N, ...] by `new`, if it is `here`, bool[]; in place where `state` is donated."""
    return jax.tree.map(lambda old, leaf: old.at[lane].set(jnp.where(here, leaf, old[lane])), state, new)
