"""Conditional real-NVP flows: affine couplings.

Dinh et al. (2017), arXiv 1605.08803, Eq. 4 to 8; as a policy: Haarnoja et al. (2018), arXiv 1804.02808.
"""

from collections.abc import Sequence
from typing import Any, Literal

import distrax

from lsp.config import FlowConfig
from lsp.flows import coupling
from lsp.types import Array, Flow

OUTPUTS = {"shift": 1, "log_scale": 1}  # of a conditioner, for each dimension


def make(config: FlowConfig, observation_dim: int, action_dim: int) -> Flow:
    """Affine couplings: each scales and shifts one half of the vector, given the other half and the observation.

        forward  y -> y * exp(s) + t,        log|det| = sum(s)
        inverse  y -> (y - t) * exp(-s),     log|det| = -sum(s)

    with (t, s) a network's outputs, s bounded as m*tanh(s/m) where `max_log_scale` m is finite. Zero outputs are the
    identity.
    """

    def affine(shift: Array, log_scale: Array) -> distrax.Bijector:
        return distrax.ScalarAffine(shift=shift, log_scale=coupling.bounded(log_scale, config.max_log_scale))

    return coupling.make_flow(config, observation_dim, action_dim, OUTPUTS, affine)


def describe(config: FlowConfig) -> dict[str, Any]:
    """The options that `lsp.numpy_policy` needs, as JSON values."""
    return coupling.describe(config, OUTPUTS)


def make_real_nvp(
    observation_dim: int,
    action_dim: int,
    *,
    num_couplings: int = 2,
    hidden_sizes: Sequence[int] = (32,),
    embedding_sizes: Sequence[int] = (128, 128, 16),
    max_log_scale: float = 2.0,
    zero_init: bool = True,
    activation: Literal["relu", "tanh"] = "relu",
    separate_nets: bool = False,
    bias_std: float = 0.0,
    embedding_activate_last: bool = True,
) -> Flow:
    """`make` with its options as arguments, for a notebook.

    Args:
      observation_dim: S, at least 1.
      action_dim: A, at least 1; odd dimensions split into floor and ceil.
      num_couplings: affine couplings, at least 1.
      hidden_sizes: units of a conditioner's hidden layers; 0 stands for A.
      embedding_sizes: units of the observation's embedding; 0 stands for 2A.
      max_log_scale: bound of the log-scale in nats; `math.inf` leaves it free.
      zero_init: start as the identity.
      activation: of the conditioners' hidden layers.
      separate_nets: scale and shift by two networks.
      bias_std: standard deviation of initial biases.
      embedding_activate_last: ReLU after the embedding's last layer too (the study's upper layers are linear there).

    Returns:
      A `Flow`, whose parameters are one layer's.

    Raises:
      ValueError: a size out of range.
    """
    config = FlowConfig(
        kind="real_nvp",
        num_couplings=num_couplings,
        hidden_sizes=tuple(hidden_sizes),
        embedding_sizes=tuple(embedding_sizes),
        max_log_scale=max_log_scale,
        zero_init=zero_init,
        activation=activation,
        separate_nets=separate_nets,
        bias_std=bias_std,
        linear_embedding=not embedding_activate_last,
    )
    return make(config, observation_dim, action_dim)
