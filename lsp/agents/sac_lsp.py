"""SAC-LSP: soft actor-critic whose policy is a conditional flow on a stack of frozen flows.

Haarnoja et al. (2018), arXiv 1804.02808, with the choices of `lsp.config`: critics, temperature, policy gradient,
prior, normalisers. Every other agent is this one with another replay, critic, goal or executor configuration.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.lax import stop_gradient

from lsp import flows, losses, normalizers, rows
from lsp.agents import learner
from lsp.agents.learner import ActorParams, LearnerState
from lsp.agents.parts import Parts, bootstrap_name, make_parts
from lsp.agents.policy import PolicySample
from lsp.config import Config
from lsp.types import ActionSample, Agent, Array, Batch, EnvSpec, Key, Params, Transition, UpdateInfo


class Prepared(NamedTuple):
    """A batch as the networks see it."""

    observation: Array  # f32[B, S] normalised
    action: Array  # f32[B, A] the critics' input
    reward: Array  # f32[B] scaled
    discount: Array  # f32[B]
    next_observation: Array  # f32[B, S]
    policy_observation: Array  # f32[B, S]
    weights: Array  # f32[B] of the critics' losses
    policy_weights: Array  # f32[B] of the policy's and V's, which are of `policy_observation`


def make_agent(config: Config, spec: EnvSpec) -> Agent:
    """Build the agent for environments of the given sizes."""
    parts = make_parts(config, spec)

    return Agent(
        init=partial(_init, parts, spec),
        observe=partial(_observe, parts),
        actor_params=lambda state: state.actor,
        act=partial(_act, parts),
        act_mode=lambda params, observation: _act_latent(
            parts, params, observation, jnp.zeros((*observation.shape[:-1], spec.action_dim))
        ),
        act_latent=partial(_act_latent, parts),
        act_random=lambda params, observation, key: parts.policy.random(
            params.layers, _normalize(parts, params.observation_stats, observation), key
        ),
        update=partial(_update, parts),
        priority=partial(_priority, parts),
    )


def _init(parts: Parts, spec: EnvSpec, key: Key) -> LearnerState:
    params = parts.flat.init(key)
    actor = ActorParams(
        params=params,
        # A copy of its own: params and target are both donated.
        target=jnp.array(learner.segment(parts.flat, params, bootstrap_name(parts.config))),
        observation_stats=normalizers.init((spec.observation_dim,)),
        return_stats=normalizers.init(),
        layers=(),
    )
    return LearnerState(actor, parts.optimizer.init(params))


def _observe(parts: Parts, state: LearnerState, chunk: Transition, returns: Array) -> LearnerState:
    """Fold newly collected rows [n, ...] into the statistics; `returns` f32[n]: each row's discounted return so far.

    Of tasks with goals, a row counts twice: with the goal it had, and with the one it achieved, as replay may show it.
    """
    actor, seen = state.actor, chunk.observation
    if chunk.outcome is not None:
        seen = jnp.concatenate([seen, rows.with_goal(seen, chunk.outcome[:, :-2])])
    if parts.config.normalize.observations:
        actor = actor._replace(observation_stats=normalizers.update(actor.observation_stats, seen))
    if parts.config.normalize.rewards:
        actor = actor._replace(return_stats=normalizers.update(actor.return_stats, returns))
    return state._replace(actor=actor)


def _normalize(parts: Parts, stats: normalizers.Moments, observation: Array) -> Array:
    return normalizers.normalize(stats, observation) if parts.config.normalize.observations else observation


def _reward_factor(parts: Parts, actor: ActorParams) -> Array | float:
    scale = parts.config.reward_scale
    return scale / jnp.sqrt(actor.return_stats.variance + 1e-8) if parts.config.normalize.rewards else scale


def _act(parts: Parts, params: ActorParams, observation: Array, key: Key) -> ActionSample:
    latent = jax.random.normal(key, (*observation.shape[:-1], parts.flow.action_dim))
    return _act_latent(parts, params, observation, latent)


def _act_latent(parts: Parts, params: ActorParams, observation: Array, latent: Array) -> ActionSample:
    s = _normalize(parts, params.observation_stats, observation)
    sample = parts.policy.at_latent(parts.flat.unravel(params.params)["policy"], params.layers, s, latent)
    return ActionSample(sample.env_action, sample.layer_action)


def _prepare(parts: Parts, actor: ActorParams, batch: Batch) -> Prepared:
    """Normalise, scale, and map stored actions to the critics' input."""
    t = batch.transitions
    normalize = partial(_normalize, parts, actor.observation_stats)
    observation = normalize(t.observation)
    policy_observation = observation if batch.policy_observation is None else normalize(batch.policy_observation)
    return Prepared(
        observation=observation,
        action=_critic_action(parts, actor, t.action, observation),
        reward=t.reward * _reward_factor(parts, actor),
        discount=t.discount,
        next_observation=normalize(t.next_observation),
        policy_observation=policy_observation,
        weights=batch.weights,
        policy_weights=batch.weights if batch.policy_weights is None else batch.policy_weights,
    )


