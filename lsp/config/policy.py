"""Configuration of the policy: its flow, how it learns, its temperature; sections of `lsp.config`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lsp.config.registries import FLOWS
from lsp.config.schema import AtLeastTwo, Count, Natural, NonNegative, Positive, PositiveOrInf

if TYPE_CHECKING:
    FlowName = str
else:  # a type checker cannot know the choices that a registry makes
    FlowName = Literal[tuple(FLOWS)]


@dataclass(frozen=True)
class FlowConfig:
    """One layer of the policy: a stack of couplings, conditioned on the observation."""

    kind: FlowName = "real_nvp"
    """What a coupling does to each dimension: scale and shift it, or bend it by a rational-quadratic spline."""
    num_couplings: Count = 2
    """Coupling layers, alternating which half of the action they transform; at least 1."""
    hidden_sizes: tuple[Natural, ...] = (32,)
    """Units of each hidden layer of a coupling's conditioner; 0 stands for the action dimension."""
    embedding_sizes: tuple[Natural, ...] = (128, 128, 16)
    """Units of the observation embedding; a last 0 stands for twice the action dimension."""
    activation: Literal["relu", "tanh"] = "relu"
    """Activation of the conditioners' hidden layers (the embedding always uses ReLU)."""
    separate_nets: bool = False
    """Scale and shift (widths, heights and slopes of a spline) each from a network of its own, as in the study, instead
    of from one network with all outputs."""
    max_log_scale: PositiveOrInf = 2.0
    """Bound m of the log-scale, m*tanh(s/m), in nats, and of all that describes a spline; inf leaves them free."""
    num_bins: AtLeastTwo = 8
    """spline: pieces of a dimension's spline; at least 2."""
    tail_bound: Positive = 5.0
    """spline: b; splines map [-b, b] to itself, and are the identity outside."""
    zero_init: bool = True
    """Zero the conditioners' last layer, so that a new layer is the identity."""
    bias_std: NonNegative = 0.0
    """Standard deviation of the conditioners' and the embedding's initial biases; the study used 1."""
    log_det: Literal["exact", "approximate"] = "exact"
    """Log-determinant of tanh: 2(log 2 - u - softplus(-2u)), or the study's log(1 - tanh(u)^2 + 1e-6)."""
    linear_embedding: bool = False
    """No ReLU after the observation embedding's last layer."""


@dataclass(frozen=True)
class PolicyConfig:
    """How the policy learns."""

    gradient: Literal["pathwise", "likelihood_ratio"] = "pathwise"
    """Gradient through the flow, or log pi times the advantage with V as baseline (needs --critic.value-network)."""
    q: Literal["min", "mean", "first"] = "min"
    """Which value of the ensemble the policy climbs."""
    prior: Literal["uniform", "normal"] = "uniform"
    """Action prior of the bottom layer: uniform, or N(0, I) evaluated at the squashed action, as in the study."""
    learning_rate: Positive = 3e-4
    """Adam step size."""


@dataclass(frozen=True)
class TemperatureConfig:
    """The weight alpha of the entropy term, in (scaled) reward per nat."""

    learned: bool = True
    """Adjust alpha until the policy's entropy meets the target; otherwise it stays at its initial value."""
    initial: Positive = 0.1
    """First value of alpha; above 0."""
    target_entropy_per_dim: float = -0.5
    """Target entropy of the action in [-1, 1], in nats per action dimension."""
    learning_rate: Positive = 3e-4
    """Adam step size of log alpha."""
