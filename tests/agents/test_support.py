"""A support that widens itself keeps what critics predict, and ends wide enough for the returns."""

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp.agents import parts, sac_lsp, support
from lsp.agents.learner import LearnerState
from lsp.types import Array
from tests.support.builders import SPEC, make_batch, tiny_config

BATCH = make_batch(np.random.default_rng(1), discount=0.8)
SETTINGS = {"critic.kind": "categorical", "critic.support": "adaptive", "critic.num_atoms": 81}


def make_config(v_max: float, preset: str = "modern", **changes: Any) -> Any:
    return tiny_config(preset, **SETTINGS | {"critic.v_min": -v_max, "critic.v_max": v_max} | changes)


@lru_cache
def make_state(preset: str) -> tuple[parts.Parts, LearnerState]:
    """Critics that predict smooth distributions, another at every state, the targets unlike them."""
    config = make_config(20.0, preset)
    made = parts.make_parts(config, SPEC)
    state = jax.jit(sac_lsp.make_agent(config, SPEC).init)(jax.random.key(0))
    atoms = np.linspace(-20, 20, 81)
    smooth = [np.float32(-((atoms - center) ** 2) / 8) for center in (-3.0, 4.0)]
    rng = np.random.default_rng(0)

    def tilted(kernel: Array) -> Array:
        return jnp.asarray(rng.normal(0.0, 0.1, (kernel.shape[0], 1)) * atoms, jnp.float32)

    def bend(flat: Any, vector: Array, bump: np.ndarray) -> Array:
        return support._on_outputs(made, flat, vector, tilted, lambda _: jnp.asarray(bump))

    actor = state.actor._replace(
        params=bend(made.flat, state.actor.params, smooth[0]),
        target=bend(made.flat_target, state.actor.target, smooth[1]),
    )
    return made, state._replace(actor=actor)


def predictions(made: parts.Parts, state: LearnerState) -> dict[str, np.ndarray]:
    """Expected returns in scaled reward, of every network."""
    assert state.actor.support is not None
    t, found = BATCH.transitions, {}
    for name, trees in (
        ("online", made.flat.unravel(state.actor.params)),
        ("target", made.flat_target.unravel(state.actor.target)),
    ):
        if "critic" in trees:
            outputs = made.critic.apply(trees["critic"], (), t.observation, jnp.tanh(t.action))
            found[f"{name} critic"] = np.asarray(made.head.values(outputs) * state.actor.support.scale)
        if "value" in trees:
            outputs = made.value.apply(trees["value"], (), t.observation)
            found[f"{name} value"] = np.asarray(made.head.values(outputs) * state.actor.support.scale)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["modern", "dissertation"])
def test_predictions_mean_the_same_after_widening(preset: str) -> None:
    made, state = make_state(preset)
    wide = jax.jit(partial(support.widen, made))(state, jnp.float32(1.1))
    assert wide.actor.support is not None
    assert float(wide.actor.support.scale) == 2.0
    before, after = predictions(made, state), predictions(made, wide)
    assert before.keys() == after.keys()
    assert len(before) == (3 if preset == "dissertation" else 2)
    for name, values in before.items():
        assert values.std() > 0.05, "a constant prediction would show nothing"
        np.testing.assert_allclose(after[name], values, atol=0.02, err_msg=name)  # spacing of atoms: 0.5, then 1


def test_below_the_threshold_only_the_running_mean_moves() -> None:
    made, state = make_state("modern")
    same = jax.jit(partial(support.widen, made))(state, jnp.float32(0.9))
    assert same.actor.support is not None
    np.testing.assert_allclose(same.actor.support.edge_mass, 9e-4, rtol=1e-6)
    for old, new in zip(jax.tree.leaves(state._replace(actor=state.actor._replace(support=None))),
                        jax.tree.leaves(same._replace(actor=same.actor._replace(support=None))), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.slow
def test_a_support_far_too_narrow_ends_wide_enough() -> None:
    """Every step pays 5 and continues at 0.8: a return of 25, on atoms that begin at [-1, 1]."""
    fast = {"critic.num_atoms": 41, "critic.learning_rate": 0.01, "critic.tau": 0.05}
    config = make_config(1.0, **fast, **{"temperature.initial": 1e-6})
    agent = sac_lsp.make_agent(config, SPEC)
    batch = BATCH._replace(transitions=BATCH.transitions._replace(reward=np.full_like(BATCH.weights, 5.0)))

    def step(state: LearnerState, key: Array) -> tuple[LearnerState, dict[str, Array]]:
        state, info = agent.update(state, batch, key)
        return state, {name: info.metrics[name] for name in ("q", "support_scale", "edge_mass", "clip_rate")}

    state = jax.jit(agent.init)(jax.random.key(0))
    _, metrics = jax.jit(partial(jax.lax.scan, step))(state, jax.random.split(jax.random.key(1), 2_000))
    scale = np.asarray(metrics["support_scale"])
    assert set(np.unique(np.log2(scale) % 1)) == {0.0}
    assert scale[-1] in (32.0, 64.0)
    assert metrics["edge_mass"][-1] < 1e-3
    assert metrics["clip_rate"][-1] < 1e-2
    np.testing.assert_allclose(metrics["q"][-1], 25.0, rtol=0.02)


def test_other_supports_carry_nothing() -> None:
    for changes in ({"critic.support": "even"}, {"critic.kind": "scalar"}):
        assert support.init(parts.make_parts(make_config(1.0, **changes), SPEC).head) is None


@pytest.mark.slow
def test_atoms_begin_where_the_first_returns_lie_and_stay_there() -> None:
    """At a power of two times the configured ones, |mean| + 2 std inside; once critics learn, returns move none."""
    config = make_config(5.0, reward_scale=2.0)
    agent, rng = sac_lsp.make_agent(config, SPEC), np.random.default_rng(2)
    state, observe = jax.jit(agent.init)(jax.random.key(0)), jax.jit(agent.observe)
    returns = rng.normal(-100.0, 10.0, (50, 16)).astype(np.float32)
    for chunk in returns:
        state = observe(state, BATCH.transitions, chunk)
    assert state.actor.support is not None
    assert float(state.actor.support.scale) == 64.0  # 2 * 120 / 5 = 48
    state, info = jax.jit(agent.update)(state, BATCH, jax.random.key(1))
    assert abs(float(info.metrics["q"])) < 1e-3
    after = observe(state, BATCH.transitions, 1e6 * returns[0])
    assert float(after.actor.support.scale) == 64.0
