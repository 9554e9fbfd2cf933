"""Growing a layer in the middle of a run: freeze, re-encode the replay, carry over the learner, warm up the critics."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from lsp import agents
from lsp.agents import stack, transfer
from lsp.agents.parts import make_parts
from lsp.agents.stack import Layer
from lsp.config import Config, stages
from lsp.replay.reencode import reencode
from lsp.storage import layer_files
from lsp.training.device import RunState, Stream, example_transition, stream_key
from lsp.training.loop import Change, Loop
from lsp.types import Array, EnvSpec, Key, Recipe, ReplayState, State

WARM_UP_BLOCK = 500  # updates of one dispatch
DROPPED = "{:.2%} of replay's rows have no latent in the layer's range: dropped"


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
    ends = stages.boundaries(config)
    return stage.number + 1 < len(ends) and step >= ends[stage.number]


def announcement(config: Config, stage: Stage, step: int) -> str:
    """A line for people about the end of a stage."""
    text = f"step {step:,}: layer {len(stage.layers)} is done; growing the next"
    if stages.keeps_reward(config, stage.number + 1):
        return text
    return f"{text}, whose reward is another: replay and critics begin anew"


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
    layers = transfer.with_values(stage.layers, agent)
    return (*layers, transfer.freeze(config, spec, layers, agent))


class Step(NamedTuple):
    """The step from one stage of a run to the next."""

    config: Config  # of the whole run, as it applies to this growth
    stage: Stage  # the new one
    recipe: Recipe  # its
    change: Change  # what the loop must know; corrected where no row could be kept

    @property
    def keeps_replay(self) -> bool:
        """Whether replay goes on, as far as its rows can be re-encoded."""
        return self.config.growth.keep_replay

    def carry_over(self, spec: EnvSpec) -> Callable[[State, Key], State]:
        """(the learner's state before, key) -> its first state in the new stage."""
        same_reward = self.change.reward is None
        return partial(transfer.grow, self.config, spec, self.stage.layers, self.recipe, same_reward=same_reward)

    def recode(self, agent: State, replay: ReplayState, key: Key) -> tuple[ReplayState, Array]:
        """Replay in the terms of the new layer, and the number of rows dropped."""
        assert self.recipe.agent.encode is not None
        return reencode(replay, partial(self.recipe.agent.encode, self.recipe.agent.actor_params(agent)), key)

    def warm_up(self, spec: EnvSpec) -> Callable[[State, ReplayState, Key], tuple[State, ReplayState]]:
        """(learner, replay, keys [n]) -> both after n updates of the critics alone."""
        return partial(transfer.warm_up, make_parts(self.recipe.config, spec, self.stage.layers).flat, self.recipe)


def prepare(config: Config, stage: Stage, old: Config, spec: EnvSpec, agent: State, updates: int) -> Step:
    """What comes after `stage`.

    Args:
      config: of the whole run.
      stage: the one that ends.
      old: its configuration.
      spec: sizes.
      agent: the learner's state.
      updates: made so far; without any the critics know nothing that could be warmed up.
    """
    number = stage.number + 1
    same_reward = stages.keeps_reward(config, number)
    config = stages.at_growth(config, number)
    growth = config.growth
    layers = freeze(stage, old, spec, agent)
    new = Stage(number, layers if growth.add_layer else layers[:-1], 0.0)
    change = Change(
        same_actions=not growth.add_layer,
        fresh=not growth.keep_replay,
        extra_updates=growth.critic_warmup if growth.keep_replay and updates > 0 else 0,
        reward=None if same_reward else stages.reward_of(config, number),
    )
    return Step(config, new, new.recipe(config, spec), change)


def keys_of(root: Key, stage: int) -> tuple[Key, Key, Key]:
    """Keys of initial values, of re-encoding and of the warm-up, from a run's root key."""
    first, second, third = jax.random.split(stream_key(root, Stream.INIT, stage), 3)
    return first, second, third


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
    spec = loop.executors.spec
    step = prepare(config, stage, recipe.config, spec, loop.state.agent, loop.updates)
    new, change = step.stage, step.change
    init_key, recode_key, warm_up_key = keys_of(loop.root, new.number)
    agent, replay = jax.jit(step.carry_over(spec))(loop.state.agent, init_key), loop.state.replay
    if step.keeps_replay and not change.same_actions:
        size = int(step.recipe.replay.size(replay))
        replay, dropped = jax.jit(step.recode, donate_argnums=1)(agent, replay, recode_key)
        new = new._replace(dropped=int(dropped) / max(1, size))
        if new.dropped == 1.0:
            change = change._replace(fresh=True, extra_updates=0)
    if change.fresh:
        jax.tree.map(lambda leaf: leaf.delete(), replay)  # make room: replay may fill half of the memory
        replay = jax.jit(step.recipe.replay.init)(example_transition(spec))
    warm_up = jax.jit(step.warm_up(spec), donate_argnums=(0, 1))
    for keys in blocks(warm_up_key, change.extra_updates):
        agent, replay = warm_up(agent, replay, keys)
    loop.grow(step.recipe, RunState(agent, replay), change)
    return new, step.recipe


def blocks(key: Key, updates: int) -> Iterator[Key]:
    """Keys of the warm-up from `key` [...], a dispatch at a time: [..., n]."""
    split = partial(jax.random.split, num=updates)
    for _ in key.shape:
        split = jax.vmap(split)
    keys = split(key)
    for start in range(0, updates, WARM_UP_BLOCK):
        yield keys[..., start : start + WARM_UP_BLOCK]
