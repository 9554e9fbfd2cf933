"""Configuration: frozen dataclasses, the two presets, validation. No JAX here, so that `--help` stays instant.

Every field is a command-line flag of the same dotted name. Its docstring gives meaning, unit and range; its default is the
`modern` preset. `dissertation` (what the study ran, `spec/study.md` 1.1) is the function `dissertation` at the end.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal

Preset = Literal["modern", "dissertation"]


class ConfigError(ValueError):
    """A configuration that cannot run. The message is one line that names the field and its value."""


@dataclass(frozen=True)
class FlowConfig:
    """One layer of the policy: a conditional real-NVP."""

    num_couplings: int = 2
    """Affine coupling layers, alternating which half of the action they transform; at least 1."""
    hidden_sizes: tuple[int, ...] = (128,)
    """Units of each hidden layer of a coupling's conditioner; 0 stands for the action dimension."""
    embedding_sizes: tuple[int, ...] = (128, 128, 64)
    """Units of the observation embedding; a last 0 stands for twice the action dimension."""
    activation: Literal["relu", "tanh"] = "relu"
    """Activation of the conditioners' hidden layers (the embedding always uses ReLU)."""
    separate_nets: bool = False
    """Scale and shift from two networks, as in the study, instead of one network with two outputs."""
    max_log_scale: float = 2.0
    """Bound m of the log-scale, m*tanh(s/m), in nats; inf leaves it free."""
    zero_init: bool = True
    """Zero the conditioners' last layer, so that a new layer is the identity."""
    bias_std: float = 0.0
    """Standard deviation of the conditioners' and the embedding's initial biases; the study used 1."""
    log_det: Literal["exact", "approximate"] = "exact"
    """Log-determinant of tanh: 2(log 2 - u - softplus(-2u)), or the study's log(1 - tanh(u)^2 + 1e-6)."""


@dataclass(frozen=True)
class CriticConfig:
    """Q networks and, where wanted, a V network."""

    count: int = 2
    """Q networks in the ensemble; at least 1."""
    hidden_sizes: tuple[int, ...] = (128, 128)
    """Units of each hidden layer."""
    layer_norm: bool = True
    """LayerNorm before every ReLU."""
    value_network: bool = False
    """Learn V as well, bootstrap from its Polyak copy, and keep no target Q (SAC of 2018)."""
    space: Literal["env", "layer"] = "env"
    """What Q is a function of: the decoded action in [-1, 1], or the latent that the layer in training puts out."""
    target: Literal["min", "mean"] = "min"
    """How the ensemble's next values are joined in the target."""
    loss: Literal["mse", "huber"] = "mse"
    """Squared error halved, or Huber's with threshold 1 (for `--replay.priority=lap`)."""
    tau: float = 0.005
    """Polyak step of the target network per update, in (0, 1]."""
    learning_rate: float = 1e-3
    """Adam step size of Q and V."""


@dataclass(frozen=True)
class PolicyConfig:
    """How the policy learns."""

    gradient: Literal["pathwise", "likelihood_ratio"] = "pathwise"
    """Gradient through the flow, or log pi times the advantage with V as baseline (needs --critic.value-network)."""
    q: Literal["min", "mean", "first"] = "min"
    """Which value of the ensemble the policy climbs."""
    prior: Literal["uniform", "normal"] = "uniform"
    """Action prior of the bottom layer: uniform, or N(0, I) evaluated at the squashed action, as in the study."""
    learning_rate: float = 1e-3
    """Adam step size."""


@dataclass(frozen=True)
class TemperatureConfig:
    """The weight alpha of the entropy term, in (scaled) reward per nat."""

    learned: bool = True
    """Adjust alpha until the policy's entropy meets the target; otherwise it stays at its initial value."""
    initial: float = 0.1
    """First value of alpha; above 0."""
    target_entropy_per_dim: float = -0.5
    """Target entropy of the action in [-1, 1], in nats per action dimension."""
    learning_rate: float = 3e-4
    """Adam step size of log alpha."""


@dataclass(frozen=True)
class NormalizeConfig:
    """Running statistics."""

    observations: bool = True
    """Networks see (observation - mean) / std, clipped to 10 standard deviations."""
    rewards: bool = False
    """Divide rewards by the standard deviation of the running discounted return."""


@dataclass(frozen=True)
class ReplayConfig:
    """Replay memory on the device."""

    kind: Literal["uniform"] = "uniform"
    """Which rows a batch is drawn from."""
    capacity: int = 1_000_000
    """Rows kept; 4*(2S + A + 2) bytes each."""
    batch_size: int = 128
    """Rows of one update."""


@dataclass(frozen=True)
class ExecutorsConfig:
    """Collection of experience."""

    engine: Literal["inproc"] = "inproc"
    """Where environments live: in the learner's process."""
    count: int = 1
    """Environments stepped together; at least 1."""


@dataclass(frozen=True)
class EvaluationConfig:
    """How a policy is judged."""

    every: int = 25_000
    """Environment steps between evaluations; 0 turns them off."""
    episodes: int = 10
    """Episodes of each protocol."""
    protocols: tuple[Literal["sampled", "mode", "fixed_latent"], ...] = ("sampled", "mode")
    """A new latent each step; the zero latent (not the density's mode); one latent held for the episode, as in the study."""


