"""Training from Python is training from the command line, and bad input says the same and writes nothing."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import lsp
from lsp import run as command_line
from lsp.envs.toys import PointMassEnv
from tests.support.runs import TINY
from tests.support.toy_runs import assert_same, toy_agents, toy_command  # noqa: F401  # a fixture

WHOLE = {"steps": 80, "log-every": 40, "evaluation.every": 40}
FIELDS = {name: value for name, value in {**TINY, **WHOLE}.items() if name not in ("env", "env-kwargs")}

pytestmark = pytest.mark.usefixtures("toy_agents")


def train(folder: Path, env: Any, **fields: Any) -> lsp.Run:
    return lsp.train(env=env, name=folder.name, runs_dir=folder.parent, **FIELDS | fields)


def test_the_same_as_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(tmp_path / "ours", "lsp/PointMass-v0", seed=3)
    assert "lsp/PointMass-v0" in capsys.readouterr().err
    arguments = toy_command(tmp_path / "theirs", seed=3)
    assert command_line.main([*arguments, *(f"--{name}={value}" for name, value in WHOLE.items())]) == 0
    assert_same(run.folder, tmp_path / "theirs")
    assert (run.step, run.config.seed) == (80, 3)


def test_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train(tmp_path / "run", PointMassEnv, quiet=True, env_kwargs={"max_episode_steps": 10})
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "bad",
    [
        {"agent": "sac_lps"},
        {"critic.tua": 0.1},
        {"critic.tau": 3},
        {"n_envs": 4},
        {"steps": 1.5},
        {"env": "Pendulun-v1"},
        {"env": "CartPole-v1"},
        {"replay.capacity": 3},
        {"seeds": "x"},
    ],
    ids=str,
)
def test_bad_input(bad: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line of the command line, as an exception, and nothing written."""
    flags = {"env": "lsp/PointMass-v0", "runs_dir": tmp_path / "runs"} | bad
    assert command_line.main([f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]) == 2
    (said,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("lsp: error: "))
    with pytest.raises(lsp.ConfigError) as caught:
        lsp.train(**flags)
    assert f"lsp: error: {caught.value}" == said
    assert not (tmp_path / "runs").exists()


def test_a_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It makes every environment, for evaluation and for resuming too; another process must be given it again."""
    run = train(tmp_path / "run", PointMassEnv, env_kwargs={"max_episode_steps": 10})
    assert "given:PointMassEnv is known in this process only" in capsys.readouterr().err
    assert run.config.env == "given:PointMassEnv"
    np.testing.assert_array_equal(run.evaluations("mode")["lengths"], [[10, 10]] * 2)
    assert run.resume(steps=90).step == 90
    assert command_line.main([f"--resume={run.folder}", "--steps=100"]) == 2
    assert "lsp: error: environment given:PointMassEnv was a Python object" in capsys.readouterr().err
    assert lsp.load(run.folder, env=PointMassEnv).resume(steps=100, quiet=True).step == 100


def test_a_single_environment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is trained on and left open, and nothing is evaluated."""
    env = gymnasium.wrappers.TimeLimit(PointMassEnv(), 10)
    run = train(tmp_path / "run", env, **{"executors.count": 1})
    assert "no evaluation while training; give a callable that returns" in capsys.readouterr().err
    assert run.config.evaluation.every == 0
    assert not run.evaluations()
    env.reset(seed=0)
    with pytest.raises(lsp.ConfigError, match=r"1 of --executors.count=2 .*one more is needed: give a callable"):
        train(tmp_path / "two", env)
    assert not (tmp_path / "two").exists()


def test_what_an_id_says_has_no_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    env = gymnasium.make("lsp/PointMass-v0", max_episode_steps=10)
    run = train(tmp_path / "run", env)
    assert "known in this process only" not in capsys.readouterr().err
    assert (run.config.env, run.config.env_kwargs) == ("lsp/PointMass-v0", '{"max_episode_steps": 10}')


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"executors.engine": "process"}, "^--executors.engine=process: given:PointMassEnv is a Python object"),
        ({"env_kwargs": "[]"}, "^--env-kwargs"),
        ({"callbacks": [print]}, r"^callbacks\[0\]"),
        ({"resume": "x"}, "^resume is no argument here"),
    ],
    ids=["engine", "kwargs", "callbacks", "resume"],
)
def test_misuse(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(lsp.ConfigError, match=message):
        train(tmp_path / "run", PointMassEnv, **fields)
    assert not (tmp_path / "run").exists()


def test_kwargs_beside_an_environment_that_has_some(tmp_path: Path) -> None:
    env = gymnasium.make("lsp/PointMass-v0", max_episode_steps=10)
    with pytest.raises(lsp.ConfigError, match=r"^--env-kwargs=\{\}: must be a dictionary beside an environment"):
        train(tmp_path / "run", env, env_kwargs="{}")
    run = train(tmp_path / "run", env, env_kwargs={"max_episode_steps": 20})
    assert run.config.env_kwargs == '{"max_episode_steps": 20}'
