"""Growing a layer in the middle of a run: freeze, re-encode the replay, carry over the learner, warm up the critics."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from lsp import agents
from lsp.agents import stack, transfer
from lsp.agents.parts import make_flat
from lsp.agents.stack import Layer
from lsp.config import Config, StageConfig, stages
from lsp.replay.reencode import reencode
from lsp.storage import layer_files
from lsp.training.device import Device, RunState, Stream, example_transition, stream_key
from lsp.training.interrupt import Interrupted
from lsp.training.loop import TrainingLoop
from lsp.training.seed import Seed, StageChange
from lsp.training.transforms import OneSeed
from lsp.types import Array, EnvSpec, Key, Recipe, ReplayState, State

WARM_UP_BLOCK = 100  # updates of one dispatch, between two of which somebody may want to stop
DROPPED = "{:.2%} of replay's rows have no latent in the layer's range: dropped"


class Stage(NamedTuple):
    """Where a run stands in its sequence of layers."""

    number: int  # of the layer in training among those that the run trains
    layers: tuple[Layer, ...]  # frozen, below it, bottom first
    dropped: float  # share of replay's rows that could not be re-encoded when this layer was grown

    def recipe(self, config: Config, spec: EnvSpec) -> Recipe:
        """Agent and replay of this stage; `config` is that of the whole run."""
        return agents.build(config, spec, self.layers, self.number)


def load_layers(config: Config) -> tuple[Layer, ...]:
    """The layers of another run below those of this one, where the configuration says so. Raises ConfigError."""
    return layer_files.load(Path(config.from_layers).expanduser()) if config.from_layers else ()


def first(config: Config, spec: EnvSpec, layers: tuple[Layer, ...] | None = None) -> Stage:
    """The first stage of a run, on `layers` of another; None: those that `load_layers` finds. Raises ConfigError."""
    layers = load_layers(config) if layers is None else layers
    stack.check(layers, spec, config.growth.prefix_observation, f"--from-layers={config.from_layers}")
    return Stage(0, layers, 0.0)


def due(config: Config, stage: Stage, step: int) -> bool:
    """Whether the stage is over at this environment step, and another follows."""
    ends = stages.boundaries(config)
    return stage.number + 1 < len(ends) and step >= ends[stage.number]


def announcement(config: Config, stage: Stage, step: int) -> str:
    """A line for people about the end of a stage."""
    text = f"step {step:,}: layer {stage.number + 1} of {config.layers} is trained"
    if stages.keeps_reward(config, stage.number + 1):
        return text
    return f"{text}; next comes one whose reward is another: replay and critics are reinitialised"


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


def freeze(stage: Stage, config: StageConfig, spec: EnvSpec, agent: State) -> tuple[Layer, ...]:
    """The frozen layers, and that in training as it stands: `config` of the stage, `agent` the learner's."""
    layers = transfer.with_values(stage.layers, agent)
    return (*layers, transfer.freeze(config, spec, agent))


class Growth(NamedTuple):
    """The step from one stage of a run to the next."""

    config: Config  # of the whole run, as it applies to this growth
    stage: Stage  # the new one
    recipe: Recipe  # its
    change: StageChange  # what the loop must know; corrected where no row could be kept

    @property
    def keeps_replay(self) -> bool:
        """Whether replay is kept, as far as its transitions can be re-encoded."""
        return self.config.growth.keep_replay

    def carry_over(self, spec: EnvSpec) -> Callable[[State, Key], State]:
        """(the learner's state before, key) -> its first state in the new stage."""
        same_reward = self.change.reward is None
        return partial(transfer.grow, self.config, spec, self.recipe, same_reward=same_reward)

    def reencode(self, agent: State, replay: ReplayState, key: Key) -> tuple[ReplayState, Array]:
        """Replay in the terms of the new layer, and the number of rows dropped."""
        assert self.recipe.agent.encode is not None
        return reencode(replay, partial(self.recipe.agent.encode, self.recipe.agent.actor_params(agent)), key)


def prepare(config: Config, stage: Stage, old: StageConfig, spec: EnvSpec, agent: State, updates: int) -> Growth:
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
    change = change_to(config, number, updates)
    config = stages.at_growth(config, number)
    layers = freeze(stage, old, spec, agent)
    new = Stage(number, layers if config.growth.add_layer else layers[:-1], 0.0)
    return Growth(config, new, new.recipe(config, spec), change)


def change_to(config: Config, number: int, updates: int) -> StageChange:
    """What a loop must know of the step to stage `number`, after so many updates; `config` is that of the whole run."""
    growth = stages.at_growth(config, number).growth
    return StageChange(
        same_actions=not growth.add_layer,
        fresh=not growth.keep_replay,
        extra_updates=growth.critic_warmup if growth.keep_replay and updates > 0 else 0,
        reward=None if stages.keeps_reward(config, number) else stages.reward_of(config, number),
    )


