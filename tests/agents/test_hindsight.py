"""Agent `hindsight`: its presets, its switches, what its normalizers see, whole runs that stop and go on, learning."""

import dataclasses
import json
import re
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp import agents, run
from lsp.agents.sac_lsp import make_agent
from lsp.config import Config, ConfigError, GoalsConfig
from lsp.envs import goals
from lsp.envs.reacher import Reacher2DEnv
from lsp.packing import Layout
from lsp.storage import checkpoint, metrics
from lsp.training.device import RunState, advance, example_transition
from lsp.types import EnvSpec, GoalTask, Transition
from tests.support import goal_envs
from tests.support.builders import tiny_config
from tests.support.runs import assert_same_state, command, compiled_once, newest  # noqa: F401  # a fixture

TASK = GoalTask(2, partial(goals.cost, radius=0.5), goals.never, max_episode_steps=20)
SPEC = EnvSpec(observation_dim=5, action_dim=2, goals=TASK)
SWITCHES: dict[str, Any] = {"kind": "none", "strategy": "episode", "k": 1.0, "include_own": False}
REACHER = {"agent": "hindsight", "env": "lsp/Reacher2D-v0"}


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("modern", ("lsp/Reacher2D-v0", 0.95, 256, 1e-3)),
        ("dissertation", ("lsp/RllabAntStudy-v0", 0.99, 128, 3e-4)),
    ],
)
def test_presets(preset: str, expected: tuple[Any, ...]) -> None:
    config = agents.presets("hindsight", preset)
    assert (config.env, config.gamma, config.replay.batch_size, config.critic.learning_rate) == expected
    assert config.goals == GoalsConfig(kind="hindsight", strategy="future", k=4.0, include_own=True)
    assert config.n_step == 1


def small(goals_config: GoalsConfig, **overrides: Any) -> Config:
    sizes = {"replay.capacity": 64, "replay.batch_size": 6, "n_step": 1} | overrides
    return dataclasses.replace(tiny_config(**sizes), goals=goals_config)


@lru_cache
def program(config: Config) -> str:
    """All of a dispatch with two updates, as text; every operation fits together if there is one."""
    recipe = agents.build(config, SPEC)

    def dispatch(key: jax.Array, rows: jax.Array) -> Any:
        state = RunState(recipe.agent.init(key), recipe.replay.init(example_transition(SPEC)))
        arguments = (state, key, jnp.int32(9), rows, rows[:, 0], rows[:1, :5], jnp.bool_(False))
        return advance(recipe, SPEC, 2, *arguments)

    shape = jax.ShapeDtypeStruct((4, Layout.of(SPEC).width), jnp.float32)
    return re.sub(r"0x[0-9a-f]+", "", str(jax.make_jaxpr(dispatch)(jax.random.key(0), shape)))


@pytest.mark.parametrize("name", SWITCHES)
def test_every_switch_reaches_the_program(name: str) -> None:
    base = GoalsConfig(kind="hindsight")
    assert program(small(dataclasses.replace(base, **{name: SWITCHES[name]}))) != program(small(base))


def test_no_switch_is_forgotten() -> None:
    elsewhere = {"one_by_one"}  # is of the environment: tests/envs/test_judge.py
    assert {field.name for field in dataclasses.fields(GoalsConfig)} == SWITCHES.keys() | elsewhere


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        {"replay.kind": "prioritized", "replay.initial": "td"},
        {"replay.kind": "prioritized", "replay.policy_batch": "same", "replay.weights": "all"},
        {"executors.count": 2},
        {"gamma": 0.9},
    ],
)
def test_it_goes_with_other_switches(overrides: dict[str, Any]) -> None:
    hindsight = GoalsConfig(kind="hindsight")
    assert program(small(hindsight, **overrides)) != program(small(hindsight))
    assert program(small(hindsight, **overrides)) != program(small(GoalsConfig(), **overrides))


def test_normalizers_see_the_goals_that_rows_had_and_those_they_achieved() -> None:
    agent = make_agent(small(GoalsConfig(kind="hindsight")), SPEC)
    rng = np.random.default_rng(0)
    chunk = jax.tree.map(
        lambda leaf: rng.normal(size=(50, *leaf.shape)).astype(np.float32), example_transition(SPEC)
    )
    state = jax.jit(agent.observe)(agent.init(jax.random.key(0)), chunk, chunk.reward)
    achieved = np.concatenate([chunk.observation[:, :3], chunk.outcome[:, :2]], axis=1)
    seen = np.concatenate([chunk.observation, achieved])
    np.testing.assert_allclose(state.actor.observation_stats.mean, seen.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state.actor.observation_stats.variance, seen.var(axis=0), rtol=1e-4)


