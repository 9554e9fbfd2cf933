"""A stack of flow layers: decode latents to actions, encode actions to latents.

Layer 0 is at the bottom: its action is what tanh squashes into the environment's [-1, 1]. The action of layer i is the
latent of layer i-1. Every layer is a bijection for a fixed observation, so a stack is one too, and nothing the agent
could do is lost. Haarnoja et al. (2018), arXiv 1804.02808, Section 4.

A layer that was trained on normalized observations is frozen together with the statistics of that moment (`freeze`):
they are part of its parameters, and a stack of frozen layers is handed the observation as the environment gave it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax.lax import stop_gradient

from lsp import normalizers
from lsp.types import Array, Flow, Params


class Frozen(NamedTuple):
    """Parameters of a frozen layer."""

    params: Params  # of its flow
    observation_stats: normalizers.Moments  # of [S], as they stood when it was frozen


def freeze(flow: Flow, observation_dim: int, normalized: bool) -> Flow:
    """A flow that learns no more: its parameters are a `Frozen`, and it sees raw observations.

    Args:
      flow: the layer as it was trained.
      observation_dim: S of its training. Of a longer observation it sees the first S numbers, as where a task appends
        its goal.
      normalized: whether it was trained on normalized observations.

    Returns:
      The same bijection. Gradient: to latents and actions, none to the parameters.
    """

    def view(frozen: Frozen, observation: Array) -> Array:
        seen = observation[..., :observation_dim]
        return normalizers.normalize(frozen.observation_stats, seen) if normalized else seen

    def forward_and_log_det(frozen: Frozen, latent: Array, observation: Array) -> tuple[Array, Array]:
        fixed = stop_gradient(frozen)
        return flow.forward_and_log_det(fixed.params, latent, view(fixed, observation))

    def inverse_and_log_det(frozen: Frozen, action: Array, observation: Array) -> tuple[Array, Array]:
        fixed = stop_gradient(frozen)
        return flow.inverse_and_log_det(fixed.params, action, view(fixed, observation))

    return Flow(
        lambda key: Frozen(flow.init(key), normalizers.init((observation_dim,))),
        forward_and_log_det,
        inverse_and_log_det,
        flow.action_dim,
    )


def grow(
    flows: Sequence[Flow], layers: Sequence[Params], frozen_flow: Flow, frozen: Frozen
) -> tuple[tuple[Flow, ...], tuple[Params, ...]]:
    """Put the layer that was trained last, now frozen, on top of those below; returns the taller stack.

    A new layer in training then acts in its latent space: `decode` through the result is what its action means.
    """
    return (*flows, frozen_flow), (*layers, frozen)


def decode(flows: Sequence[Flow], layers: Sequence[Params], latent: Array, observation: Array) -> tuple[Array, Array]:
    """Map the top latent down through every layer.

        u = f_0(... f_{L-1}(h; s) ...; s),     log|det du/dh| = sum of the layers'

    Args:
      flows: bottom layer first.
      layers: their parameters, in the same order; may be empty (the identity).
      latent: [..., A].
      observation: [..., S].

    Returns:
      action [..., A] before tanh, and log|det| [...] in nats.
    """
    action, log_dets = decode_each(flows, layers, latent, observation)
    return action, sum(log_dets, start=jnp.zeros(latent.shape[:-1]))


def decode_each(
    flows: Sequence[Flow], layers: Sequence[Params], latent: Array, observation: Array
) -> tuple[Array, tuple[Array, ...]]:
    """`decode`, with the log|det| [...] of every layer, bottom first."""
    log_dets: tuple[Array, ...] = ()
    for flow, params in reversed(list(zip(flows, layers, strict=True))):
        latent, log_det = flow.forward_and_log_det(params, latent, observation)
        log_dets = (log_det, *log_dets)
    return latent, log_dets


def encode(flows: Sequence[Flow], layers: Sequence[Params], action: Array, observation: Array) -> tuple[Array, Array]:
    """Inverse of `decode`: the top latent that yields `action` [..., A] (before tanh), and log|det dh/du| [...]."""
    total = jnp.zeros(action.shape[:-1])
    for flow, params in zip(flows, layers, strict=True):
        action, log_det = flow.inverse_and_log_det(params, action, observation)
        total = total + log_det
    return action, total
