"""Growing without waste: the same policy, the same critics, the same experience, seen from one layer higher."""

from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp import agents, flows, hierarchy, normalizers
from lsp.agents import learner, sac_lsp, stack, transfer
from lsp.agents.learner import ActorParams, LearnerState
from lsp.agents.parts import Parts, make_parts
from lsp.agents.policy import Observed
from lsp.agents.stack import Layer
from lsp.config import Config
from lsp.training.device import example_transition
from lsp.types import Recipe, Transition
from tests.support.builders import SPEC, make_batch, tiny_config
from tests.support.layers import make_layer
from tests.support.runs import compiled_once  # noqa: F401  # a fixture

BATCH = make_batch(np.random.default_rng(1), size=32, discount=0.9)
KEY = jax.random.key(5)
SMALL = {"replay.capacity": 64, "replay.batch_size": 8}
SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("latent critics", "dissertation")]
KINDS = pytest.mark.parametrize("kind", ["modern", "flat", *SLOW])

pytestmark = pytest.mark.usefixtures("compiled_once")


class Grown(NamedTuple):
    """A learner of two updates, and what grew out of it."""

    config: Config
    old_recipe: Recipe
    old: LearnerState
    layers: tuple[Layer, ...]
    recipe: Recipe
    parts: Parts
    state: LearnerState

    def segments(self, vector: jax.Array) -> dict[str, np.ndarray]:
        return {name: np.asarray(learner.segment(self.parts.flat, vector, name)) for name in self.parts.flat.sizes}


def make_config(kind: str) -> Config:
    changes: dict[str, dict[str, Any]] = {
        "flat": {"growth.add_layer": False, "growth.reward_scale": 3.0},
        "latent critics": {"growth.keep_critics": False, "critic.space": "layer"},
    }
    preset = "dissertation" if kind == "dissertation" else "modern"
    return tiny_config(preset, **SMALL | changes.get(kind, {}))


@lru_cache
def trained(preset: str) -> tuple[Recipe, LearnerState]:
    """A first layer after two updates; what growth says does not concern it."""
    recipe = agents.build(make_config(preset), SPEC)
    update = jax.jit(recipe.agent.update)

    @jax.jit
    def begin(key: jax.Array) -> LearnerState:
        return recipe.agent.observe(recipe.agent.init(key), BATCH.transitions, BATCH.transitions.reward)

    state = begin(jax.random.key(0))
    for i in range(2):
        state, _ = update(state, BATCH, jax.random.fold_in(KEY, i))
    return recipe, state


@lru_cache
def grown(kind: str) -> Grown:
    config = make_config(kind)
    recipe, old = trained("dissertation" if kind == "dissertation" else "modern")
    layers = (transfer.freeze(recipe.config, SPEC, old),) if config.growth.add_layer else ()
    new = agents.build(config, SPEC, layers, stage=1)
    parts = make_parts(new.config, SPEC, layers, transfer.reinitialised(config))
    state = jax.jit(lambda old, key: transfer.grow(config, SPEC, new, old, key))(old, jax.random.key(1))
    return Grown(config, recipe, old, layers, new, parts, state)


@lru_cache
def updated(kind: str) -> tuple[LearnerState, list[dict[str, jax.Array]]]:
    """After two updates of the new layer: the first moves its last weights, the second the others."""
    g = grown(kind)
    update, state, metrics = jax.jit(g.recipe.agent.update), g.state, []
    for i in range(2):
        state, info = update(state, BATCH, jax.random.fold_in(KEY, i))
        metrics.append(info.metrics)
    return state, metrics


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["modern", "flat"])
def test_the_policy_is_the_same_at_growth(kind: str) -> None:
    g, s = grown(kind), BATCH.transitions.observation
    latent = np.random.default_rng(2).normal(size=(32, 2)).astype(np.float32)
    before = make_parts(g.old_recipe.config, SPEC)

    def act(parts: Parts, actor: ActorParams) -> tuple[jax.Array, jax.Array]:
        seen = normalizers.normalize(actor.observation_stats, s)
        params = parts.flat.unravel(actor.params)["policy"]
        sample = parts.policy.at_latent(params, actor.layers, Observed(seen, jnp.asarray(s)), latent)
        return sample.env_action, sample.log_prob

    both = jax.jit(lambda old, new: (act(before, old), act(g.parts, new)))(g.old.actor, g.state.actor)
    for old, new in zip(*both, strict=True):
        np.testing.assert_allclose(new, old, atol=1e-6)


