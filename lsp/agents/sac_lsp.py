"""SAC-LSP: soft actor-critic whose policy is a conditional flow on a stack of frozen flows.

Haarnoja et al. (2018), arXiv 1804.02808, with the choices of `lsp.config`: critics, temperature, policy gradient,
prior, normalizers. Every other agent is this one with another replay, critic, goal or executor configuration.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.lax import stop_gradient

from lsp import flows, losses, normalizers, packing
from lsp.agents import learner, support
from lsp.agents.critics import Fit, Target
from lsp.agents.learner import ActorParams, LearnerState
from lsp.agents.parts import Parts, bootstrap_name, make_parts
from lsp.agents.policy import Observed, PolicySample, divergence
from lsp.agents.stack import Encode, Layer, make_encode
from lsp.config import StageConfig
from lsp.types import ActionSample, Agent, Array, Batch, EnvSpec, Key, Params, Transition, UpdateInfo


class Prepared(NamedTuple):
    """A batch as the networks see it."""

    observation: Array  # f32[B, S] normalized
    action: Array  # f32[B, A] the critics' input
    reward: Array  # f32[B] scaled
    discount: Array  # f32[B]
    next_observation: Array  # f32[B, S]
    policy_observation: Array  # f32[B, S]
    raw_next_observation: Array  # f32[B, S] not normalized: frozen layers do that themselves
    raw_policy_observation: Array  # f32[B, S]
    weights: Array  # f32[B] of the critics' losses
    policy_weights: Array  # f32[B] of the policy's and V's, which are of `policy_observation`


class Report(NamedTuple):
    """What an update takes from its losses beside their gradient; `metrics` are for people alone."""

    priorities: Array  # f32[B]
    critic_states: dict[str, Any]  # as of `ActorParams`, after the update
    edge_mass: Array | None  # f32[] see `Fit`
    metrics: dict[str, Array]  # f32[] each


class Prediction(NamedTuple):
    """What the learner does and expects at an observation; leading axes free."""

    env_action: Array  # f32[..., A]
    outputs: Array  # f32[K, ..., N] of the critics
    entropy_cost: Array  # f32[...] of that action
    reward_factor: Array  # f32[] of raw rewards


def make_agent(
    config: StageConfig, spec: EnvSpec, layers: Sequence[Layer] = (), reinitialised: Sequence[str] = ()
) -> Agent:
    """Build the agent for environments of the given sizes, on top of frozen `layers`, bottom first.

    `reinitialised` names the networks that are new with this layer, where the others are kept (`lsp.agents.transfer`).
    """
    parts = make_parts(config, spec, layers, reinitialised)

    return Agent(
        init=partial(_init, parts, spec),
        observe=partial(_observe, parts),
        actor_params=lambda state: state.actor,
        act=partial(_act, parts),
        act_mode=lambda params, observation: _act_latent(
            parts, params, observation, jnp.zeros((*observation.shape[:-1], spec.action_dim))
        ),
        act_latent=partial(_act_latent, parts),
        act_random=lambda params, observation, key: parts.policy.random(params.layers, observation, key),
        update=partial(_update, parts),
        priority=partial(_priority, parts),
        encode=partial(_encode, make_encode(config.growth.max_latent, layers)) if layers else None,
    )


def make_predictor(
    config: StageConfig, spec: EnvSpec, layers: Sequence[Layer] = ()
) -> Callable[[ActorParams, Array, Array], Prediction]:
    """What critics say of the action at a latent [..., A]; arguments as of `make_agent`."""
    parts = make_parts(config, spec, layers)

    def predict(actor: ActorParams, observation: Array, latent: Array) -> Prediction:
        params = parts.flat.unravel(actor.params)
        s = Observed(_normalize(parts, actor.observation_stats, observation), observation)
        sample = parts.policy.at_latent(params["policy"], actor.layers, s, latent)
        outputs = _critic_outputs(parts, actor, params["critic"], s.seen, _sample_action(parts, actor, sample))
        cost = _entropy_cost(parts, actor, sample, _alpha(actor, params))
        return Prediction(sample.env_action, outputs, cost, jnp.asarray(_reward_factor(parts, actor)))

    return predict


def _init(parts: Parts, spec: EnvSpec, key: Key) -> LearnerState:
    params = parts.flat.init(key)
    actor = ActorParams(
        params=params,
        # A copy of its own: params and target are both donated.
        target=jnp.array(learner.segment(parts.flat, params, bootstrap_name(parts.config))),
        observation_stats=normalizers.init((spec.observation_dim,)),
        return_stats=normalizers.init(),
        layers=tuple(jax.tree.map(jnp.array, layer.values) for layer in parts.layers),
        critic_states=parts.init_critic_states(parts.flat.unravel(params)),
        support=support.init(parts.head),
    )
    return LearnerState(actor, parts.optimizer.init(params))


def _observe(parts: Parts, state: LearnerState, chunk: Transition, returns: Array) -> LearnerState:
    """Fold newly collected transitions [n, ...] into the statistics; `returns` f32[n]: their discounted returns so far.

    Of tasks with goals, a transition counts twice: with its goal, and with the one it achieved, as replay may show it.
    """
    actor, seen = state.actor, chunk.observation
    if chunk.outcome is not None:
        achieved, _, _ = packing.split_outcome(chunk.outcome)
        seen = jnp.concatenate([seen, packing.with_goal(seen, achieved)])
    if parts.config.normalize.observations:
        actor = actor._replace(observation_stats=normalizers.update(actor.observation_stats, seen))
    if parts.config.normalize.rewards or actor.support is not None:
        actor = actor._replace(return_stats=normalizers.update(actor.return_stats, returns))
    return support.fit(parts, state._replace(actor=actor))


def _normalize(parts: Parts, stats: normalizers.Moments, observation: Array) -> Array:
    return normalizers.normalize(stats, observation) if parts.config.normalize.observations else observation


def _reward_factor(parts: Parts, actor: ActorParams) -> Array | float:
    return support.plain_reward_factor(parts.config, actor) / support.scale(actor)


def _alpha(actor: ActorParams, params: Params) -> Array:
    """The temperature, in the critics' units, f32[]."""
    return jnp.exp(params["log_alpha"]) / support.scale(actor)


