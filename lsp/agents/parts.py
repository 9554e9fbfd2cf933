"""What SAC-LSP's functions are made of: flow, policy, networks, flat parameters, optimizer."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lsp import networks
from lsp.agents import critics, learner, stack
from lsp.agents.policy import Policy, make_policy
from lsp.agents.stack import Layer
from lsp.config import Config
from lsp.flows.registry import make_flow
from lsp.types import EnvSpec, Flow, Key


class Parts(NamedTuple):
    """What the agent's functions are made of."""

    config: Config
    flow: Flow
    layers: Sequence[Layer]  # frozen, below the flow, bottom first
    policy: Policy
    head: critics.Head
    critic: networks.ValueEnsemble
    value: networks.ValueEnsemble
    flat: learner.FlatParams
    flat_target: learner.FlatParams
    optimizer: optax.GradientTransformation
    target_entropy: float  # of the action in [-1, 1], in nats
    target_divergence: float  # of a latent from N(0, I), in nats


def make_parts(config: Config, spec: EnvSpec, layers: Sequence[Layer] = (), young: Sequence[str] = ()) -> Parts:
    """The networks, flow and optimizer that a configuration asks for, on top of frozen `layers`.

    `young` names the networks that began when the latest layer was grown, where the others' optimizer went on.
    """
    flow = make_flow(config.flow, spec)
    sizes, norm = config.critic.hidden_sizes, config.critic.layer_norm
    head = critics.make_head(config)
    critic, value = (
        networks.ValueEnsemble(count, sizes, head.num_outputs, norm, head.initial_output, head.output_scale)
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
        flat=flat,
        flat_target=learner.make_flat_params(lambda key: {bootstrap: init(key)[bootstrap]}),
        optimizer=learner.make_adam(flat, rates, [name for name in young if name in flat.sizes]),
        target_entropy=config.temperature.target_entropy_per_dim * spec.action_dim,
        target_divergence=config.growth.divergence_per_dim * spec.action_dim,
    )


def bootstrap_name(config: Config) -> str:
    """The network whose Polyak average the targets use."""
    return "value" if config.critic.value_network else "critic"
