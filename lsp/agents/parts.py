"""What SAC-LSP's functions are made of: flow, policy, networks, flat parameters, optimizer."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lsp.agents import learner, stack
from lsp.agents.critics import Critics, Ensemble, Head, make_critics
from lsp.agents.policy import Policy, make_policy
from lsp.agents.stack import Layer
from lsp.config import StageConfig
from lsp.flows.registry import make_flow
from lsp.types import EnvSpec, Flow, Key


class Parts(NamedTuple):
    """What the agent's functions are made of."""

    config: StageConfig
    flow: Flow
    layers: Sequence[Layer]  # frozen, below the flow, bottom first
    policy: Policy
    head: Head
    critic: Ensemble
    value: Ensemble
    init_critic_states: Callable[[dict[str, Any]], dict[str, Any]]  # parameters -> states of those critics that learn
    flat: learner.FlatParams
    flat_target: learner.FlatParams
    optimizer: optax.GradientTransformation
    target_entropy: float  # of the action in [-1, 1], in nats
    target_divergence: float  # of a latent from N(0, I), in nats


class _Networks(NamedTuple):
    """What is trained, whatever lies below it."""

    flow: Flow
    critics: Critics
    init: Callable[[Key], dict[str, Any]]
    init_critic_states: Callable[[dict[str, Any]], dict[str, Any]]


def _make_networks(config: StageConfig, spec: EnvSpec) -> _Networks:
    flow, critics = make_flow(config.flow, spec), make_critics(config)
    observation, action = jnp.zeros(spec.observation_dim), jnp.zeros(spec.action_dim)

    def init(key: Key) -> dict[str, Any]:
        policy_key, critic_key, value_key = jax.random.split(key, 3)
        params = {
            "policy": flow.init(policy_key),
            "critic": critics.critic.init(critic_key, observation, action),
            "log_alpha": jnp.log(config.temperature.initial),
        }
        return params | ({"value": critics.value.init(value_key, observation)} if config.critic.value_network else {})

    def init_critic_states(params: dict[str, Any]) -> dict[str, Any]:
        states = {"critic": critics.critic.init_state(params["critic"], observation, action)}
        value = critics.value.init_state
        return states | ({"value": value(params["value"], observation)} if config.critic.value_network else {})

    return _Networks(flow, critics, init, init_critic_states)


def make_flat(config: StageConfig, spec: EnvSpec) -> learner.FlatParams:
    """The vector of all trained parameters: networks by name, whatever layers lie below."""
    return learner.make_flat_params(_make_networks(config, spec).init)


def make_parts(
    config: StageConfig, spec: EnvSpec, layers: Sequence[Layer] = (), reinitialised: Sequence[str] = ()
) -> Parts:
    """The networks, flow and optimizer that a configuration asks for, on top of frozen `layers`.

    `reinitialised` names the networks that were new when the latest layer was grown, where the others' optimizer
    continued.
    """
    flow, (head, critic, value), init, init_critic_states = _make_networks(config, spec)
    flat = learner.make_flat_params(init)
    bootstrap = bootstrap_name(config)
    trains = config.growth.train_layer or not layers
    rates = {
        "policy": config.policy.learning_rate if trains else 0.0,
        "critic": config.critic.learning_rate,
        "value": config.critic.learning_rate,
        "log_alpha": config.temperature.learning_rate if config.temperature.learned else 0.0,
    }
    return Parts(
        config=config,
        flow=flow,
        layers=layers,
        policy=make_policy([*stack.flows_of(layers), flow], config.flow.log_det),
        head=head,
        critic=critic,
        value=value,
        init_critic_states=init_critic_states,
        flat=flat,
        flat_target=learner.make_flat_params(lambda key: {bootstrap: init(key)[bootstrap]}),
        optimizer=learner.make_adam(flat, rates, [name for name in reinitialised if name in flat.sizes]),
        target_entropy=config.temperature.target_entropy_per_dim * spec.action_dim,
        target_divergence=config.growth.divergence_per_dim * spec.action_dim,
    )


def bootstrap_name(config: StageConfig) -> str:
    """The network whose Polyak average the targets use."""
    return "value" if config.critic.value_network else "critic"