@KINDS
def test_what_is_kept_and_what_is_reinitialised(kind: str) -> None:
    g = grown(kind)
    before, after = g.segments(g.old.actor.params), g.segments(g.state.actor.params)
    is_new = {"modern": {"policy"}, "flat": set()}.get(kind, {"policy", "critic", "value"} & set(before))
    assert {name for name in before if np.any(before[name] != after[name])} == is_new
    for moment in ("mu", "nu"):
        old, new = (g.segments(getattr(state.opt_state[0], moment)) for state in (g.old, g.state))
        assert {name for name in new if name in is_new and np.any(new[name])} == set()
        assert all(np.array_equal(old[name], new[name]) for name in set(before) - is_new)
    kept = g.config.growth.keep_critics
    assert np.array_equal(g.old.actor.target, g.state.actor.target) == kept
    for name in ("observation_stats", "return_stats"):
        jax.tree.map(np.testing.assert_array_equal, getattr(g.old.actor, name), getattr(g.state.actor, name))
    if not kept:
        online = g.segments(g.state.actor.params)["value" if kind == "dissertation" else "critic"]
        np.testing.assert_array_equal(g.state.actor.target, online)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["modern", "latent critics", "dissertation"])
def test_frozen_layers_never_change_and_all_else_learns(kind: str) -> None:
    g = grown(kind)
    state, metrics = updated(kind)
    jax.tree.map(np.testing.assert_array_equal, state.actor.layers, tuple(layer.values for layer in g.layers))
    before, after = g.segments(g.state.actor.params), g.segments(state.actor.params)
    still = {name for name in before if np.array_equal(before[name], after[name])}
    assert still == ({"log_alpha"} if kind == "dissertation" else set())
    assert all(np.isfinite(value) for value in metrics[-1].values())
    jax.tree.map(np.testing.assert_array_equal, g.layers[0].values.observation_stats, g.old.actor.observation_stats)


def test_new_observations_move_the_running_normalizer_alone() -> None:
    g = grown("modern")
    shifted = BATCH.transitions._replace(observation=BATCH.transitions.observation + 5)
    after = jax.jit(g.recipe.agent.observe)(g.state, shifted, shifted.reward)
    jax.tree.map(np.testing.assert_array_equal, after.actor.layers, g.state.actor.layers)
    assert np.all(after.actor.observation_stats.mean != g.state.actor.layers[0].observation_stats.mean)


@pytest.mark.parametrize("kind", ["modern", "latent critics", "dissertation"])
def test_targets_of_re_encoded_rows_are_those_of_stored_latents(kind: str) -> None:
    g = grown(kind)
    t = BATCH.transitions

    @jax.jit
    def both(actor: Any) -> tuple[jax.Array, ...]:
        lower, _ = hierarchy.decode(stack.flows_of(g.layers), actor.layers, t.action, t.observation)
        encoded, usable = g.recipe.agent.encode(actor, t._replace(action=lower))
        ranks = [g.recipe.agent.priority(actor, rows, KEY) for rows in (t, encoded)]
        return encoded.action, usable, *ranks

    latent, usable, stored, re_encoded = both(g.state.actor)
    assert np.all(usable)
    np.testing.assert_allclose(latent, t.action, atol=1e-5)
    np.testing.assert_allclose(re_encoded, stored, rtol=1e-4, atol=1e-5)


def test_kept_critics_value_a_stored_action_as_before() -> None:
    """Q(s, F(h; s)) of the new layer is Q(s, a) of the old one."""
    g, t = grown("modern"), BATCH.transitions

    @jax.jit
    def q_values(actor: Any, old: Any) -> tuple[jax.Array, jax.Array]:
        rows, _ = g.recipe.agent.encode(actor, t)
        terminal = [each._replace(discount=0 * t.discount) for each in (rows, t)]
        return tuple(
            agent.priority(params, each, KEY)
            for agent, params, each in zip((g.recipe.agent, g.old_recipe.agent), (actor, old), terminal, strict=True)
        )

    new, old = q_values(g.state.actor, g.old.actor)
    np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-5)