def _encode(encode: Encode, params: ActorParams, transitions: Transition) -> tuple[Transition, Array]:
    return encode(params.layers, transitions)


def _act(parts: Parts, params: ActorParams, observation: Array, key: Key) -> ActionSample:
    latent = jax.random.normal(key, (*observation.shape[:-1], parts.flow.action_dim))
    return _act_latent(parts, params, observation, latent)


def _act_latent(parts: Parts, params: ActorParams, observation: Array, latent: Array) -> ActionSample:
    s = Observed(_normalize(parts, params.observation_stats, observation), observation)
    sample = parts.policy.at_latent(parts.flat.unravel(params.params)["policy"], params.layers, s, latent)
    return ActionSample(sample.env_action, sample.layer_action)


def _prepare(parts: Parts, actor: ActorParams, batch: Batch) -> Prepared:
    """Normalize, scale, and map stored actions to the critics' input."""
    t = batch.transitions
    normalize = partial(_normalize, parts, actor.observation_stats)
    observation = normalize(t.observation)
    raw_policy = t.observation if batch.policy_observation is None else batch.policy_observation
    return Prepared(
        observation=observation,
        action=_critic_action(parts, actor, t.action, t.observation),
        reward=t.reward * _reward_factor(parts, actor),
        discount=t.discount,
        next_observation=normalize(t.next_observation),
        policy_observation=observation if batch.policy_observation is None else normalize(raw_policy),
        raw_next_observation=t.next_observation,
        raw_policy_observation=raw_policy,
        weights=batch.weights,
        policy_weights=batch.weights if batch.policy_weights is None else batch.policy_weights,
    )


def _critic_action(parts: Parts, actor: ActorParams, layer_action: Array, observation: Array) -> Array:
    """What Q sees of an action: decoded (at a raw observation) and squashed, or (`--critic.space=layer`) a latent."""
    if parts.config.critic.space == "layer" and actor.layers:
        return layer_action
    return parts.policy.decode(actor.layers, layer_action, observation)


