"""SAC-LSP's update: every loss moves its own parameters, targets are soft Bellman targets, reports change nothing."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import chex
import jax
import numpy as np
import pytest

from lsp import normalizers
from lsp.agents import learner, parts, sac_lsp
from lsp.agents.learner import ActorParams, LearnerState
from lsp.agents.policy import Observed
from lsp.types import ActionSample, Agent, Batch, Transition, UpdateInfo
from tests.support import reference
from tests.support.builders import SPEC, make_batch, tiny_config

PRESETS = pytest.mark.parametrize("preset", ["modern", "dissertation"])
BATCH = make_batch(np.random.default_rng(1), discount=0.9)
BATCH = BATCH._replace(policy_observation=BATCH.transitions.observation, policy_weights=BATCH.weights)
KEY = jax.random.key(3)


class Learner(NamedTuple):
    """A tiny agent with everything compiled once."""

    agent: Agent
    parts: parts.Parts
    state: LearnerState
    update: Callable[[LearnerState, Batch, jax.Array], tuple[LearnerState, UpdateInfo]]
    rank: Callable[[ActorParams, Transition, jax.Array], jax.Array]  # `agent.priority`
    traces: list[Batch]  # one for every time that `update` was traced

    def segments(self, vector: jax.Array) -> dict[str, np.ndarray]:
        return {name: np.asarray(learner.segment(self.parts.flat, vector, name)) for name in self.parts.flat.sizes}

    def gradients(self, batch: Batch = BATCH, **actor: Any) -> dict[str, np.ndarray]:
        """By name, from Adam's first moment, which one step from zero is a tenth of the gradient."""
        state, _ = self.update(with_actor(self.state, **actor), batch, KEY)
        return self.segments(state.opt_state[0].mu)


@lru_cache
def make_learner(preset: str) -> Learner:
    """Statistics of some data, and a target network unlike the online one, so that mistaking either shows."""
    config = tiny_config(preset)
    agent = sac_lsp.make_agent(config, SPEC)
    state = jax.jit(agent.init)(jax.random.key(0))
    state = jax.jit(agent.observe)(state, BATCH.transitions, BATCH.transitions.reward)
    noise = np.random.default_rng(2).normal(0.0, 0.1, state.actor.target.shape).astype(np.float32)
    traces: list[Batch] = []

    def update(state: LearnerState, batch: Batch, key: jax.Array) -> tuple[LearnerState, UpdateInfo]:
        traces.append(batch)
        return agent.update(state, batch, key)

    state = with_actor(state, target=state.actor.target + noise)
    return Learner(agent, parts.make_parts(config, SPEC), state, jax.jit(update), jax.jit(agent.priority), traces)


def with_actor(state: LearnerState, **changes: Any) -> LearnerState:
    return state._replace(actor=state.actor._replace(**changes))


def with_rows(**changes: Any) -> Batch:
    return BATCH._replace(transitions=BATCH.transitions._replace(**changes))


