"""How many layers a run trains, for how long, and what carries over when one is added. No JAX here.

A run is a sequence of stages, numbered from 0: each trains one layer. `--layer-steps` says how long, and between two
stages the layer is frozen and the next one put on top. The depth of a layer is the number of layers below it; it equals
the stage unless the run began on layers of another one.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal, cast

from lsp.config.reward_terms import FORM, OWN, parse, readable
from lsp.config.schema import Count, Natural, NonNegative, Positive, PositiveOrInf, whole

if TYPE_CHECKING:
    from lsp.config import Config, StageConfig


@dataclass(frozen=True)
class GrowthConfig:
    """What happens where one layer is frozen and the next one begins."""

    add_layer: bool = True
    """Freeze the layer and put a new one on top. Without: the old one trains on, and all else happens (a control)."""
    train_layer: bool = True
    """Train layers above the first. Without: they stay as they begin; critics and temperature learn (a control)."""
    identity: bool = True
    """Begin a layer above the first as the identity, so that the policy is the same before and after."""
    linear_embedding: bool = False
    """No ReLU after the observation embedding of layers above the first, as in the study."""
    keep_replay: bool = True
    """Go on with the replay, every stored action mapped once to the latent that yields it."""
    max_latent: PositiveOrInf = math.inf
    """Replay drops a row whose latent exceeds this in any dimension; in any case one whose latent does not give its
    action back to 0.001."""
    keep_critics: bool = True
    """Go on with the critics and their Adam moments; needs --critic.space=env."""
    critic_warmup: Natural = 5_000
    """Updates of the critics alone at growth, on a replay that was kept: there the entropy term of Q changes."""
    entropy: Literal["latent", "action"] = "latent"
    """Entropy term of layers above the first: the divergence of their latent from N(0, I), which is that of the policy
    from the frozen one; or, as in the first layer, the entropy of the action in [-1, 1]."""
    divergence_per_dim: Positive = 0.5
    """Where the temperature is learned and the entropy is of the latent: target of that divergence, in nats per action
    dimension. The entropy of the action is no target there: a large alpha pulls to the frozen policy, not to chance."""
    reward_scale: NonNegative = 0.0
    """Factor on rewards from the second layer on; 0 stands for --reward-scale."""
    prefix_observation: bool = False
    """Where layers of another task saw fewer numbers than this task's observation has, let them see the first ones."""


@dataclass(frozen=True)
class LayersConfig:
    """The policy's layers: the fields of `Config` that name them."""

    layers: Count = 1
    """Layers of the policy that the run trains, one on top of the other."""
    layer_steps: tuple[Natural, ...] = (0,)
    """Environment steps of each layer, which add up to --steps (and set it where it is not given); 0: equal shares."""
    layer_rewards: tuple[str, ...] = (OWN,)
    """Reward that each layer is trained on, one entry a layer: env (or nothing), the environment's own; terms of `info`
    with weights, such as reward_forward+0.5*reward_ctrl; or module:function, called with (observation, action,
    next_observation, info), which returns a number. A single env is for all layers. Evaluations, and returns in
    metrics, are the environment's own. Where the reward changes, replay and critics are reinitialised."""
    from_layers: str = ""
    """Folder of a run whose frozen layers lie below those of this one."""
    growth: GrowthConfig = field(default_factory=GrowthConfig)


STUDY = GrowthConfig(
    identity=False,
    linear_embedding=True,
    keep_replay=False,
    keep_critics=False,
    critic_warmup=0,
    reward_scale=3.0,
)
"""Growth as the study had it: a new run in the latent space of the old policy."""


