"""The part of a configuration that says what critics are; see `lsp.config`, which has the rest."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lsp.config.registries import CRITICS
from lsp.config.schema import AtLeastTwo, Count, Extended, Fraction, Positive, to_text

if TYPE_CHECKING:
    CriticName = str
else:  # a type checker cannot know the choices that a registry makes
    CriticName = Literal[tuple(CRITICS)]

WARN_ABOVE = 1e-3  # of probability at the edges of the support, or beyond them


@dataclass(frozen=True)
class CriticConfig:
    """Q networks and, where wanted, a V network."""

    kind: CriticName = "scalar"
    """Predict the expected soft return, or its distribution on fixed atoms (num-atoms to logit-scale are of these)."""
    num_atoms: AtLeastTwo = 101
    """Atoms of the distribution; 2 or more."""
    support: Literal["adaptive", "even", "symexp"] = "adaptive"
    """Spacing of atoms: even, and doubled, from v-min and v-max on, whenever more than 0.001 of probability was on the
    edges for a while, which suits any scale of rewards; or even; or fine near zero and growing with the return."""
    v_min: float = -5.0
    """First atom, in scaled reward; unless adaptive, below the least discounted return, entropy terms included."""
    v_max: float = 5.0
    """Last atom, in scaled reward; unless adaptive, above the largest discounted return, entropy terms included."""
    distribution_target: Literal["soft", "hl_gauss", "as_written"] = "soft"
    """What the distribution is fitted to: the projected distribution of the soft return, by cross-entropy; its mean,
    smeared by a normal (HL-Gauss, needs even atoms); or the study's Equations 3.1 and 3.2 to the letter, which learn
    nothing."""
    logit_scale: Positive = 0.1
    """Logits a unit of the critics' last layers. Adam moves weights by its step size whatever the unit of the loss: a
    small part of a return of some hundreds, a large one of logits around 5. Below 1, last layers move logits less."""
    count: Count = 2
    """Q networks in the ensemble; at least 1."""
    hidden_sizes: tuple[Count, ...] = (128, 128)
    """Units of each hidden layer."""
    layer_norm: bool = True
    """LayerNorm before every ReLU."""
    value_network: bool = False
    """Learn V as well, bootstrap from its Polyak copy, and keep no target Q (SAC of 2018)."""
    space: Literal["env", "layer"] = "env"
    """What Q is a function of: the decoded action in [-1, 1], or the latent that the layer in training puts out."""
    target: Literal["min", "mean", "independent", "cdf_max"] = "min"
    """How the ensemble's next values are joined in the target. Of distributions, min takes that of the smaller mean,
    mean the mixture; each critic's own, and the largest distribution function, are choices of categorical critics
    only."""
    target_min: Extended = -math.inf
    """Least target of scalar critics, in scaled reward: where rewards are -1 and 0, -1 / (1 - gamma), as in hindsight's
    first code; -inf clips nothing."""
    target_max: Extended = math.inf
    """Greatest target of scalar critics, in scaled reward: where rewards are -1 and 0, 0; inf clips nothing."""
    loss: Literal["mse", "huber"] = "mse"
    """Of scalar critics: squared error halved, or Huber's, which is linear beyond huber-delta."""
    huber_delta: Positive = 1.0
    """TD error from which Huber's loss is linear, in scaled reward, and below which --replay.priority=lap makes no
    difference between transitions. The larger, the nearer to squared error: on the study's ant 9 of 10 errors exceed
    1."""
    tau: Fraction = 0.005
    """Polyak step of the target network per update, in (0, 1]."""
    learning_rate: Positive = 3e-4
    """Adam step size of Q and V."""


def relations(critic: CriticConfig, priority: str) -> Iterator[tuple[str, bool, str]]:
    """What no single type can say: a field, whether its value goes with the others, and the rule.

    `priority` is replay's.
    """
    categorical = critic.kind == "categorical"
    rule = f"above --critic.target-min={to_text(critic.target_min)}"
    yield "critic.target_max", critic.target_min < critic.target_max, rule
    unclipped = (critic.target_min, critic.target_max) == (-math.inf, math.inf)
    rule = "-inf, as --critic.target-max inf, with --critic.kind=categorical, which clips to its atoms"
    yield "critic.target_min", unclipped or not categorical, rule
    yield "critic.v_max", critic.v_min < critic.v_max, f"above --critic.v-min={to_text(critic.v_min)}"
    plain = critic.target in ("min", "mean")
    yield "critic.target", categorical or plain, "min or mean, or add --critic.kind=categorical"
    even = critic.distribution_target != "hl_gauss" or critic.support != "symexp"
    yield "critic.support", even, "even or adaptive with --critic.distribution-target=hl_gauss"
    rule = "0 or less, and --critic.v-max 0 or more, with --critic.support=adaptive"
    yield "critic.v_min", critic.support != "adaptive" or critic.v_min <= 0 <= critic.v_max, rule
    adapts = critic.distribution_target != "as_written" or critic.support != "adaptive"
    rule = "even or symexp with --critic.distribution-target=as_written, which has no use for returns"
    yield "critic.support", adapts, rule
    yield "replay.priority", categorical or priority != "kl", "td or lap, or add --critic.kind=categorical"


def support_warning(metrics: Mapping[str, Any]) -> str | None:
    """What to tell a person whose support is too small for the returns, if it is."""
    edge, clipped = metrics.get("edge_mass", 0.0), metrics.get("clip_rate", 0.0)
    if "support_scale" in metrics or max(edge, clipped) <= WARN_ABOVE:  # an adaptive support widens itself
        return None
    return (
        f"the critics' support is too small: {edge:.1%} of the predicted distribution is on its edges and "
        f"{clipped:.1%} of the targets' beyond; widen --critic.v-min and --critic.v-max"
    )
