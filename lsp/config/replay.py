"""Configuration of replay; a section of `lsp.config`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lsp.config.critic import CriticConfig
from lsp.config.registries import REPLAYS
from lsp.config.schema import Count, NonNegative, Positive, UpToOne

if TYPE_CHECKING:
    ReplayName = str
else:  # a type checker cannot know the choices that a registry makes
    ReplayName = Literal[tuple(REPLAYS)]


@dataclass(frozen=True)
class ReplayConfig:
    """Replay memory on the device."""

    kind: ReplayName = "uniform"
    """How transitions are drawn; all below batch-size is of prioritized replay."""
    capacity: Count = 1_000_000
    """Transitions kept; 4*(2S + A + 2) bytes each, and if prioritized some 6 more (by rank 14)."""
    batch_size: Count = 128
    """Transitions of one update."""
    scheme: Literal["proportional", "rank"] = "proportional"
    """Draw in proportion to priority^alpha, or to rank^-alpha, where rank 1 has the largest TD error."""
    priority: Literal["td", "lap", "kl"] = "lap"
    """Of the proportional scheme: |TD error| + epsilon; max(|TD error|, threshold), which goes with
    --critic.loss=huber; or, with categorical critics, the divergence of prediction from target distribution in nats +
    epsilon."""
    alpha: UpToOne = 0.4
    """How much priorities count, in [0, 1]; 0 draws uniformly."""
    epsilon: Positive = 1e-6
    """Added to |TD error|, so that every transition may be drawn again."""
    initial: Literal["max", "td"] = "max"
    """Priority of new transitions: the current maximum, or their own TD error, up to the current maximum."""
    weights: Literal["auto", "all", "q", "none"] = "auto"
    """Importance weights on the losses of critics, V and policy, as far as their states are drawn by priority; on that
    of Q alone, as in the study; or on none, which teaches wrong means unless the loss makes up for the priorities. That
    does Huber's loss for lap alone, and auto is none there and else all."""
    beta: NonNegative = 0.4
    """First exponent of importance weights; 1 corrects the draw in full."""
    beta_final: NonNegative = 1.0
    """Last exponent of importance weights."""
    beta_updates: Count = 1_000_000
    """Updates from the first exponent to the last."""
    beta_schedule: Literal["steps", "epochs"] = "steps"
    """Change the exponent after every update, or after every 1000."""
    beta_bug: bool = False
    """The exponent as the study's code had it: after 1000 updates, and for ever, some 1 too large."""
    policy_batch: Literal["same", "uniform"] = "uniform"
    """States of the policy loss (and V's): those of the batch, or drawn uniformly."""
    rank_refresh: Count = 10_000
    """Updates between two sorts of all transitions, of the rank scheme; in between, ranks are approximate."""


def weights_of(replay: ReplayConfig, critic: CriticConfig) -> Literal["all", "q", "none"]:
    """Which losses importance weights are on, with `auto` decided.

    LAP's priorities max(|TD|, d)^alpha with Huber's loss of threshold d have the expected gradient of another loss
    under uniform draws, |TD|^(1 + alpha) beyond d, and need no weights. Every other draw by priority moves what is
    learned: with y = 0 (90 %) or 10 (10 %) and alpha = 0.4, squared error learns 1.72 instead of 1.

    Source: Fujimoto et al. (2020), arXiv 2007.06049, Theorem 1 and Corollary 1.
    """
    if replay.weights != "auto":
        return replay.weights
    lap = replay.scheme == "proportional" and replay.priority == "lap"
    return "none" if lap and critic.kind == "scalar" and critic.loss == "huber" else "all"