def test_one_line_for_an_environment_without_goals() -> None:
    with pytest.raises(ConfigError, match="lsp/RllabAnt-v0 has no goals: choose one that has"):
        agents.build(small(GoalsConfig(kind="hindsight")), EnvSpec(125, 8))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"env": "lsp/PointMass-v0"}, "--goals.kind=hindsight: environment lsp/PointMass-v0 has no goals"),
        ({"env": f"{goal_envs.__name__}:Plane"}, "Plane': its compute_reward cannot evaluate a batch of goals f[5, 2]"),
        ({"env": f"{goal_envs.__name__}:Shrinking"}, "Shrinking: its compute_reward gives -1 where it gave 0 for"),
        ({"env": f"{goal_envs.__name__}:Weighted"}, "Weighted': its compute_reward uses info, which adds"),
        ({"n_step": 3}, "--n-step=3: must be 1 with --goals.kind=hindsight"),
        ({"goals__strategy": "past"}, "--goals.strategy=past: must be future, final, episode or random"),
        ({"env": "lsp/RllabAntStudy-v0", "env_kwargs": '{"goal": "pose"}'}, "goal='pose': must be 'position' or"),
    ],
)
def test_bad_input_ends_in_one_line(flags: dict[str, Any], message: str, tmp_path: Path, capfd: Any) -> None:
    assert run.main(command(tmp_path / "run", **(REACHER | {"n_step": 1, "env_kwargs": "{}"} | flags))) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_once")
def test_a_run_goes_on_exactly(tmp_path: Path) -> None:
    """Stopped in the middle of episodes after a turn of the ring; success is written beside the return."""
    shared = REACHER | {"n_step": 1, "env_kwargs": '{"max_episode_steps": 13}', "replay__capacity": 60}
    shared |= {"evaluation__every": 70}
    assert run.main(command(tmp_path / "straight", steps=140, **shared)) == 0
    assert run.main(command(tmp_path / "stopped", steps=100, **shared)) == 0
    assert run.main([f"--resume={tmp_path / 'stopped'}", "--steps=140"]) == 0
    evaluations = metrics.read(tmp_path / "straight" / "eval.jsonl")
    assert all(set(line["success"]) <= {0.0, 1.0} and len(line["success"]) == 2 for line in evaluations)
    assert 0.0 <= metrics.read(tmp_path / "straight" / "metrics.jsonl")[-1]["success"] <= 1.0
    assert_same_state(tmp_path / "straight", tmp_path / "stopped")


class Foreign(gymnasium.Env[Any, Any]):
    """The reacher as someone else's environment: of its rewards nothing is known but `compute_reward`."""

    observation_space, action_space = Reacher2DEnv.observation_space, Reacher2DEnv.action_space

    def __init__(self) -> None:
        self.inside = Reacher2DEnv()
        self.reset, self.step, self.compute_reward = self.inside.reset, self.inside.step, self.inside.compute_reward


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_once")
def test_an_environment_of_which_only_compute_reward_is_known_learns_the_same(tmp_path: Path) -> None:
    """Judged on the host, inside the compiled scan; up to rounding what array functions give."""
    shared = REACHER | {"n_step": 1, "env_kwargs": '{"max_episode_steps": 13}', "replay__capacity": 60, "steps": 140}
    learned = []
    for name, env in (("known", "lsp/Reacher2D-v0"), ("foreign", f"{__name__}:Foreign")):
        assert run.main(command(tmp_path / name, **(shared | {"env": env}))) == 0
        learned.append(checkpoint.load(newest(tmp_path / name))[0]["learner"])
    assert any("params" in name for name in learned[0])
    for name, array in learned[0].items():
        np.testing.assert_allclose(array, learned[1][name], rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_once")
def test_worker_processes_learn_what_no_processes_do(tmp_path: Path, capfd: Any) -> None:
    """Of an environment that evaluates goals by itself, and no more once it is closed; what is assumed is said."""
    shared = REACHER | {"env": f"{goal_envs.__name__}:Closing", "n_step": 1, "env_kwargs": "{}", "steps": 100}
    shared |= {"replay__capacity": 60, "executors__count": 2}
    for name, engine in (("none", "inproc"), ("some", "process")):
        assert run.main(command(tmp_path / name, **shared, executors__engine=engine)) == 0
        said = capfd.readouterr().err
        assert said.count("it has no compute_terminated") == 1
        assert "warning" not in said
    assert_same_state(tmp_path / "none", tmp_path / "some")


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_fully")
def test_the_reacher_learns_within_a_minute(tmp_path: Path) -> None:
    """Sparse rewards of -1 and 0, of which one step in a thousand meets a goal at random."""
    flags = {"steps": 6000, "evaluation.every": 6000, "evaluation.episodes": 20, "replay.capacity": 10000}
    flags |= {"name": "run", "runs-dir": tmp_path, "evaluation.protocols": "mode"}
    assert run.main(["--agent=hindsight", *(f"--{name}={value}" for name, value in flags.items())]) == 0
    success = json.loads((tmp_path / "run" / "eval.jsonl").read_text().splitlines()[-1])["success"]
    assert np.mean(success) >= 0.8


def test_transitions_without_goals_are_as_before() -> None:
    assert Transition(*range(5)).outcome is None
    assert len(jax.tree.leaves(example_transition(EnvSpec(3, 1)))) == 5
