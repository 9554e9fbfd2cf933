"""Growing a layer in the middle of a run: freeze, re-encode the replay, carry over the learner, warm up the critics."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from lsp import agents, layer_files, layering
from lsp.agents import growing, stack
from lsp.agents.learner import FlatParams
from lsp.agents.parts import make_parts
from lsp.agents.stack import Layer
from lsp.config import Config
from lsp.dispatch import RunState, Stream, example_transition, stream_key
from lsp.loop import Loop
from lsp.replay.recode import recode
from lsp.types import EnvSpec, Key, Recipe, State

WARM_UP_BLOCK = 500  # updates of one dispatch


class Stage(NamedTuple):
    """Where a run stands in its sequence of layers."""

    number: int  # of the layer in training among those that the run trains
    layers: tuple[Layer, ...]  # frozen, below it, bottom first
    dropped: float  # share of replay's rows that could not be re-encoded when this layer was grown

    def recipe(self, config: Config, spec: EnvSpec) -> Recipe:
        """Agent and replay of this stage; `config` is that of the whole run."""
        return agents.build(config, spec, self.layers, self.number)


def first(config: Config, spec: EnvSpec) -> Stage:
    """The first stage of a run, on layers of another where the configuration says so. Raises ConfigError."""
    source = config.from_layers
    layers = layer_files.load(Path(source)) if source else ()
    stack.check(layers, spec, config.growth.prefix_observation, f"--from-layers={source}")
    return Stage(0, layers, 0.0)


def due(config: Config, stage: Stage, step: int) -> bool:
    """Whether the stage is over at this environment step, and another follows."""
    ends = layering.boundaries(config)
    return stage.number + 1 < len(ends) and step >= ends[stage.number]


def to_host(stage: Stage) -> dict[str, Any]:
    """A stage as JSON values, for a checkpoint; the layers' values are with the learner's."""
    return {
        "number": stage.number,
        "layers": [stack.describe(layer) for layer in stage.layers],
        "dropped": stage.dropped,
    }


def from_host(record: dict[str, Any]) -> Stage:
    """Inverse of `to_host`, with zeros for the layers' values."""
    return Stage(record["number"], tuple(map(stack.from_description, record["layers"])), record["dropped"])


def freeze(stage: Stage, config: Config, spec: EnvSpec, agent: State) -> tuple[Layer, ...]:
    """The frozen layers, and that in training as it stands: `config` of the stage, `agent` the learner's."""
    layers = growing.with_values(stage.layers, agent)
    return (*layers, growing.freeze(config, spec, layers, agent))


def grow(config: Config, stage: Stage, recipe: Recipe, loop: Loop) -> tuple[Stage, Recipe]:
    """End one stage of a run and begin the next; `loop` goes on with it.

    Args:
      config: of the whole run.
      stage: the one that ends.
      recipe: its recipe.
      loop: the run's.

    Returns:
      The next stage and its recipe.
    """
    spec, growth = loop.executors.spec, config.growth
    layers = freeze(stage, recipe.config, spec, loop.state.agent)
    if not growth.add_layer:
        layers = layers[:-1]
    new = Stage(stage.number + 1, layers, 0.0)
    new_recipe = new.recipe(config, spec)
    init_key, recode_key, warm_up_key = jax.random.split(stream_key(loop.root, Stream.INIT, new.number), 3)
    carry_over = jax.jit(partial(growing.grow, config, spec, layers, new_recipe))
    state = RunState(carry_over(loop.state.agent, init_key), loop.state.replay)
    kept, extra = growth.keep_replay, 0
    if kept and growth.add_layer:
        state, dropped = _recode(new_recipe, state, recode_key)
        new, kept = new._replace(dropped=dropped), dropped < 1.0
    if not kept:
        jax.tree.map(lambda leaf: leaf.delete(), state.replay)  # make room: replay may fill half of the memory
        state = state._replace(replay=jax.jit(new_recipe.replay.init)(example_transition(spec)))
    elif loop.updates > 0:
        extra = growth.critic_warmup
        flat = make_parts(new_recipe.config, spec, layers).flat
        state = _warm_up(flat, new_recipe, state, warm_up_key, extra)
    loop.grow(new_recipe, state, same_actions=not growth.add_layer, fresh=not kept, extra_updates=extra)
    return new, new_recipe


def _recode(recipe: Recipe, state: RunState, key: Key) -> tuple[RunState, float]:
    """Replay in the terms of the new layer, and the share of rows dropped."""
    size = int(recipe.replay.size(state.replay))

    def run(agent: Any, replay: Any) -> tuple[Any, Any]:
        assert recipe.agent.encode is not None
        return recode(replay, partial(recipe.agent.encode, recipe.agent.actor_params(agent)), key)

    replay, dropped = jax.jit(run, donate_argnums=1)(state.agent, state.replay)
    return state._replace(replay=replay), int(dropped) / max(1, size)


def _warm_up(flat: FlatParams, recipe: Recipe, state: RunState, key: Key, updates: int) -> RunState:
    function = jax.jit(partial(growing.warm_up, flat, recipe), donate_argnums=(0, 1))
    keys = jax.random.split(key, updates)
    for start in range(0, updates, WARM_UP_BLOCK):
        state = RunState(*function(*state, keys[start : start + WARM_UP_BLOCK]))
    return state