def resolve(config: "Config") -> "Config":
    """`config` with layers' rewards written out, and `layer_steps` where it asks for equal shares of several layers."""
    rewards = tuple(text.strip() or OWN for text in config.layer_rewards)
    config = dataclasses.replace(config, layer_rewards=rewards)
    if config.layers == 1 or config.layer_steps != (0,):
        return config
    shares = [config.steps // config.layers] * config.layers
    shares[-1] += config.steps % config.layers
    return dataclasses.replace(config, layer_steps=tuple(shares))


def boundaries(config: "Config") -> tuple[int, ...]:
    """The environment step at which each stage ends; the last one is `steps`."""
    return (config.steps,) if config.layers == 1 else tuple(accumulate(config.layer_steps))


def reward_of(config: "Config", stage: int) -> str:
    """What the layer of a stage is trained on, as `lsp.config.reward_terms` reads it."""
    return config.layer_rewards[stage] if len(config.layer_rewards) > 1 else config.layer_rewards[0]


def keeps_reward(config: "Config", stage: int) -> bool:
    """Whether the layer of a stage is trained on the same reward as the one before it."""
    before, now = (parse(reward_of(config, number)) for number in (max(stage - 1, 0), stage))
    return before == now


def at_growth(config: "Config", stage: int) -> "Config":
    """`config` as it applies where a stage begins: rows and critics of another reward are of no use to it."""
    if keeps_reward(config, stage):
        return config
    growth = dataclasses.replace(config.growth, keep_replay=False, keep_critics=False)
    return dataclasses.replace(config, growth=growth)


def relations(config: "Config") -> "Iterator[tuple[str, bool, str]]":
    """What layers must be to go together: see `lsp.config`."""
    steps, layers, rewards = config.layer_steps, config.layers, config.layer_rewards
    own = rewards == (OWN,)
    example = ",".join([rewards[0], *[OWN] * (layers - 1)])
    yield "layer_rewards", own or len(rewards) == layers, f"one for each of --layers={layers}, such as {example}"
    for text in rewards:
        yield "layer_rewards", readable(text), f"{FORM}; {text!r} cannot be read"
    if layers == 1 and steps == (0,):
        return
    example = ",".join(map(str, resolve(dataclasses.replace(config, layer_steps=(0,))).layer_steps))
    yield "layer_steps", len(steps) == layers, f"one number for each of --layers={layers}, such as {example}"
    yield "layer_steps", steps[-1] > 0, "above 0 for the last layer"
    yield "layer_steps", sum(steps) == config.steps, f"numbers that add up to --steps={config.steps}, not {sum(steps)}"
    grows = layers > 1 and config.growth.add_layer and config.growth.keep_critics
    latent = config.critic.space == "layer"
    why = "false, or add --critic.space=env: a new layer has other latents"
    yield "growth.keep_critics", not (grows and latent), why


def with_steps(texts: Mapping[str, str]) -> dict[str, str]:
    """Flags with `steps` set to the sum of `layer_steps`, where only these are given and can be read."""
    try:
        numbers = [whole(word) for word in texts.get("layer_steps", "").split(",")]
    except ValueError:  # said where flags are read
        return dict(texts)
    if "steps" in texts or min(numbers) < 0 or numbers == [0]:
        return dict(texts)
    return {**texts, "steps": str(sum(numbers))}


def extended(values: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """A configuration's JSON values with another number of `steps`: the last layer takes the difference."""
    *first, last = values["layer_steps"]
    longer = last + steps - values["steps"] if values["layers"] > 1 or last else 0
    return {**values, "steps": steps, "layer_steps": [*first, longer]}


def of_stage(config: "Config", stage: int, depth: int) -> "StageConfig":
    """The configuration as the layer of one stage, with `depth` layers below it, trains under it."""
    growth = config.growth
    if stage > 0 or depth > 0:  # random actions would be no better than those of the layers below
        scale = growth.reward_scale or config.reward_scale
        config = dataclasses.replace(config, reward_scale=scale, warmup_steps=0)
    if depth > 0:
        linear = growth.linear_embedding or config.flow.linear_embedding
        flow = dataclasses.replace(config.flow, zero_init=growth.identity, linear_embedding=linear)
        config = dataclasses.replace(config, flow=flow)
    return cast("StageConfig", config)
