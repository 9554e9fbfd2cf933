"""Agent `prioritized`: its presets, its switches, the losses that weights touch, and whole runs that stop and go on."""

import dataclasses
import functools
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp import agents, run
from lsp.agents import learner, sac_lsp
from lsp.agents.parts import make_parts
from lsp.config import Config, ReplayConfig
from lsp.packing import Layout
from lsp.replay import annealing
from lsp.training.device import RunState, Stream, advance, example_transition, stream_key
from lsp.training.loop import Loop
from lsp.types import Batch
from tests.support.builders import SPEC, make_batch, tiny_config
from tests.support.runs import assert_same_state, command, compiled_once  # noqa: F401  # a fixture

LAP = {
    "kind": "prioritized", "scheme": "proportional", "priority": "lap", "alpha": 0.4, "initial": "max",
    "weights": "auto", "policy_batch": "uniform",
}  # fmt: skip
STUDY = {
    "kind": "prioritized", "scheme": "proportional", "priority": "td", "alpha": 0.5, "epsilon": 1e-6, "initial": "max",
    "weights": "q", "beta": 0.4, "beta_final": 1.0, "beta_updates": 10_001_000, "beta_schedule": "epochs",
    "beta_bug": False, "policy_batch": "same",
}  # fmt: skip
SWITCHES: dict[str, Any] = {
    "scheme": "rank",
    "priority": "td",
    "alpha": 0.7,
    "initial": "td",
    "weights": "all",
    "policy_batch": "same",
    "batch_size": 5,
    "capacity": 80,
}
WEIGHT_SWITCHES = {"beta": 0.5, "beta_final": 0.9, "beta_updates": 7, "beta_schedule": "epochs", "beta_bug": True}


@pytest.mark.parametrize(("preset", "replay", "loss"), [("modern", LAP, "huber"), ("dissertation", STUDY, "mse")])
def test_presets(preset: str, replay: dict[str, Any], loss: str) -> None:
    """They never drift, and all they change in the base agent is the replay and what it asks of the critics' loss."""
    config, base = agents.presets("prioritized", preset), agents.presets("sac_lsp", preset)
    assert {name: getattr(config.replay, name) for name in replay} == replay
    assert config.critic.loss == loss
    critic = dataclasses.replace(config.critic, loss=base.critic.loss)
    kind = dataclasses.replace(config.replay, kind="uniform")
    assert dataclasses.replace(config, agent="sac_lsp", critic=critic, replay=kind) == base


def replay_config(**overrides: Any) -> ReplayConfig:
    return ReplayConfig(**{"kind": "prioritized", "capacity": 64, "batch_size": 6, "weights": "none"} | overrides)


@functools.lru_cache
def program(replay: ReplayConfig) -> str:
    """All of a dispatch with two updates, as text; every operation fits together if there is one."""
    config = dataclasses.replace(tiny_config(), replay=replay)
    recipe = agents.build(config, SPEC)

    def dispatch(key: jax.Array, rows: jax.Array) -> Any:
        state = RunState(recipe.agent.init(key), recipe.replay.init(example_transition(SPEC)))
        return advance(recipe, SPEC, 2, state, key, jnp.int32(9), rows, rows[:, 0], rows[:1, :3], jnp.bool_(False))

    rows = jnp.zeros((4, Layout.of(SPEC).width))
    return re.sub(r"0x[0-9a-f]+", "", str(jax.make_jaxpr(dispatch)(jax.random.key(0), rows)))


@pytest.mark.parametrize("name", SWITCHES)
def test_every_switch_reaches_the_program(name: str) -> None:
    assert program(replay_config(**{name: SWITCHES[name]})) != program(replay_config())


@pytest.mark.slow
@pytest.mark.parametrize("name", WEIGHT_SWITCHES)
def test_every_switch_of_weights_reaches_the_program(name: str) -> None:
    weighted = functools.partial(replay_config, weights="all")
    assert program(weighted(**{name: WEIGHT_SWITCHES[name]})) != program(weighted())
    assert program(replay_config(**{name: WEIGHT_SWITCHES[name]})) == program(replay_config())


def test_switches_of_one_choice_reach_its_program() -> None:
    for choice, name, value in (({"priority": "td"}, "epsilon", 0.1), ({"scheme": "rank"}, "rank_refresh", 3)):
        assert program(replay_config(**choice, **{name: value})) != program(replay_config(**choice))


def test_no_switch_is_forgotten() -> None:
    known = {*SWITCHES, *WEIGHT_SWITCHES, "epsilon", "rank_refresh", "kind"}
    assert {field.name for field in dataclasses.fields(ReplayConfig)} == known


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["modern", "dissertation"])
def test_any_agent_may_have_prioritized_replay(preset: str) -> None:
    """`--agent=sac_lsp --replay.kind=prioritized`, and uniform replay takes no notice of its switches."""
    replay = agents.presets("sac_lsp", preset).replay
    small = dataclasses.replace(replay, capacity=64, batch_size=6)
    assert program(dataclasses.replace(small, kind="prioritized")) != program(small)
    assert program(dataclasses.replace(small, initial="td", weights="all", scheme="rank", alpha=0.9)) == program(small)