def test_divergence_of_an_affine_layer_in_closed_form() -> None:
    """KL(N(t, e^2s) | N(0, 1)) = sum (e^2s + t^2 - 1 - 2s) / 2, and as much from the frozen policy's actions."""
    layer = make_layer(1, scale=0.5)
    config = tiny_config(**{"growth.identity": True})
    parts = make_parts(agents.build(config, SPEC, (layer,), stage=1).config, SPEC, (layer,), ("policy",))
    params = parts.flat.unravel(parts.flat.init(jax.random.key(0)))["policy"]
    shift, raw_scale = np.float32([0.5, -0.8]), np.float32([-0.4, 0.3])
    for i in range(2):
        out = params[f"coupling_{i}"]["both_out"]
        assert not np.any(out["kernel"])
        out["bias"] = jnp.array([shift[i], raw_scale[i]])
    s = 2 * np.tanh(raw_scale / 2)
    expected = 0.5 * np.sum(np.exp(2 * s) + shift**2 - 1 - 2 * s)
    latent = np.random.default_rng(0).normal(size=(2**15, 2)).astype(np.float32)
    observation = jnp.zeros((2**15, 3))
    sample = jax.jit(parts.policy.at_latent)(params, (layer.values,), Observed(observation, observation), latent)
    ratio = sample.layer_log_prob - flows.normal_log_prob(sample.layer_action)
    np.testing.assert_allclose(np.mean(ratio), expected, atol=5 * np.std(ratio) / 2**7.5)
    below = make_parts(config, SPEC)
    frozen = stack.frozen_flow(layer.config, SPEC, normalized=True)

    @jax.jit
    def from_actions(values: Any) -> jax.Array:
        u, log_det = frozen.forward_and_log_det(values, sample.layer_action, observation)
        return sample.log_prob - (flows.normal_log_prob(sample.layer_action) - log_det - flows.tanh_log_det(u))

    assert below.layers == ()
    np.testing.assert_allclose(from_actions(layer.values), ratio, atol=1e-3)


def test_the_divergence_is_zero_at_growth_and_grows() -> None:
    first, second = updated("modern")[1]
    for name in ("kl", "log_det", "entropy_cost"):
        np.testing.assert_allclose(first[name], 0, atol=1e-6)
        assert abs(second[name]) > 1e-6
    assert abs(first["log_det/0"]) > 1e-3


def test_the_temperature_falls_while_a_layer_diverges_less_than_it_may() -> None:
    """Whatever the action's entropy: on a frozen layer alpha cannot raise it, and would grow without end."""
    g, s = grown("modern"), BATCH.transitions.observation
    latent = np.random.default_rng(2).normal(size=(32, 2)).astype(np.float32)

    def slope(actor: ActorParams) -> jax.Array:
        seen = normalizers.normalize(actor.observation_stats, s)
        params = g.parts.flat.unravel(actor.params)["policy"]
        sample = g.parts.policy.at_latent(params, actor.layers, Observed(seen, jnp.asarray(s)), latent)
        return jax.grad(lambda x: sac_lsp._temperature_loss(g.parts, actor, x, sample))(0.0)

    allowed = g.config.growth.divergence_per_dim * SPEC.action_dim
    np.testing.assert_allclose(jax.jit(slope)(g.state.actor), allowed, atol=1e-5)  # the identity diverges by nothing


