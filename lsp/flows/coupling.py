"""What flows of couplings share: the observation's embedding, the conditioners, and the halves' alternation.

A kind of flow (`real_nvp`, `spline`) says what bijector transforms one dimension, and how many numbers describe it.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import distrax
import flax.linen as nn
import jax.numpy as jnp

from lsp.config import FlowConfig
from lsp.networks import MLP, Conditioner
from lsp.types import Array, Flow, Key, Params


class CouplingStack(nn.Module):
    """Couplings over halves of the action, conditioned on an embedding of the observation.

    Coupling i leaves one half y_a alone and maps the other by an elementwise bijection g:

        y_b -> g(y_b; conditioner(y_a, embedding(observation))),        log|det| = sum log|g'(y_b)|

    Even couplings transform the first half, odd ones the second (of 1 dimension: every coupling transforms it).
    """

    config: FlowConfig
    action_dim: int
    outputs: Mapping[str, int]  # what a conditioner says of each dimension: names, and how many numbers
    bijector: Callable[..., distrax.Bijector]  # g, from the outputs, each [..., dimensions * numbers]

    @nn.compact
    def __call__(self, values: Array, observation: Array, inverse: bool = False) -> tuple[Array, Array]:
        """Map [..., A] forward or back, given [..., S]; returns ([..., A], log|det| [...])."""
        config = self.config
        embedding = MLP(
            [size or 2 * self.action_dim for size in config.embedding_sizes],
            bias_std=config.bias_std,
            activate_last=not config.linear_embedding,
            name="embedding",
        )(observation)
        # Chain applies its last element first.
        chain = distrax.Chain([self._coupling(i, embedding) for i in reversed(range(config.num_couplings))])
        return chain.inverse_and_log_det(values) if inverse else chain.forward_and_log_det(values)

    def _coupling(self, i: int, embedding: Array) -> distrax.Bijector:
        config, first_half = self.config, self.action_dim // 2
        transforms_first = i % 2 == 0 and first_half > 0
        size = first_half if transforms_first else self.action_dim - first_half
        conditioner = Conditioner(
            tuple((name, size * numbers) for name, numbers in self.outputs.items()),
            [size or self.action_dim for size in config.hidden_sizes],
            config.activation,
            config.separate_nets,
            config.zero_init,
            config.bias_std,
            name=f"coupling_{i}",
        )
        return distrax.SplitCoupling(
            split_index=first_half,
            event_ndims=1,
            conditioner=lambda untouched: conditioner(untouched, embedding),
            bijector=lambda outputs: self.bijector(*outputs),
            swap=transforms_first,
        )


def make_flow(
    config: FlowConfig,
    observation_dim: int,
    action_dim: int,
    outputs: Mapping[str, int],
    bijector: Callable[..., distrax.Bijector],
) -> Flow:
    """A stack of couplings as pure functions over any leading axes.

    Args:
      config: number of couplings, networks, how parameters start.
      observation_dim: S, at least 1.
      action_dim: A, at least 1; odd dimensions split into floor and ceil.
      outputs: what a conditioner says of each dimension: names, and how many numbers.
      bijector: from these outputs, each [..., dimensions * numbers], an elementwise bijection of [..., dimensions].

    Returns:
      A `Flow`, whose parameters are one layer's.

    Raises:
      ValueError: a size out of range.
    """
    if min(observation_dim, action_dim, config.num_couplings) < 1:
        sizes = f"{observation_dim=}, {action_dim=} and num_couplings={config.num_couplings}"
        raise ValueError(f"a flow of couplings: {sizes} must be at least 1")
    module = CouplingStack(config, action_dim, outputs, bijector)

    def init(key: Key) -> Params:
        return module.init(key, jnp.zeros(action_dim), jnp.zeros(observation_dim))["params"]

    def forward_and_log_det(params: Params, latent: Array, observation: Array) -> tuple[Array, Array]:
        return module.apply({"params": params}, latent, observation)

    def inverse_and_log_det(params: Params, action: Array, observation: Array) -> tuple[Array, Array]:
        return module.apply({"params": params}, action, observation, inverse=True)

    return Flow(init, forward_and_log_det, inverse_and_log_det, action_dim)


def bounded(outputs: Array, bound: float) -> Array:
    """m*tanh(x/m), in [-m, m]; x itself where the bound m is infinite."""
    return bound * jnp.tanh(outputs / bound) if math.isfinite(bound) else outputs


def describe(config: FlowConfig, outputs: Mapping[str, int]) -> dict[str, Any]:
    """What `lsp.numpy_policy` must know of the embedding and the conditioners, as JSON values."""
    return {
        "outputs": dict(outputs),
        "num_couplings": config.num_couplings,
        "activation": config.activation,
        "separate_nets": config.separate_nets,
        "max_log_scale": str(config.max_log_scale),  # JSON has no infinity
        "embedding_activate_last": not config.linear_embedding,
    }