def betas(config: ReplayConfig, updates: list[int]) -> list[float]:
    return [round(float(annealing.from_config(config)(jnp.int32(count))), 5) for count in updates]


def test_the_exponent_of_the_study() -> None:
    """As planned, and as its code had it."""
    study = agents.presets("prioritized", "dissertation").replay
    assert betas(study, [0, 999, 1_000, 10_001_000]) == [0.4, 0.4, round(0.4 + 0.6 / 10_001, 5), 1.0]
    assert betas(dataclasses.replace(study, beta_bug=True), [0, 999, 1_000, 10_001_000]) == [0.4, 0.4, 1.40006, 1.40006]
    by_steps = ReplayConfig(beta=0.4, beta_updates=100)
    assert betas(by_steps, [0, 1, 50, 100, 200]) == [0.4, 0.406, 0.7, 1.0, 1.0]


def moved(config: Config, *weights: dict[str, np.ndarray]) -> list[set[str]]:
    """Which networks one update moves, for each choice of weights."""
    agent, flat = sac_lsp.make_agent(config, SPEC), make_parts(config, SPEC).flat

    @jax.jit
    def learn(batch: Batch) -> Any:
        state = agent.init(jax.random.key(0))
        return state.actor.params, agent.update(state, batch, jax.random.key(1))[0].actor.params

    def changed(before: Any, after: Any) -> set[str]:
        segments = {name: [learner.segment(flat, params, name) for params in (before, after)] for name in flat.sizes}
        return {name for name, (old, new) in segments.items() if np.any(old != new)}

    batch = make_batch(np.random.default_rng(0))
    return [changed(*learn(batch._replace(**each))) for each in weights]


@pytest.mark.slow
def test_weights_of_q_alone_are_not_those_of_the_policy() -> None:
    zero, one = np.zeros(6, np.float32), np.ones(6, np.float32)
    policy = {"weights": zero, "policy_weights": one}
    critic = {"weights": one, "policy_weights": zero}
    assert moved(tiny_config("dissertation"), policy, critic) == [{"policy", "value"}, {"critic"}]


@pytest.mark.slow
def test_new_rows_may_come_with_their_own_error(rng: np.random.Generator) -> None:
    """The learner's TD error where it is below the maximum, which is 1 in an empty replay."""
    config = dataclasses.replace(tiny_config(), replay=replay_config(initial="td", priority="td"))
    recipe = agents.build(config, SPEC)
    batch = make_batch(rng, 8).transitions
    batch = batch._replace(reward=np.linspace(0, 3, 8, dtype=np.float32))
    rows = np.concatenate([x if x.ndim == 2 else x[:, None] for x in batch[:5]], axis=1)

    @jax.jit
    def collect(key: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = RunState(recipe.agent.init(key), recipe.replay.init(example_transition(SPEC)))
        state, *_ = advance(recipe, SPEC, 0, state, key, jnp.int32(9), rows, rows[:, 0], rows[:1, :3], jnp.bool_(False))
        actor = recipe.agent.actor_params(state.agent)
        errors = recipe.agent.priority(actor, batch, stream_key(key, Stream.PRIORITIZE, 9))
        return state.replay.tree.levels[-1].ravel()[:8], errors

    masses, errors = collect(jax.random.key(0), rows)
    np.testing.assert_allclose(masses, np.minimum((errors + 1e-6) ** 0.4, 1.0), rtol=1e-5)
    assert len(set(masses.tolist())) > 2


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_once")
@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"preset": "dissertation", "replay__scheme": "rank", "replay__rank_refresh": 20, "replay__initial": "td"},
    ],
    ids=["modern", "dissertation, by rank"],
)
def test_a_run_goes_on_exactly(overrides: dict[str, Any], tmp_path: Path) -> None:
    """Stopped after a turn of the ring, and resumed with all that prioritized replay knows."""
    shared = {"agent": "prioritized", "replay__capacity": 60} | overrides
    assert run.main(command(tmp_path / "straight", steps=140, **shared)) == 0
    assert run.main(command(tmp_path / "stopped", steps=100, **shared)) == 0
    assert run.main([f"--resume={tmp_path / 'stopped'}", "--steps=140"]) == 0
    assert_same_state(tmp_path / "straight", tmp_path / "stopped")


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_once")
def test_an_error_that_is_not_finite_ends_the_run(tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    """Even one after which all parameters are finite: replay counts those that it refused."""
    answer = Loop.answer

    def answer_and_refuse(loop: Loop, seeds: Any) -> None:
        answer(loop, seeds)
        state = loop.device.state
        loop.device.state = state._replace(replay=state.replay._replace(counts=state.replay.counts.at[1].set(1)))

    monkeypatch.setattr(Loop, "answer", answer_and_refuse)
    assert run.main(command(tmp_path / "run", agent="prioritized", steps=140, replay__capacity=60)) == 1
    message = capfd.readouterr().err.splitlines()[-1]
    assert message.startswith("lsp: error: training diverged: a TD error is not finite at step 20; checkpoints in ")