def _sample_action(parts: Parts, actor: ActorParams, sample: PolicySample) -> Array:
    return sample.layer_action if parts.config.critic.space == "layer" and actor.layers else sample.env_action


def _entropy_cost(parts: Parts, actor: ActorParams, sample: PolicySample, alpha: Array) -> Array:
    """alpha * (log pi - log prior): a latent's prior is N(0, I); that of the bottom layer's action is configured."""
    if actor.layers and parts.config.growth.entropy == "action":
        return alpha * sample.log_prob
    if actor.layers:
        return alpha * divergence(sample, upper=True)
    if parts.config.policy.prior == "normal":
        return alpha * (sample.layer_log_prob - flows.normal_log_prob(sample.env_action))
    return alpha * sample.layer_log_prob


def _temperature_loss(parts: Parts, actor: ActorParams, log_alpha: Array, sample: PolicySample) -> Array:
    """That of what alpha weighs: the entropy of the action, or minus the divergence of a latent from its prior."""
    if actor.layers and parts.config.growth.entropy == "latent":
        return losses.temperature_loss(log_alpha, divergence(sample, upper=True), -parts.target_divergence)
    return losses.temperature_loss(log_alpha, sample.log_prob, parts.target_entropy)


def _critic_outputs(parts: Parts, actor: ActorParams, params: Params, observation: Array, action: Array) -> Array:
    """Outputs of Q, [K, ..., N], anywhere but in its own loss."""
    return parts.critic.apply(params, actor.critic_states["critic"], observation, action)


def _target(parts: Parts, actor: ActorParams, prepared: Prepared, latent: Array) -> Target:
    """Soft target of Q from parameters before the update; the next action is at `latent` [B, A]. No gradient."""
    target = parts.flat_target.unravel(actor.target)
    s = prepared.next_observation
    if parts.config.critic.value_network:
        outputs = parts.value.apply(target["value"], actor.critic_states["value"], s)
        cost = jnp.zeros_like(prepared.reward)
        return parts.head.target(outputs, prepared.reward, prepared.discount, cost)
    params = parts.flat.unravel(actor.params)
    observed = Observed(s, prepared.raw_next_observation)
    sample = parts.policy.at_latent(params["policy"], actor.layers, observed, latent)
    outputs = _critic_outputs(parts, actor, target["critic"], s, _sample_action(parts, actor, sample))
    cost = _entropy_cost(parts, actor, sample, _alpha(actor, params))
    return parts.head.target(outputs, prepared.reward, prepared.discount, cost)


def _fit(parts: Parts, actor: ActorParams, state: Any, outputs: Array, target: Target, weights: Array) -> Fit:
    """The head's, with priorities that stay comparable when the support widens: TD errors are in scaled reward."""
    fit = parts.head.loss(state, outputs, target, weights)
    in_nats = parts.config.replay.priority == "kl"
    return fit if in_nats else fit._replace(priorities=fit.priorities * support.scale(actor))


def _policy_sample(parts: Parts, params: Params, actor: ActorParams, prepared: Prepared, latent: Array) -> PolicySample:
    """An action at each state of the policy loss, differentiable as the chosen policy gradient asks."""
    s = Observed(prepared.policy_observation, prepared.raw_policy_observation)
    sample = parts.policy.at_latent(params["policy"], actor.layers, s, latent)
    if parts.config.policy.gradient == "pathwise":
        return sample
    return parts.policy.at_layer_action(params["policy"], actor.layers, s, stop_gradient(sample.layer_action))