def _critic_action(parts: Parts, actor: ActorParams, layer_action: Array, observation: Array) -> Array:
    """What Q sees of an action: decoded and squashed, or (`--critic.space=layer`) as an upper layer put it out."""
    if parts.config.critic.space == "layer" and actor.layers:
        return layer_action
    return parts.policy.decode(actor.layers, layer_action, observation)


def _sample_action(parts: Parts, actor: ActorParams, sample: PolicySample) -> Array:
    return sample.layer_action if parts.config.critic.space == "layer" and actor.layers else sample.env_action


def _entropy_cost(parts: Parts, actor: ActorParams, sample: PolicySample, alpha: Array) -> Array:
    """alpha * (log pi - log prior): the latent's prior is N(0, I); the bottom layer's is the configured one."""
    if actor.layers:
        return alpha * (sample.layer_log_prob - flows.normal_log_prob(sample.layer_action))
    if parts.config.policy.prior == "normal":
        return alpha * (sample.layer_log_prob - flows.normal_log_prob(sample.env_action))
    return alpha * sample.layer_log_prob


def _target(parts: Parts, actor: ActorParams, prepared: Prepared, latent: Array) -> Array:
    """Soft target of Q, [B], from parameters before the update; the next action is at `latent` [B, A]. No gradient."""
    target = parts.flat_target.unravel(actor.target)
    s = prepared.next_observation
    if parts.config.critic.value_network:
        value = parts.value.apply(target["value"], s)[..., 0]
        return losses.soft_q_target(value, prepared.reward, prepared.discount, jnp.zeros_like(prepared.reward))
    params = parts.flat.unravel(actor.params)
    sample = parts.policy.at_latent(params["policy"], actor.layers, s, latent)
    next_q = parts.critic.apply(target["critic"], s, _sample_action(parts, actor, sample))[..., 0]
    cost = _entropy_cost(parts, actor, sample, jnp.exp(params["log_alpha"]))
    return losses.soft_q_target(next_q, prepared.reward, prepared.discount, cost, parts.config.critic.target)


def _policy_sample(
    parts: Parts, params: Params, actor: ActorParams, prepared: Prepared, latent: Array
) -> PolicySample:
    """An action at each state of the policy loss, differentiable as the chosen policy gradient asks."""
    s = prepared.policy_observation
    sample = parts.policy.at_latent(params["policy"], actor.layers, s, latent)
    if parts.config.policy.gradient == "pathwise":
        return sample
    return parts.policy.at_layer_action(params["policy"], actor.layers, s, stop_gradient(sample.layer_action))