@dataclass(frozen=True)
class Config:
    """Everything that decides a run."""

    agent: str = "sac_lsp"
    """Which agent of the registry."""
    preset: Preset = "modern"
    """Where defaults come from: the best we know, or what the study ran."""
    env: str = "lsp/RllabAnt-v0"
    """A Gymnasium id, or module:Class."""
    env_kwargs: str = "{}"
    """Arguments of the environment's constructor, as JSON."""
    steps: int = 1_000_000
    """Environment steps of the whole run, over all executors."""
    seed: int = 0
    """Seed of everything random."""
    gamma: float = 0.99
    """Discount per step, in [0, 1)."""
    reward_scale: float = 1.0
    """Factor on rewards, applied when sampling."""
    n_step: int = 1
    """Steps summed into one stored reward; at least 1."""
    utd: float = 1.0
    """Updates per collected transition, above 0; 0.25 is one update every fourth step."""
    block: int = 1
    """Steps of every executor between two dispatches of updates; acting uses parameters up to this many steps old."""
    warmup_steps: int = 5_000
    """Environment steps of uniformly random actions at the start."""
    learning_starts: int = 5_000
    """Environment steps before the first update; at least a batch."""
    flow: FlowConfig = field(default_factory=FlowConfig)
    critic: CriticConfig = field(default_factory=CriticConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    temperature: TemperatureConfig = field(default_factory=TemperatureConfig)
    normalize: NormalizeConfig = field(default_factory=NormalizeConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    executors: ExecutorsConfig = field(default_factory=ExecutorsConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    log_every: int = 1_000
    """Environment steps between two lines of metrics."""
    checkpoint_every: int = 100_000
    """Environment steps between checkpoints; 0 keeps only the last."""
    milestone_every: int = 500_000
    """Checkpoints at multiples of this many steps are kept for good, without their replay; 0 keeps none."""


def dissertation(config: Config) -> Config:
    """The study's choices (`spec/study.md` 1.1 to 1.6), rllab ant."""
    return dataclasses.replace(
        config,
        preset="dissertation",
        reward_scale=10.0,
        warmup_steps=0,
        learning_starts=1_000,
        flow=FlowConfig(
            hidden_sizes=(0,),
            embedding_sizes=(128, 128, 0),
            activation="tanh",
            separate_nets=True,
            max_log_scale=math.inf,
            zero_init=False,
            bias_std=1.0,
            log_det="approximate",
        ),
        critic=CriticConfig(
            count=1, layer_norm=False, value_network=True, space="layer", tau=0.01, learning_rate=3e-4
        ),
        policy=PolicyConfig(gradient="likelihood_ratio", q="first", prior="normal", learning_rate=3e-4),
        temperature=TemperatureConfig(learned=False, initial=1.0),
        normalize=NormalizeConfig(observations=False, rewards=False),
        evaluation=EvaluationConfig(protocols=("fixed_latent", "sampled", "mode")),
    )


def _require(condition: bool, name: str, value: Any, rule: str) -> None:
    if not condition:
        raise ConfigError(f"--{name}={value!r}: must be {rule}")


def validate(config: Config) -> Config:
    """Return `config` unchanged, or raise `ConfigError` in one line naming the field, its value and the rule."""
    for name in ("steps", "n_step", "block", "replay.capacity", "replay.batch_size", "executors.count", "critic.count",
                 "flow.num_couplings", "evaluation.episodes", "log_every"):
        value = _get(config, name)
        _require(value >= 1, name, value, "at least 1")
    for name in ("warmup_steps", "checkpoint_every", "evaluation.every", "seed"):
        value = _get(config, name)
        _require(value >= 0, name, value, "at least 0")
    for name in ("utd", "reward_scale", "temperature.initial", "critic.learning_rate", "policy.learning_rate",
                 "temperature.learning_rate"):
        value = _get(config, name)
        _require(0 < value < math.inf, name, value, "above 0 and finite")
    _require(config.flow.max_log_scale > 0, "flow.max_log_scale", config.flow.max_log_scale, "above 0 (inf: free)")
    _require(0 <= config.gamma < 1, "gamma", config.gamma, "in [0, 1)")
    _require(0 < config.critic.tau <= 1, "critic.tau", config.critic.tau, "in (0, 1]")
    for name in ("flow.hidden_sizes", "flow.embedding_sizes", "critic.hidden_sizes"):
        sizes = _get(config, name)
        _require(len(sizes) > 0 and min(sizes) >= 0, name, sizes, "one or more sizes, none negative")
    _require(min(config.critic.hidden_sizes) > 0, "critic.hidden_sizes", config.critic.hidden_sizes, "sizes above 0")
    _require(config.replay.capacity >= config.replay.batch_size, "replay.capacity", config.replay.capacity,
             f"at least --replay.batch-size={config.replay.batch_size}")
    _require(len(config.evaluation.protocols) > 0, "evaluation.protocols", (), "at least one protocol")
    chunk = config.block * config.executors.count
    _require(config.replay.capacity >= chunk, "replay.capacity", config.replay.capacity,
             f"at least --block times --executors.count, {chunk}")
    likelihood_ratio = config.policy.gradient == "likelihood_ratio"
    _require(not likelihood_ratio or config.critic.value_network, "policy.gradient", config.policy.gradient,
             "pathwise without --critic.value-network: V is the likelihood ratio's baseline")
    return config


def _get(config: Config, dotted: str) -> Any:
    value: Any = config
    for part in dotted.split("."):
        value = getattr(value, part)
    return value
