"""Configuration: frozen dataclasses, the study's preset, validation, JSON. No JAX here, so that `--help` stays instant.

A field has one dotted name, such as `replay.batch_size`: as a flag (`--replay.batch-size`), in `config.json`, in error
messages. Its docstring is its help text, its type says what it may hold, its default belongs to the `modern` preset.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NewType

from lsp.config import critic, executors, schema, stages
from lsp.config.critic import CriticConfig as CriticConfig
from lsp.config.executors import ExecutorsConfig as ExecutorsConfig
from lsp.config.goals import GoalsConfig as GoalsConfig
from lsp.config.policy import FlowConfig as FlowConfig
from lsp.config.policy import PolicyConfig as PolicyConfig
from lsp.config.policy import TemperatureConfig as TemperatureConfig
from lsp.config.replay import ReplayConfig as ReplayConfig
from lsp.config.schema import BelowOne, Count, Natural, Positive
from lsp.config.schema import ConfigError as ConfigError
from lsp.config.stages import GrowthConfig as GrowthConfig

Preset = Literal["modern", "dissertation"]


@dataclass(frozen=True)
class NormalizeConfig:
    """Running statistics."""

    observations: bool = True
    """Networks see (observation - mean) / std, clipped to 10 standard deviations."""
    rewards: bool = False
    """Divide rewards by the standard deviation of the running discounted return."""


@dataclass(frozen=True)
class EvaluationConfig:
    """How a policy is evaluated."""

    every: Natural = 50_000
    """Environment steps between evaluations; 0 turns them off."""
    episodes: Count = 10
    """Episodes of each protocol."""
    max_episode_steps: Count = 10_000
    """Steps after which an episode is cut, where the environment has not ended it before."""
    protocols: tuple[Literal["sampled", "mode", "fixed_latent"], ...] = ("sampled", "mode")
    """A new latent each step; the zero latent (not the density's mode); one latent an episode, as in the study."""


@dataclass(frozen=True)
class Config(stages.LayersConfig):
    """Everything that decides a run."""

    agent: str = "sac_lsp"
    """Which agent to train."""
    preset: Preset = "modern"
    """Where defaults come from: the best we know, or what the study ran."""
    env: str = "lsp/RllabAnt-v0"
    """A Gymnasium id, module:id or module:Class; with goals or without."""
    env_kwargs: str = "{}"
    """Arguments of the environment's constructor, as JSON."""
    steps: Count = 1_000_000
    """Environment steps of the whole run, over all executors."""
    seed: Natural = 0
    """Seed of everything random."""
    gamma: BelowOne = 0.99
    """Discount per step, in [0, 1)."""
    reward_scale: Positive = 1.0
    """Factor on rewards, applied when sampling."""
    n_step: Count = 3
    """Steps summed into one stored reward; at least 1. Beyond 1, the target leaves out the entropy terms of the steps
    between and the policy's change since they were taken: a bias that is cheap at short control steps."""
    utd: Positive = 1.0
    """Updates per collected transition, above 0; 0.25 is one update every fourth step. 1 where steps are dear (a real
    robot, a slow simulator), 0.125 with eight executors where minutes are."""
    block: Count = 8
    """Steps of every executor between two dispatches of updates; acting uses parameters up to this many steps old."""
    warmup_steps: Natural = 5_000
    """Environment steps of uniformly random actions at the start."""
    learning_starts: Natural = 5_000
    """Environment steps before the first update; at least a batch."""
    flow: FlowConfig = field(default_factory=FlowConfig)
    critic: CriticConfig = field(default_factory=CriticConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    temperature: TemperatureConfig = field(default_factory=TemperatureConfig)
    normalize: NormalizeConfig = field(default_factory=NormalizeConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    goals: GoalsConfig = field(default_factory=GoalsConfig)
    executors: ExecutorsConfig = field(default_factory=ExecutorsConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    truncate_stuck: Natural = 0
    """Steps in one place after which an episode of training ends, at least 100: truncated as by a time limit, so that
    targets bootstrap, and begun again. Place is the position where info says one (within 0.3 m), else the observation
    (within 0.01 of every number). Evaluation goes on. 0: off. For bodies that fall and lie; not where standing is
    right."""
    log_every: Count = 1_000
    """Environment steps between two lines of metrics."""
    track: tuple[Literal["none", "tensorboard", "trackio", "wandb"], ...] = ("none",)
    """Where metrics go beside the run's own files; needs the extra `track` (python -m pip install -e '.[track]')."""
    checkpoint_every: Natural = 100_000
    """Environment steps between checkpoints, the first of which comes after ten minutes at the latest; 0 keeps only the
    last."""
    milestone_every: Natural = 500_000
    """Checkpoints at multiples of this many steps are kept for good, without their replay; 0 keeps none."""


StageConfig = NewType("StageConfig", Config)
"""A configuration as one layer trains under it: what `lsp.config.stages.of_stage` makes of that of the whole run.

Its fields are the same, so that only the type checker can tell whether a function was handed the right one.
"""


def dissertation(config: Config) -> Config:
    """`config` with the choices of the study (2018), whose task was rllab's ant."""
    return dataclasses.replace(
        config,
        preset="dissertation",
        reward_scale=10.0,
        n_step=1,
        block=1,
        warmup_steps=0,
        learning_starts=1_000,
        flow=FlowConfig(
            kind="real_nvp",
            hidden_sizes=(0,),
            embedding_sizes=(128, 128, 0),
            activation="tanh",
            separate_nets=True,
            max_log_scale=math.inf,
            zero_init=False,
            bias_std=1.0,
            log_det="approximate",
        ),
        critic=CriticConfig(count=1, layer_norm=False, value_network=True, space="layer", tau=0.01, learning_rate=3e-4),
        policy=PolicyConfig(gradient="likelihood_ratio", q="first", prior="normal", learning_rate=3e-4),
        growth=stages.STUDY,
        temperature=TemperatureConfig(learned=False, initial=1.0),
        normalize=NormalizeConfig(observations=False, rewards=False),
        replay=ReplayConfig(
            priority="td",
            alpha=0.5,
            weights="q",
            beta_updates=10_001_000,
            beta_schedule="epochs",
            policy_batch="same",
        ),
        evaluation=EvaluationConfig(protocols=("fixed_latent", "sampled", "mode")),
    )


LATER = {"critic.huber_delta": 1.0, "truncate_stuck": 0}
"""Fields that runs of earlier versions do not have, and the values under which those ran."""


def validate(config: Config) -> Config:
    """`config`, every value of its field's type. Raises ConfigError, naming the first value that cannot run and why."""
    config = stages.resolve(from_dict(to_dict(config)))
    for name, holds, rule in _relations(config):
        if not holds:
            raise ConfigError(f"{schema.flag(name)}={schema.to_text(schema.flatten(config)[name])}: must be {rule}")
    return config


def _relations(config: Config) -> Iterator[tuple[str, bool, str]]:
    """What no single type can say: a field, whether its value goes with the others, and the rule."""
    batch, count, capacity = config.replay.batch_size, config.executors.count, config.replay.capacity
    yield "env_kwargs", _is_json_object(config.env_kwargs), 'a JSON object such as {"max_episode_steps": 500}'
    yield "replay.capacity", capacity >= batch, f"at least --replay.batch-size={batch}"
    chunk = config.block * count
    yield "replay.capacity", capacity >= chunk, f"at least --block times --executors.count, {chunk}"
    yield from executors.relations(config.executors)
    own_goals = config.goals.kind == "none"
    why = "sync or sync_pipelined with --goals.kind=hindsight"
    yield "executors.mode", own_goals or config.executors.mode != "async", why
    alone = own_goals and config.layers == 1 and not config.from_layers
    queued = config.executors.queue == "as-coded"
    yield "executors.queue", alone or not queued, "none with --layers, --from-layers or --goals.kind"
    first = first_full_batch(config)
    held = f"{executors.QUEUED} transitions that --executors.queue=as-coded holds back, and " * queued
    why = f"{held}the first full batch (--replay.batch-size={batch}, --n-step={config.n_step})"
    yield "learning_starts", config.learning_starts >= first, f"at least {first}, {why}"
    single = config.n_step == 1 or own_goals
    yield "n_step", single, "1 with --goals.kind=hindsight, which relabels single steps"
    rule = f"0, or at least {executors.STILL_STEPS}, the fewest steps in one place that count as motionless"
    yield "truncate_stuck", config.truncate_stuck == 0 or config.truncate_stuck >= executors.STILL_STEPS, rule
    env_reward = set(config.layer_rewards) == {"env"}
    yield "layer_rewards", env_reward or own_goals, "env with --goals.kind=hindsight, which recomputes rewards"
    has_baseline = config.policy.gradient == "pathwise" or config.critic.value_network
    yield from critic.relations(config.critic, config.replay.priority)
    yield from stages.relations(config)
    yield "policy.gradient", has_baseline, "pathwise, or add --critic.value-network, which is its baseline"


def first_full_batch(config: Config) -> int:
    """Environment steps after which replay holds a batch; n-step returns and the study's queue hold some back."""
    held = executors.QUEUED if config.executors.queue == "as-coded" else 0
    return config.replay.batch_size + config.executors.count * (config.n_step - 1) + held


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def to_dict(config: Config) -> dict[str, Any]:
    """JSON values by dotted name; infinity, which JSON lacks, as "inf" or "-inf"."""
    values = schema.flatten(config)
    return {name: str(value) if value in (math.inf, -math.inf) else value for name, value in values.items()}


def from_dict(values: Mapping[str, Any]) -> Config:
    """Inverse of `to_dict`; values may also be text, as on the command line, and those of `LATER` be missing.

    Raises ConfigError.
    """
    values, known = LATER | dict(values), schema.kinds(Config)
    for problem, names in (("unknown", values.keys() - known.keys()), ("missing", known.keys() - values.keys())):
        if names:
            raise ConfigError(f"configuration of another version of lsp? {problem} fields: {', '.join(sorted(names))}")
    return schema.build(Config, values)