def differing(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> set[str]:
    """Names that differ in any bit."""
    return {name for name in first if np.any(first[name] != second[name])}


@pytest.mark.slow
@PRESETS
def test_the_critic_loss_reaches_the_critic_alone(preset: str) -> None:
    tiny = make_learner(preset)
    plain = tiny.gradients()
    assert differing(plain, tiny.gradients(with_rows(reward=BATCH.transitions.reward + 1))) == {"critic"}
    assert differing(plain, tiny.gradients(target=tiny.state.actor.target * 1.5)) == {"critic"}


@PRESETS
def test_the_losses_of_the_policy_s_states_do_not_reach_the_critic(preset: str) -> None:
    tiny = make_learner(preset)
    batch = BATCH._replace(policy_observation=BATCH.transitions.next_observation)
    expected = {"modern": {"policy", "log_alpha"}, "dissertation": {"policy", "value"}}[preset]
    assert differing(tiny.gradients(), tiny.gradients(batch)) == expected


@PRESETS
def test_weights_of_zero_stop_every_loss_but_the_temperature_s(preset: str) -> None:
    tiny = make_learner(preset)
    others = {"modern": {"log_alpha"}, "dissertation": set()}[preset]
    policy = {"modern": {"policy"}, "dissertation": {"policy", "value"}}[preset]
    for weights, policy_weights, expected in ((0, 0, set()), (1, 0, {"critic"}), (0, 1, policy)):
        arrays = (np.full(6, weight, np.float32) for weight in (weights, policy_weights))
        constant = dict(zip(("weights", "policy_weights"), arrays, strict=True))
        gradients = tiny.gradients(BATCH._replace(**constant))
        assert {name for name, gradient in gradients.items() if np.any(gradient != 0)} == expected | others


@PRESETS
def test_every_network_learns(preset: str) -> None:
    tiny = make_learner(preset)
    before, after = (tiny.segments(s.actor.params) for s in (tiny.state, tiny.update(tiny.state, BATCH, KEY)[0]))
    assert set(before) - differing(before, after) == (set() if preset == "modern" else {"log_alpha"})


@PRESETS
def test_the_target_network_follows_by_polyak_s_step_alone(preset: str) -> None:
    tiny = make_learner(preset)
    config = tiny.parts.config.critic
    state = tiny.update(tiny.state, BATCH, KEY)[0]
    online = tiny.segments(state.actor.params)["value" if preset == "dissertation" else "critic"]
    expected = (1 - config.tau) * np.asarray(tiny.state.actor.target) + config.tau * online
    np.testing.assert_allclose(state.actor.target, expected, atol=1e-6)


def naive_td_errors(tiny: Learner, latent: jax.Array) -> np.ndarray:
    """Mean over critics of |Q - y|, row by row, from the parameters of `tiny.state`."""
    config, actor, t = tiny.parts.config, jax.tree.map(np.asarray, tiny.state.actor), BATCH.transitions
    params, target = tiny.parts.flat.unravel(actor.params), tiny.parts.flat_target.unravel(actor.target)
    stats = actor.observation_stats
    s, next_s = t.observation, t.next_observation
    if config.normalize.observations:
        s, next_s = (np.clip((o - stats.mean) / np.sqrt(stats.variance), -10, 10) for o in (s, next_s))
    sample = jax.jit(tiny.parts.policy.at_latent)(params["policy"], (), Observed(next_s, next_s), latent)

    def values(net: Any, count: int, *inputs: np.ndarray) -> list[float]:
        sizes, norm = list(config.critic.hidden_sizes), config.critic.layer_norm
        tree = jax.tree.map(np.asarray, net["params"])
        return [reference.value_member(tree, k, list(inputs), sizes, norm).item() for k in range(count)]

    errors = []
    for b in range(len(t.reward)):
        if config.critic.value_network:
            next_value = values(target["value"], 1, next_s[b])[0]
        else:
            next_q = values(target["critic"], config.critic.count, next_s[b], np.asarray(sample.env_action[b]))
            next_value = min(next_q) - float(np.exp(params["log_alpha"]) * sample.log_prob[b])
        y = config.reward_scale * t.reward[b] + t.discount[b] * next_value
        q = values(params["critic"], config.critic.count, s[b], np.tanh(t.action[b]))
        errors.append(np.mean(np.abs(np.array(q) - y)))
    return np.array(errors)


@PRESETS
def test_priorities_are_those_of_the_plain_soft_bellman_error(preset: str) -> None:
    """Of the update, whose first draw is the target's, and of `priority`."""
    tiny = make_learner(preset)
    shape = BATCH.transitions.action.shape
    updated = tiny.update(tiny.state, BATCH, KEY)[1].priorities
    np.testing.assert_allclose(updated, naive_td_errors(tiny, jax.random.normal(KEY, (2, *shape))[0]), rtol=1e-4)
    ranked = tiny.rank(tiny.agent.actor_params(tiny.state), BATCH.transitions, KEY)
    np.testing.assert_allclose(ranked, naive_td_errors(tiny, jax.random.normal(KEY, shape)), rtol=1e-4)


@PRESETS
def test_truncation_bootstraps_and_termination_does_not(preset: str) -> None:
    tiny = make_learner(preset)
    discount = np.float32([0.9, 0, 0.9, 0, 0.9, 0])
    batches = (with_rows(discount=discount, next_observation=BATCH.transitions.next_observation + i) for i in range(2))
    first, second = (np.asarray(tiny.update(tiny.state, batch, KEY)[1].priorities) for batch in batches)
    np.testing.assert_array_equal(first != second, discount > 0)


@PRESETS
def test_update_is_traced_once(preset: str) -> None:
    """Also when fed its own state, as the loop does."""
    tiny = make_learner(preset)
    state = tiny.state
    for i in range(3):
        state, info = tiny.update(state, BATCH, jax.random.fold_in(KEY, i))
        assert all(np.isfinite(value) and np.shape(value) == () for value in info.metrics.values())
    chex.assert_trees_all_equal_shapes_and_dtypes(state, tiny.state)
    assert len(tiny.traces) == 1


@pytest.mark.slow
def test_two_seeds_at_once_equal_two_runs() -> None:
    """To float32 rounding: XLA may sum a batch of matrix products in another order."""
    tiny = make_learner("modern")
    other = with_actor(tiny.state, params=tiny.state.actor.params * 1.1)
    keys = jax.random.split(KEY, 2)
    both = jax.jit(jax.vmap(tiny.agent.update, in_axes=(0, None, 0)))(
        jax.tree.map(lambda *leaves: np.stack(leaves), tiny.state, other), BATCH, keys
    )
    for i, state in enumerate((tiny.state, other)):
        alone = tiny.update(state, BATCH, keys[i])
        chex.assert_trees_all_close(jax.tree.map(lambda leaf, i=i: leaf[i], both), alone, rtol=1e-4, atol=1e-5)


CATEGORICAL = {"critic.kind": "categorical", "critic.num_atoms": 21, "critic.support": "even"}
ADAPTIVE = CATEGORICAL | {"critic.support": "adaptive"}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "scalar": ("modern", {}),
    "scalar, study": ("dissertation", {}),
    "categorical": ("modern", CATEGORICAL | {"critic.target": "independent", "replay.priority": "kl"}),
    "categorical, study": ("dissertation", CATEGORICAL | {"critic.distribution_target": "as_written"}),
    "adaptive": ("modern", ADAPTIVE),
    "adaptive, study": ("dissertation", ADAPTIVE),
}