def _loss(
    flat_params: Array, parts: Parts, actor: ActorParams, prepared: Prepared, target: Target, latent: Array
) -> tuple[Array, Report]:
    """All losses in one sum; stop_gradient keeps each to its own parameters, so one backward pass serves them all."""
    config, head = parts.config, parts.head
    params = parts.flat.unravel(flat_params)
    alpha = stop_gradient(_alpha(actor, params))
    s, weights = prepared.policy_observation, prepared.policy_weights
    states = dict(actor.critic_states)
    outputs, state = parts.critic.train(params["critic"], states["critic"], prepared.observation, prepared.action)
    fit = _fit(parts, actor, state, outputs, target, prepared.weights)
    states["critic"] = fit.state
    q = head.values(outputs)
    sample = _policy_sample(parts, params, actor, prepared, latent)
    frozen_critic = stop_gradient(params["critic"])
    outputs = _critic_outputs(parts, actor, frozen_critic, s, _sample_action(parts, actor, sample))
    q_policy = losses.join(head.values(outputs), config.policy.q)
    cost = _entropy_cost(parts, actor, sample, alpha)
    total = fit.loss
    if config.critic.value_network:
        value_outputs, states["value"] = parts.value.train(params["value"], states["value"], s)
        value = head.values(value_outputs)[0]
        total += head.value_loss(value_outputs[0], outputs, cost, weights)
    if config.policy.gradient == "pathwise":
        policy_loss = losses.policy_loss(q_policy, cost, weights)
    else:
        policy_loss = losses.likelihood_ratio_policy_loss(sample.layer_log_prob, q_policy, value, cost, weights)
    total += policy_loss
    if config.temperature.learned:
        total += _temperature_loss(parts, actor, params["log_alpha"], sample)
    returns = fit.returns | {
        "policy_loss": policy_loss,
        "q": jnp.mean(q),
        "q_max": jnp.max(q),
        "q_spread": jnp.mean(jnp.abs(q[0] - q[-1])),
        "alpha": alpha,
        "entropy_cost": jnp.mean(cost),
    }
    metrics = fit.metrics | {
        "critic_loss": fit.loss,
        "entropy": -jnp.mean(sample.log_prob),
        "log_det": jnp.mean(sample.log_det),
        "kl": jnp.mean(divergence(sample, bool(actor.layers), config.policy.prior)),
        "saturated": jnp.mean(jnp.abs(sample.env_action) > 0.99),
    }
    metrics |= {f"log_det/{depth}": jnp.mean(log_det) for depth, log_det in enumerate(sample.frozen_log_dets)}
    return total, Report(fit.priorities, states, fit.edge_mass, metrics | support.in_reward(actor, returns))


def _update(parts: Parts, state: LearnerState, batch: Batch, key: Key) -> tuple[LearnerState, UpdateInfo]:
    """One gradient step on every network, from the parameters before it."""
    actor = state.actor
    prepared = _prepare(parts, actor, batch)
    next_latent, latent = jax.random.normal(key, (2, *prepared.action.shape))  # one draw costs half of two
    target = _target(parts, actor, prepared, next_latent)
    gradient: Callable[..., Any] = jax.grad(_loss, has_aux=True)
    grads, report = gradient(actor.params, parts, actor, prepared, target, latent)
    updates, opt_state = parts.optimizer.update(grads, state.opt_state)
    params = optax.apply_updates(actor.params, updates)
    online = learner.segment(parts.flat, params, bootstrap_name(parts.config))
    new_target = learner.polyak(actor.target, online, parts.config.critic.tau)
    metrics = report.metrics | {"grad_norm": jnp.linalg.norm(grads)}
    actor = actor._replace(params=params, target=new_target, critic_states=report.critic_states)
    state = support.widen(parts, LearnerState(actor, opt_state), report.edge_mass)
    return state, UpdateInfo(report.priorities, metrics)


def _priority(parts: Parts, actor: ActorParams, transitions: Transition, key: Key) -> Array:
    """How wrong the critics are about new transitions under these parameters, averaged over the ensemble, f32[n]."""
    n = transitions.reward.shape[0]
    prepared = _prepare(parts, actor, Batch(transitions, jnp.zeros(n, jnp.int32), jnp.ones(n)))
    params = parts.flat.unravel(actor.params)["critic"]
    target = _target(parts, actor, prepared, jax.random.normal(key, prepared.action.shape))
    outputs = _critic_outputs(parts, actor, params, prepared.observation, prepared.action)
    return _fit(parts, actor, actor.critic_states["critic"], outputs, target, prepared.weights).priorities
