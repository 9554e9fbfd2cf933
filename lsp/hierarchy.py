"""A stack of flow layers: decode latents to actions, encode actions to latents.

Layer 0 is at the bottom: its action is what tanh squashes into the environment's [-1, 1]. The action of layer i is the
latent of layer i-1. Every layer is a bijection for a fixed observation, so a stack is one too, and nothing the agent
could do is lost. Haarnoja et al. (2018), arXiv 1804.02808, Section 4.
"""

from collections.abc import Sequence

import jax.numpy as jnp

from lsp.types import Array, Flow, Params


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
    total = jnp.zeros(latent.shape[:-1])
    for flow, params in reversed(list(zip(flows, layers, strict=True))):
        latent, log_det = flow.forward_and_log_det(params, latent, observation)
        total = total + log_det
    return latent, total


def encode(flows: Sequence[Flow], layers: Sequence[Params], action: Array, observation: Array) -> tuple[Array, Array]:
    """Inverse of `decode`: the top latent that yields `action` [..., A] (before tanh), and log|det dh/du| [...]."""
    total = jnp.zeros(action.shape[:-1])
    for flow, params in zip(flows, layers, strict=True):
        action, log_det = flow.inverse_and_log_det(params, action, observation)
        total = total + log_det
    return action, total