def _loss(
    flat_params: Array, parts: Parts, actor: ActorParams, prepared: Prepared, target: Array, latent: Array
) -> tuple[Array, tuple[Array, dict[str, Array]]]:
    """All losses in one sum; stop_gradient keeps each to its own parameters, so one backward pass serves them all."""
    config = parts.config
    params = parts.flat.unravel(flat_params)
    alpha = stop_gradient(jnp.exp(params["log_alpha"]))
    s, weights = prepared.policy_observation, prepared.policy_weights

    q = parts.critic.apply(params["critic"], prepared.observation, prepared.action)[..., 0]
    critic_loss, td_errors = losses.critic_loss(q, target, prepared.weights, config.critic.loss)

    sample = _policy_sample(parts, params, actor, prepared, latent)
    frozen_critic = stop_gradient(params["critic"])
    q_policy = parts.critic.apply(frozen_critic, s, _sample_action(parts, actor, sample))[..., 0]
    q_policy = losses.join(q_policy, config.policy.q)
    cost = _entropy_cost(parts, actor, sample, alpha)
    total = critic_loss
    if config.critic.value_network:
        value = parts.value.apply(params["value"], s)[0, ..., 0]
        total += losses.value_loss(value, q_policy, cost, weights)
    if config.policy.gradient == "pathwise":
        policy_loss = losses.policy_loss(q_policy, cost, weights)
    else:
        policy_loss = losses.likelihood_ratio_policy_loss(sample.layer_log_prob, q_policy, value, cost, weights)
    total += policy_loss
    if config.temperature.learned:
        total += losses.temperature_loss(params["log_alpha"], sample.log_prob, parts.target_entropy)
    metrics = {
        "critic_loss": critic_loss,
        "policy_loss": policy_loss,
        "q": jnp.mean(q),
        "q_max": jnp.max(q),
        "q_spread": jnp.mean(jnp.abs(q[0] - q[-1])),
        "target": jnp.mean(target),
        "td_error": jnp.mean(jnp.abs(td_errors)),
        "alpha": alpha,
        "entropy": -jnp.mean(sample.log_prob),
        "entropy_cost": jnp.mean(cost),
        "log_det": jnp.mean(sample.log_det),
        "saturated": jnp.mean(jnp.abs(sample.env_action) > 0.99),
    }
    return total, (jnp.mean(jnp.abs(td_errors), axis=0), metrics)


def _update(parts: Parts, state: LearnerState, batch: Batch, key: Key) -> tuple[LearnerState, UpdateInfo]:
    """One gradient step on every network, from the parameters before it."""
    actor = state.actor
    prepared = _prepare(parts, actor, batch)
    next_latent, latent = jax.random.normal(key, (2, *prepared.action.shape))  # one draw costs half of two
    target = _target(parts, actor, prepared, next_latent)
    gradient: Callable[..., Any] = jax.grad(_loss, has_aux=True)
    grads, (priorities, metrics) = gradient(actor.params, parts, actor, prepared, target, latent)
    updates, opt_state = parts.optimizer.update(grads, state.opt_state)
    params = optax.apply_updates(actor.params, updates)
    online = learner.segment(parts.flat, params, bootstrap_name(parts.config))
    new_target = learner.polyak(actor.target, online, parts.config.critic.tau)
    metrics["grad_norm"] = jnp.linalg.norm(grads)
    return LearnerState(actor._replace(params=params, target=new_target), opt_state), UpdateInfo(priorities, metrics)


def _priority(parts: Parts, actor: ActorParams, transitions: Transition, key: Key) -> Array:
    """|TD error| of new rows under the present parameters, averaged over the ensemble, f32[n]."""
    n = transitions.reward.shape[0]
    prepared = _prepare(parts, actor, Batch(transitions, jnp.zeros(n, jnp.int32), jnp.ones(n)))
    q = parts.critic.apply(parts.flat.unravel(actor.params)["critic"], prepared.observation, prepared.action)[..., 0]
    target = _target(parts, actor, prepared, jax.random.normal(key, prepared.action.shape))
    return jnp.mean(jnp.abs(q - target[None]), axis=0)