FAST = ("scalar", "adaptive")  # the others are slow tests


@pytest.mark.parametrize("kind", [k if k in FAST else pytest.param(k, marks=pytest.mark.slow) for k in KINDS])
def test_metrics_are_never_read_back(kind: str) -> None:
    """Updates without metrics end at bit-identical states and priorities; an adaptive support widens meanwhile."""
    preset, changes = KINDS[kind]
    agent = sac_lsp.make_agent(tiny_config(preset, **changes), SPEC)
    start = jax.jit(agent.init)(jax.random.key(0))
    if start.actor.support is not None:
        start = with_actor(start, support=start.actor.support._replace(edge_mass=np.float32(0.01)))

    def silent(state: LearnerState, batch: Batch, key: jax.Array) -> tuple[LearnerState, UpdateInfo]:
        after, info = agent.update(state, batch, key)
        return after, UpdateInfo(info.priorities, {})

    def learn(update: Callable[..., Any]) -> tuple[LearnerState, UpdateInfo]:
        keys = jax.random.split(KEY, 5)
        return jax.jit(lambda state: jax.lax.scan(lambda state, key: update(state, BATCH, key), state, keys))(start)

    (state, info), (other, nothing) = learn(agent.update), learn(silent)
    assert info.metrics
    assert nothing.metrics == {}
    chex.assert_trees_all_equal((state, info.priorities), (other, nothing.priorities))
    assert state.actor.support is None or state.actor.support.scale == 2


