"""Growing a layer in every seed of a sweep at the same step: `lsp.training.growth` for lanes."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lsp.config import Config
from lsp.training import growth
from lsp.training.device import RunState, example_transition
from lsp.training.growth import Stage, Step
from lsp.training.sweep import Lane, Sweep
from lsp.types import Key, Recipe, State


def grow(config: Config, stage: Stage, sweep: Sweep, lanes: Sequence[Lane]) -> tuple[list[Stage], Recipe]:
    """End one stage of a sweep and begin the next; `sweep` and `lanes` go on with it.

    Args:
      config: of the whole sweep.
      stage: the one that ends, of any seed.
      sweep: stands at the end of the stage.
      lanes: those that are still stepped.

    Returns:
      The next stage of each lane, and the recipe of all. A lane whose stage says that all rows were dropped cannot go
      on: it would have to wait for new ones, and lanes stay in step.
    """
    step = growth.prepare(config, stage, sweep.recipe.config, sweep.spec, lanes[0].state.agent, lanes[0].updates)
    keys = _split(sweep.roots, step.stage.number)
    agent = sweep.over_lanes(step.carry_over(sweep.spec), 2)(sweep.state.agent, keys[..., 0])
    replay, dropped = sweep.state.replay, [0.0] * len(lanes)
    if step.change.fresh:
        jax.tree.map(lambda leaf: leaf.delete(), replay)
        replay = sweep.over_lanes(lambda _: step.recipe.replay.init(example_transition(sweep.spec)), 1)(sweep.roots)
    elif not step.change.same_actions:
        replay, dropped = _recode(step, sweep, lanes, agent, replay, keys[..., 1])
    if step.change.extra_updates:
        warm_up = sweep.over_lanes(step.warm_up(sweep.spec), 3, donate=(0, 1))
        for block in growth.blocks(keys[..., 2], step.change.extra_updates):
            agent, replay = warm_up(agent, replay, block)
    sweep.grow(step.recipe, RunState(agent, replay), step.change, lanes)
    return [step.stage._replace(dropped=share) for share in dropped], step.recipe


def _split(roots: Key, stage: int) -> Key:
    """The keys of a growth, [D, N, 3], from the seeds' root keys [D, N]."""
    return jax.vmap(jax.vmap(lambda root: jnp.stack(growth.keys_of(root, stage))))(roots)


def _recode(
    step: Step, sweep: Sweep, lanes: Sequence[Lane], agent: State, replay: Any, keys: Key
) -> tuple[Any, list[float]]:
    """Replay [D, N, ...] in the terms of the new layer, and the share of rows that each of `lanes` dropped.

    One lane after the other: in a batch, the loop over blocks of rows would copy every replay at each of its turns.
    """
    function = jax.jit(step.recode, donate_argnums=1)
    dropped = []
    for lane in lanes:
        ours = jax.tree.map(jnp.array, sweep.lane_of((agent, replay), lane.index))
        size = int(step.recipe.replay.size(ours[1]))
        key = keys.reshape(-1)[lane.index]
        recoded, count = function(*ours, key)
        replay = sweep.with_lane(replay, lane.index, recoded)
        dropped.append(int(count) / max(1, size))
    return replay, dropped