def keys_of(root: Key, stage: int) -> tuple[Key, Key, Key]:
    """Keys of initial values, of re-encoding and of the warm-up, from a run's root key."""
    first, second, third = jax.random.split(stream_key(root, Stream.INIT, stage), 3)
    return first, second, third


def grow(
    config: Config, stage: Stage, loop: TrainingLoop, seeds: Sequence[Seed], check: Callable[[], None]
) -> tuple[list[Stage], int]:
    """End one stage of a run and begin the next, for all seeds at the same step; then `warm_up` is due.

    Args:
      config: of the whole run.
      stage: the one that ends, of any seed.
      loop: the run's; it continues with the next stage.
      seeds: those that are still trained.
      check: called while nothing has changed yet; may raise to end it.

    Returns:
      The next stage of each seed, and how many updates of the critics alone come first. Where one of several seeds
      dropped all of its transitions, its stage says so, and it cannot continue: it would have to wait for new ones, and
      seeds stay in step.
    """
    device, first_seed = loop.device, seeds[0]
    spec, compile = device.spec, device.transform.compile
    agent_before = device.state_of(first_seed.index).agent
    step = prepare(config, stage, device.recipe.config, spec, agent_before, first_seed.updates)
    change, replay, dropped = step.change, device.state.replay, [0.0] * len(seeds)
    init_keys, _ = compile(partial(_keys_of_all, stage=step.stage.number), 1)(device.roots)
    agent = jax.block_until_ready(compile(step.carry_over(spec), 2)(device.state.agent, init_keys))
    check()  # from here on replay changes
    if step.keeps_replay and not change.same_actions:
        replay, dropped = _reencode(step, device, seeds, agent, replay)
        if min(dropped) == 1.0:
            change = change._replace(fresh=True, extra_updates=0)
    if change.fresh:
        jax.tree.map(lambda leaf: leaf.delete(), replay)  # make room: replay may fill half of the memory
        replay = compile(lambda _: step.recipe.replay.init(example_transition(spec)), 1)(device.roots)
    loop.begin_stage(step.recipe, RunState(agent, replay), change, seeds)
    return [step.stage._replace(dropped=share) for share in dropped], change.extra_updates


def warm_up(config: Config, stage: Stage, device: Device, left: int, watch: Callable[[str], None]) -> int:
    """Update the critics alone, at the beginning of a stage.

    Args:
      config: of the whole run.
      stage: the one that has begun, of any seed.
      device: of the run.
      left: how many of these updates are still to be made.
      watch: called in between with what is going on; may raise Interrupted, and the rest is made later.

    Returns:
      How many are left: none, or some where it was interrupted.
    """
    total = config.growth.critic_warmup
    compile = device.transform.compile
    update = partial(transfer.warm_up, make_flat(device.recipe.config, device.spec), device.recipe)
    update = compile(update, 3, donate=(0, 1))
    _, root = compile(partial(_keys_of_all, stage=stage.number), 1)(device.roots)
    update_keys = compile(partial(jax.random.split, num=total), 1)(root)  # [..., total]
    for start in range(total - left, total, WARM_UP_BLOCK):
        try:
            watch(f"warming up the critics: {total - left:,} of {total:,} updates")
        except Interrupted:
            break
        keys = update_keys[..., start : start + WARM_UP_BLOCK]
        device.replace(RunState(*jax.block_until_ready(update(*device.state, keys))), None)
        left -= keys.shape[-1]
    return left


def _keys_of_all(root: Key, stage: int) -> tuple[Key, Key]:
    """Of `keys_of`, those that are used for all seeds at once."""
    init_key, _, warm_up_key = keys_of(root, stage)
    return init_key, warm_up_key


def _reencode(
    step: Growth, device: Device, seeds: Sequence[Seed], agent: State, replay: ReplayState
) -> tuple[ReplayState, list[float]]:
    """Replay of all seeds in the terms of the new layer, and the share of transitions that each of `seeds` dropped.

    One seed after the other: in a batch, the loop over blocks would copy every replay at each of its turns.
    """
    transform, function = device.transform, OneSeed().compile(step.reencode, 3, donate=(1,))
    dropped = []
    for seed in seeds:
        before = transform.own(replay, seed.index)
        size = int(step.recipe.replay.size(before))
        _, key, _ = keys_of(seed.root, step.stage.number)
        after, count = function(transform.own(agent, seed.index), before, key)
        replay = transform.put(replay, seed.index, after)
        dropped.append(int(count) / max(1, size))
    return replay, dropped