def test_normalized_rewards_are_divided_by_the_spread_of_returns(rng: np.random.Generator) -> None:
    """So that ranking rows equals ranking, without a normalizer, rows scaled by hand."""
    tiny = make_learner("modern")
    agent = sac_lsp.make_agent(tiny_config(**{"normalize.rewards": True, "reward_scale": 2.0}), SPEC)
    returns = rng.normal(5.0, 3.0, 6).astype(np.float32)

    @jax.jit
    def observe_and_rank(state: LearnerState) -> tuple[LearnerState, jax.Array]:
        state = agent.observe(state, BATCH.transitions, returns)
        return state, agent.priority(state.actor, BATCH.transitions, KEY)

    state, ranked = observe_and_rank(tiny.state)
    by_hand = with_rows(reward=BATCH.transitions.reward * 2 / returns.std()).transitions
    np.testing.assert_allclose(ranked, tiny.rank(state.actor, by_hand, KEY), rtol=1e-4)


@PRESETS
def test_observe_folds_rows_into_the_statistics_that_are_used(preset: str) -> None:
    tiny = make_learner(preset)
    after = tiny.agent.observe(tiny.state, BATCH.transitions, BATCH.transitions.reward)
    stats, empty = after.actor.observation_stats, normalizers.init((SPEC.observation_dim,))
    if preset == "modern":
        rows = BATCH.transitions.observation  # seen twice by now
        np.testing.assert_allclose(stats.mean, rows.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(stats.variance, rows.var(axis=0), rtol=1e-5)
    rest = (with_actor(state, observation_stats=empty) for state in (after, tiny.state))
    chex.assert_trees_all_equal(*rest)
    assert stats.count == (12 if preset == "modern" else 0)


@PRESETS
def test_acting(preset: str) -> None:
    """Over any leading axes, inside the environment's bounds; every way to act is `act_latent` of some latent."""
    tiny = make_learner(preset)
    observation = np.random.default_rng(5).normal(size=(4, 5, SPEC.observation_dim)).astype(np.float32)

    @jax.jit
    def every_way(actor: ActorParams) -> list[ActionSample]:
        agent, latent = tiny.agent, jax.random.normal(KEY, (4, 5, SPEC.action_dim))
        at_latents = [agent.act_latent(actor, observation, h) for h in (latent, 0 * latent)]
        mode, drawn = agent.act_mode(actor, observation), agent.act_random(actor, observation, KEY)
        return [*at_latents, agent.act(actor, observation, KEY), mode, drawn]

    samples = every_way(tiny.agent.actor_params(tiny.state))
    for sample in samples:
        assert sample.env_action.shape == sample.layer_action.shape == (4, 5, SPEC.action_dim)
        assert np.all(np.abs(sample.env_action) <= 1)
        np.testing.assert_allclose(np.tanh(sample.layer_action), sample.env_action, atol=1e-6)
    at_normal, at_zero, sampled, mode, drawn = samples
    chex.assert_trees_all_close(sampled, at_normal, atol=1e-6)
    chex.assert_trees_all_close(mode, at_zero, atol=1e-6)
    assert np.all(np.abs(drawn.env_action) < 1)
    assert len(np.unique([sampled.env_action, drawn.env_action])) == 2 * 4 * 5 * SPEC.action_dim


@PRESETS
def test_a_fresh_learner(preset: str) -> None:
    """The target starts as a copy; alpha at its initial value; no statistics, and no frozen layers."""
    tiny = make_learner(preset)
    state = jax.jit(tiny.agent.init)(jax.random.key(0))
    segments = tiny.segments(state.actor.params)
    np.testing.assert_array_equal(state.actor.target, segments["value" if preset == "dissertation" else "critic"])
    np.testing.assert_allclose(np.exp(segments["log_alpha"]), tiny.parts.config.temperature.initial, rtol=1e-6)
    assert ("value" in segments) == (preset == "dissertation")
    assert state.actor.observation_stats.count == state.actor.return_stats.count == 0
    assert state.actor.layers == ()
