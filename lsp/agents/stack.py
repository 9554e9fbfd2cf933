"""Layers as configurations describe them: flows, and frozen layers that can be rebuilt."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lsp import hierarchy
from lsp.agents import learner
from lsp.config import ConfigError, FlowConfig, schema
from lsp.flows.registry import make_flow
from lsp.hierarchy import Frozen
from lsp.types import Array, EnvSpec, Flow, Params, Transition

TOLERANCE = 1e-3  # of environment actions: how well a latent must give a stored one back

Encode = Callable[[Sequence[Frozen], Transition], tuple[Transition, Array]]


class Layer(NamedTuple):
    """A frozen layer that can be rebuilt in another run."""

    config: FlowConfig
    spec: EnvSpec  # of its training
    normalized: bool  # whether it sees normalized observations
    values: Frozen  # flat parameters f32[P] and statistics


def frozen_flow(config: FlowConfig, spec: EnvSpec, normalized: bool) -> Flow:
    """A frozen layer's flow; its parameters are one vector, so that few leaves cross the jit boundary."""
    flow = make_flow(config, spec)
    flat = learner.make_flat_params(lambda key: {"policy": flow.init(key)})

    def params_of(vector: Params) -> Params:
        return flat.unravel(vector)["policy"]

    def forward_and_log_det(vector: Params, latent: Array, observation: Array) -> tuple[Array, Array]:
        return flow.forward_and_log_det(params_of(vector), latent, observation)

    def inverse_and_log_det(vector: Params, action: Array, observation: Array) -> tuple[Array, Array]:
        return flow.inverse_and_log_det(params_of(vector), action, observation)

    flat_flow = Flow(flat.init, forward_and_log_det, inverse_and_log_det, flow.action_dim)
    return hierarchy.freeze(flat_flow, spec.observation_dim, normalized)


def flows_of(layers: Sequence[Layer]) -> list[Flow]:
    """The flows of frozen layers, bottom first; their parameters are the layers' `values`."""
    return [frozen_flow(layer.config, layer.spec, layer.normalized) for layer in layers]


def make_encode(max_latent: float, layers: Sequence[Layer]) -> Encode:
    """How rows collected under all but the last of `layers` read to a layer above them all.

    Args:
      max_latent: largest number in a latent that can be used.
      layers: frozen ones, bottom first; at least one.

    Returns:
      A function of the layers' values and of rows [n, ...], whose actions the last layer put out. It returns the rows
      with the latents that yield them, and whether each can be used, bool[n]: the latent is finite, not too large, and
      gives the environment's action back to within `TOLERANCE`. An unusable one is zero.
    """
    flows = flows_of(layers)

    def encode(values: Sequence[Frozen], rows: Transition) -> tuple[Transition, Array]:
        s = rows.observation
        latent, _ = flows[-1].inverse_and_log_det(values[-1], rows.action, s)
        u, _ = hierarchy.decode(flows[:-1], values[:-1], rows.action, s)
        again, _ = hierarchy.decode(flows, values, latent, s)
        exact = jnp.max(jnp.abs(jnp.tanh(again) - jnp.tanh(u)), axis=-1) <= TOLERANCE  # false of NaN
        small = jnp.max(jnp.abs(latent), axis=-1) <= max_latent
        usable = exact & small & jnp.all(jnp.isfinite(latent), axis=-1)
        return rows._replace(action=jnp.where(usable[..., None], latent, 0.0)), usable

    return encode


def check(layers: Sequence[Layer], spec: EnvSpec, prefix_observation: bool, source: str) -> None:
    """Raise ConfigError, in one line, unless the layers can lie below one for environments of the given sizes."""
    for layer in layers:
        observations, actions = layer.spec.observation_dim, layer.spec.action_dim
        if actions != spec.action_dim:
            raise ConfigError(
                f"{source}: its layers have {actions} actions and this environment has {spec.action_dim}: choose "
                "layers of the same body"
            )
        if observations == spec.observation_dim or (prefix_observation and observations < spec.observation_dim):
            continue
        remedy = "choose layers of this task"
        if observations < spec.observation_dim:
            remedy += ", or let them see the first ones with --growth.prefix-observation"
        raise ConfigError(
            f"{source}: its layers see observations of {observations} numbers and this environment has "
            f"{spec.observation_dim}: {remedy}"
        )


def describe(layer: Layer) -> dict[str, Any]:
    """All of a layer but its values, as JSON values."""
    flow = {name: "inf" if value == float("inf") else value for name, value in schema.flatten(layer.config).items()}
    sizes = {"observation_dim": layer.spec.observation_dim, "action_dim": layer.spec.action_dim}
    return {"flow": flow, **sizes, "normalized": layer.normalized}


def from_description(record: dict[str, Any]) -> Layer:
    """Inverse of `describe`, with zeros for values. Raises ConfigError, KeyError or TypeError of a broken record."""
    # An older version wrote fewer fields, and had flows of one kind.
    config = schema.build(FlowConfig, schema.flatten(FlowConfig(kind="real_nvp")) | record["flow"])
    spec = EnvSpec(int(record["observation_dim"]), int(record["action_dim"]))
    normalized = bool(record["normalized"])
    shapes = jax.eval_shape(frozen_flow(config, spec, normalized).init, jax.random.key(0))
    return Layer(config, spec, normalized, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes))
