"""What SAC-LSP's functions are made of: flow, policy, networks, flat parameters, optimizer."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lsp import flows, networks
from lsp.agents import critics, learner
from lsp.agents.policy import Policy, make_policy
from lsp.config import Config
from lsp.types import EnvSpec, Flow, Key


class Parts(NamedTuple):
    """What the agent's functions are made of."""

    config: Config
    flow: Flow
    policy: Policy
    head: critics.Head
    critic: networks.ValueEnsemble
    value: networks.ValueEnsemble
    flat: learner.FlatParams
    flat_target: learner.FlatParams
    optimizer: optax.GradientTransformation
    target_entropy: float


def make_parts(config: Config, spec: EnvSpec) -> Parts:
    """The networks, flow and optimizer that a configuration asks for."""
    flow = _make_flow(config, spec)
    sizes, norm = config.critic.hidden_sizes, config.critic.layer_norm
    head = critics.make_head(config)
    critic, value = (
        networks.ValueEnsemble(count, sizes, head.num_outputs, norm, head.initial_output)
        for count in (config.critic.count, 1)
    )
    observation, action = jnp.zeros(spec.observation_dim), jnp.zeros(spec.action_dim)

    def init(key: Key) -> dict[str, Any]:
        policy_key, critic_key, value_key = jax.random.split(key, 3)
        params = {
            "policy": flow.init(policy_key),
            "critic": critic.init(critic_key, observation, action),
            "log_alpha": jnp.log(config.temperature.initial),
        }
        return params | ({"value": value.init(value_key, observation)} if config.critic.value_network else {})

    flat = learner.make_flat_params(init)
    bootstrap = bootstrap_name(config)
    rates = {
        "policy": config.policy.learning_rate,
        "critic": config.critic.learning_rate,
        "value": config.critic.learning_rate,
        "log_alpha": config.temperature.learning_rate if config.temperature.learned else 0.0,
    }
    return Parts(
        config=config,
        flow=flow,
        policy=make_policy([flow], config.flow.log_det),
        head=head,
        critic=critic,
        value=value,
        flat=flat,
        flat_target=learner.make_flat_params(lambda key: {bootstrap: init(key)[bootstrap]}),
        optimizer=learner.make_adam(flat, rates),
        target_entropy=config.temperature.target_entropy_per_dim * spec.action_dim,
    )


def _make_flow(config: Config, spec: EnvSpec) -> Flow:
    f = config.flow
    return flows.make_real_nvp(
        spec.observation_dim,
        spec.action_dim,
        num_couplings=f.num_couplings,
        hidden_sizes=f.hidden_sizes,
        embedding_sizes=f.embedding_sizes,
        max_log_scale=f.max_log_scale,
        zero_init=f.zero_init,
        activation=f.activation,
        separate_nets=f.separate_nets,
        bias_std=f.bias_std,
    )


def bootstrap_name(config: Config) -> str:
    """The network whose Polyak average the targets use."""
    return "value" if config.critic.value_network else "critic"
