"""Conditional real-NVP flows.

Dinh et al. (2017), arXiv 1605.08803, Eq. 4 to 8; as a policy: Haarnoja et al. (2018), arXiv 1804.02808.
"""

import math
from collections.abc import Sequence

import distrax
import flax.linen as nn
import jax.numpy as jnp

from lsp.networks import MLP, Conditioner
from lsp.types import Array, Flow, Key, Params


class RealNVP(nn.Module):
    """Affine couplings over halves of the action, conditioned on an embedding of the observation.

    Coupling i leaves one half y_a alone and maps the other, with (t, s) = conditioner(y_a, embedding(observation)):

        forward  y_b -> y_b * exp(s) + t,        log|det| = sum(s)
        inverse  y_b -> (y_b - t) * exp(-s),     log|det| = -sum(s)

    and s bounded as m*tanh(s/m) where `max_log_scale` m is finite. Even couplings transform the first half, odd ones
    the second (of 1 dimension: every coupling transforms it).
    """

    action_dim: int
    num_couplings: int
    hidden_sizes: Sequence[int]
    embedding_sizes: Sequence[int]
    max_log_scale: float
    zero_init: bool
    activation: str
    separate_nets: bool
    bias_std: float
    embedding_activate_last: bool

    @nn.compact
    def __call__(self, values: Array, observation: Array, inverse: bool = False) -> tuple[Array, Array]:
        """Map [..., A] forward or back, given [..., S]; returns ([..., A], log|det| [...])."""
        embedding = MLP(
            self.embedding_sizes, bias_std=self.bias_std, activate_last=self.embedding_activate_last, name="embedding"
        )(observation)
        # Chain applies its last element first.
        chain = distrax.Chain([self._coupling(i, embedding) for i in reversed(range(self.num_couplings))])
        return chain.inverse_and_log_det(values) if inverse else chain.forward_and_log_det(values)

    def _coupling(self, i: int, embedding: Array) -> distrax.Bijector:
        first_half = self.action_dim // 2
        transforms_first = i % 2 == 0 and first_half > 0
        conditioner = Conditioner(
            first_half if transforms_first else self.action_dim - first_half,
            self.hidden_sizes,
            self.activation,
            self.separate_nets,
            self.zero_init,
            self.bias_std,
            name=f"coupling_{i}",
        )
        return distrax.SplitCoupling(
            split_index=first_half,
            event_ndims=1,
            conditioner=lambda untouched: conditioner(untouched, embedding),
            bijector=self._affine,
            swap=transforms_first,
        )

    def _affine(self, shift_and_log_scale: tuple[Array, Array]) -> distrax.Bijector:
        shift, log_scale = shift_and_log_scale
        if math.isfinite(self.max_log_scale):
            log_scale = self.max_log_scale * jnp.tanh(log_scale / self.max_log_scale)
        return distrax.ScalarAffine(shift=shift, log_scale=log_scale)


def make_real_nvp(
    observation_dim: int,
    action_dim: int,
    *,
    num_couplings: int = 2,
    hidden_sizes: Sequence[int] = (32,),
    embedding_sizes: Sequence[int] = (128, 128, 16),
    max_log_scale: float = 2.0,
    zero_init: bool = True,
    activation: str = "relu",
    separate_nets: bool = False,
    bias_std: float = 0.0,
    embedding_activate_last: bool = True,
) -> Flow:
    """A conditional real-NVP as pure functions over any leading axes.

    Args:
      observation_dim: S, at least 1.
      action_dim: A, at least 1; odd dimensions split into floor and ceil.
      num_couplings: affine couplings, at least 1.
      hidden_sizes: units of a conditioner's hidden layers; 0 stands for A.
      embedding_sizes: units of the observation's embedding; 0 stands for 2A.
      max_log_scale: bound of the log-scale in nats; `math.inf` leaves it free.
      zero_init: start as the identity.
      activation: "relu" or "tanh", of the conditioners' hidden layers.
      separate_nets: scale and shift by two networks.
      bias_std: standard deviation of initial biases.
      embedding_activate_last: ReLU after the embedding's last layer too (the study's upper layers are linear there).

    Returns:
      A `Flow`, whose parameters are one layer's.

    Raises:
      ValueError: a size out of range.
    """
    if min(observation_dim, action_dim, num_couplings) < 1:
        raise ValueError(f"make_real_nvp: {observation_dim=}, {action_dim=} and {num_couplings=} must be at least 1")
    module = RealNVP(
        action_dim,
        num_couplings,
        tuple(size or action_dim for size in hidden_sizes),
        tuple(size or 2 * action_dim for size in embedding_sizes),
        max_log_scale,
        zero_init,
        activation,
        separate_nets,
        bias_std,
        embedding_activate_last,
    )

    def init(key: Key) -> Params:
        return module.init(key, jnp.zeros(action_dim), jnp.zeros(observation_dim))["params"]

    def forward_and_log_det(params: Params, latent: Array, observation: Array) -> tuple[Array, Array]:
        return module.apply({"params": params}, latent, observation)

    def inverse_and_log_det(params: Params, action: Array, observation: Array) -> tuple[Array, Array]:
        return module.apply({"params": params}, action, observation, inverse=True)

    return Flow(init, forward_and_log_det, inverse_and_log_det, action_dim)