@pytest.mark.slow
def test_warming_up_teaches_the_critics_alone() -> None:
    g = grown("latent critics")
    memory = g.recipe.replay.add(g.recipe.replay.init(example_transition(SPEC)), BATCH.transitions, jnp.zeros(32))
    warm = jax.jit(lambda state, memory, keys: transfer.warm_up(g.parts.flat, g.recipe, state, memory, keys))
    state, _ = warm(g.state, memory, jax.random.split(KEY, 3))
    before, after = g.segments(g.state.actor.params), g.segments(state.actor.params)
    changed = {name for name in before if np.any(before[name] != after[name])}
    assert changed == {"critic", "value"} & set(before)
    adam, counts, _ = state.opt_state
    assert np.all(g.segments(adam.mu)["policy"] == g.segments(g.state.opt_state[0].mu)["policy"])
    assert (counts.reinitialised["policy"], counts.reinitialised["critic"]) == (0, 3)
    assert counts.adam == adam.count == g.state.opt_state[0].count + 3
    assert np.any(state.actor.target != g.state.actor.target)


@pytest.mark.slow
def test_a_layer_that_does_not_train_and_entropy_of_actions() -> None:
    """The cost is then the composed log-density, as if there were one layer: alpha times minus the entropy."""
    config = tiny_config(**SMALL | {"growth.train_layer": False, "growth.entropy": "action"})
    agent = agents.build(config, SPEC, grown("modern").layers, stage=1).agent
    before = jax.jit(agent.init)(KEY)
    after, info = jax.jit(agent.update)(before, BATCH, KEY)
    old, new = (grown("modern").segments(state.actor.params) for state in (before, after))
    assert {name for name in old if np.any(old[name] != new[name])} == {"critic", "log_alpha"}
    expected = -info.metrics["alpha"] * info.metrics["entropy"]
    np.testing.assert_allclose(info.metrics["entropy_cost"], expected, rtol=1e-4)


def test_rows_of_two_layers_below_are_encoded_through_both() -> None:
    """A third layer: what the first stored goes up twice, and means the same."""
    layers = tuple(make_layer(seed, scale=0.5) for seed in range(2))
    t = BATCH.transitions
    recipes = [agents.build(make_config("modern"), SPEC, layers[:depth], stage=depth) for depth in (1, 2)]

    @jax.jit
    def climb(key: jax.Array, rows: Transition) -> tuple[Transition, jax.Array]:
        for recipe in recipes:
            rows, usable = recipe.agent.encode(recipe.agent.init(key).actor, rows)
        return rows, usable

    rows, usable = climb(KEY, t)
    assert np.all(usable)
    values = [layer.values for layer in layers]
    again, _ = jax.jit(lambda h: hierarchy.decode(stack.flows_of(layers), values, h, t.observation))(rows.action)
    np.testing.assert_allclose(again, t.action, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("keep_critics", [False, True])
def test_a_support_follows_another_reward_where_critics_are_new(keep_critics: bool) -> None:
    """As in a fresh agent, until their first update; kept critics have learned, and keep theirs."""
    critic = {"critic.kind": "categorical", "critic.support": "adaptive", "critic.num_atoms": 21}
    critic |= {"critic.v_min": -5.0, "critic.v_max": 5.0, "growth.keep_critics": keep_critics}
    config = tiny_config(**SMALL | critic)
    recipe = agents.build(config, SPEC)
    old = jax.jit(recipe.agent.init)(jax.random.key(0))
    for i in range(2):
        old, _ = jax.jit(recipe.agent.update)(old, BATCH, jax.random.fold_in(KEY, i))
    new = agents.build(config, SPEC, (transfer.freeze(recipe.config, SPEC, old),), stage=1)
    grow = jax.jit(partial(transfer.grow, config, SPEC, new, same_reward=keep_critics))
    grown, fresh = grow(old, jax.random.key(1)), jax.jit(new.agent.init)(jax.random.key(1))
    observe, rng = jax.jit(new.agent.observe), np.random.default_rng(3)
    for _ in range(5):
        returns = rng.normal(300.0, 20.0, 32).astype(np.float32)
        grown, fresh = observe(grown, BATCH.transitions, returns), observe(fresh, BATCH.transitions, returns)
    assert float(fresh.actor.support.scale) == 128.0
    assert float(grown.actor.support.scale) == (1.0 if keep_critics else 128.0)
    grown, _ = jax.jit(new.agent.update)(grown, BATCH, KEY)
    scale = float(grown.actor.support.scale)
    for _ in range(5):
        grown = observe(grown, BATCH.transitions, 100 * returns)
    assert float(grown.actor.support.scale) == scale
