"""The policy of one layer in training on top of frozen ones: a flow, the frozen stack, and the tanh squash."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lsp import flows, hierarchy
from lsp.types import ActionSample, Array, Flow, Key, Params

LOG_DETS: dict[str, Callable[[Array], Array]] = {
    "exact": flows.tanh_log_det,
    "approximate": flows.approximate_tanh_log_det,
}


class Observed(NamedTuple):
    """An observation as the layer in training sees it, and as the frozen ones do, which normalize it themselves."""

    seen: Array  # f32[..., S] normalized
    raw: Array  # f32[..., S] as the environment gave it


class PolicySample(NamedTuple):
    """An action and its densities, in nats; leading axes free."""

    latent: Array  # f32[..., A] input of the layer in training
    layer_action: Array  # f32[..., A] its output
    env_action: Array  # f32[..., A] in [-1, 1]
    layer_log_prob: Array  # f32[...] log-density of the output that the objective counts: squashed at the bottom layer
    log_prob: Array  # f32[...] log-density of env_action
    log_det: Array  # f32[...] log|det| of the layer in training
    frozen_log_dets: tuple[Array, ...]  # f32[...] those of the layers below it, bottom first


class Policy(NamedTuple):
    """The composed policy as pure functions; `layers` are the frozen parameters below, bottom first."""

    at_latent: Callable[[Params, Sequence[Params], Observed, Array], PolicySample]
    at_layer_action: Callable[[Params, Sequence[Params], Observed, Array], PolicySample]
    decode: Callable[[Sequence[Params], Array, Array], Array]  # of a raw observation, as `random`
    random: Callable[[Sequence[Params], Array, Key], ActionSample]


def make_policy(stack: Sequence[Flow], log_det: str) -> Policy:
    """Compose a policy.

    Args:
      stack: flows, bottom first; the last one is in training.
      log_det: "exact" or "approximate" log-determinant of tanh.
    """
    *below, top = stack
    squash_log_det = LOG_DETS[log_det]

    def describe(
        latent: Array, layer_action: Array, log_det: Array, layers: Sequence[Params], raw: Array
    ) -> PolicySample:
        u, frozen_log_dets = hierarchy.decode_each(below, layers, layer_action, raw)
        layer_log_prob = flows.normal_log_prob(latent) - log_det
        log_prob = layer_log_prob - sum(frozen_log_dets) - squash_log_det(u)
        counted = layer_log_prob if below else log_prob
        return PolicySample(latent, layer_action, jnp.tanh(u), counted, log_prob, log_det, frozen_log_dets)

    def at_latent(params: Params, layers: Sequence[Params], s: Observed, latent: Array) -> PolicySample:
        layer_action, log_det = top.forward_and_log_det(params, latent, s.seen)
        return describe(latent, layer_action, log_det, layers, s.raw)

    def at_layer_action(params: Params, layers: Sequence[Params], s: Observed, layer_action: Array) -> PolicySample:
        latent, inverse_log_det = top.inverse_and_log_det(params, layer_action, s.seen)
        return describe(latent, layer_action, -inverse_log_det, layers, s.raw)

    def decode(layers: Sequence[Params], layer_action: Array, s: Array) -> Array:
        return jnp.tanh(hierarchy.decode(below, layers, layer_action, s)[0])

    def random(layers: Sequence[Params], s: Array, key: Key) -> ActionSample:
        env_action = jax.random.uniform(key, (*s.shape[:-1], top.action_dim), minval=-1.0, maxval=1.0)
        u = jnp.arctanh(jnp.clip(env_action, -0.9999, 0.9999))
        layer_action, _ = hierarchy.encode(below, layers, u, s)
        return ActionSample(jnp.tanh(u), layer_action)

    return Policy(at_latent, at_layer_action, decode, random)


def divergence(sample: PolicySample, upper: bool, prior: str = "uniform") -> Array:
    """log pi - log prior of the layer in training, [...], whose mean is its divergence from the prior in nats.

    An `upper` layer's prior is N(0, I) of its latent; that of the bottom layer's action is `prior`, uniform or normal.
    """
    if upper:
        return sample.layer_log_prob - flows.normal_log_prob(sample.layer_action)
    if prior == "normal":
        return sample.log_prob - flows.normal_log_prob(sample.env_action)
    return sample.log_prob + sample.env_action.shape[-1] * math.log(2.0)
