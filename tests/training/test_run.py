"""A run that was stopped and resumed, however it was stopped, is the run that was not."""

import dataclasses
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from lsp import cli, run
from lsp.config import Config
from lsp.storage import checkpoint, metrics, run_folder
from lsp.training import session
from lsp.training.run import crossed, env_seeds
from tests.support.runs import (
    Puppet,
    assert_same_run,
    assert_same_state,
    command,
    newest,
    records,
    run_until,
    signal_at,
    snapshot,
)
from tests.support.runs import compiled_once as compiled_once

ROOT = Path(__file__).parents[2]
STEPS, LINE = 1600, 50
WHOLE = {
    "steps": STEPS,
    "log_every": LINE,
    "evaluation__every": 500,
    "checkpoint_every": 300,
    "milestone_every": 600,
}

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_once")]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, compiled_once: None) -> Path:
    """A run without a stop."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    assert run.main(command(folder, **WHOLE)) == 0
    return folder


def test_stopped_and_resumed(straight: Path, tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    """Stopped before learning; with rows that wait for their block, and episodes for their line; at a checkpoint."""
    folder = tmp_path / "stopped"
    arguments = command(folder, **WHOLE)
    for step, number in ((34, signal.SIGINT), (894, signal.SIGTERM), (1200, signal.SIGINT)):
        with monkeypatch.context() as patch:
            signal_at(patch, step, number)
            assert run.main(arguments) == 130
        out, err = capfd.readouterr()
        assert f"to continue: python -m lsp.run --resume={folder}\n" in out
        assert "\nstopping after this step" in err
        assert f"writing a checkpoint at step {step:,}" in err
        assert newest(folder).name == str(step)
        arguments = [f"--resume={folder}"]
    assert run.main(arguments) == 0
    err = capfd.readouterr().err
    assert "resuming at step 1,200 of 1,600" in err
    assert "new episode" not in err
    assert_same_run(straight, folder)


def lines(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_processes_signaled_and_killed(straight: Path, tmp_path: Path) -> None:
    """Ctrl-C, SIGTERM and kill -9, the last with lines after the newest checkpoint and in the middle of writing one."""
    folder, resume = tmp_path / "killed", [f"--resume={tmp_path / 'killed'}"]
    for number, arguments in ((signal.SIGTERM, command(folder, **WHOLE)), (signal.SIGINT, resume)):
        target = lines(folder) + 5
        status, output = run_until(lambda: lines(folder) >= target, number, arguments)  # noqa: B023
        assert status == 130, output
        assert f"--resume={folder}\n" in output

    step = int(newest(folder).name)
    later = [*resume, "--checkpoint-every=100"]
    status, output = run_until(lambda: int(newest(folder).name) > step and lines(folder) * LINE > step + 150, 9, later)
    assert status == -signal.SIGKILL, output
    assert metrics.read(folder / "metrics.jsonl")[-1]["step"] > int(newest(folder).name)

    torn = folder / "checkpoints"
    status, output = run_until(lambda: any(torn.glob(".*.partial")), 9, [*resume, "--checkpoint-every=20"])
    assert status == -signal.SIGKILL, output
    assert any(torn.glob(".*.partial"))
    checkpoint.load(newest(folder))

    assert run.main([*resume, f"--checkpoint-every={WHOLE['checkpoint_every']}"]) == 0
    assert not any(torn.glob(".*.partial"))
    assert_same_run(straight, folder)


def test_what_a_run_leaves(straight: Path) -> None:
    names = sorted(path.name for path in straight.iterdir())
    assert names == ["checkpoints", "config.json", "eval.jsonl", "layers", "metrics.jsonl"]
    assert [line["step"] for line in metrics.read(straight / "metrics.jsonl")] == list(range(LINE, STEPS + 1, LINE))
    evaluations = metrics.read(straight / "eval.jsonl")
    assert [line["step"] for line in evaluations] == [500, 500, 1000, 1000, 1500, 1500, 1600, 1600]
    assert [line["protocol"] for line in evaluations] == ["sampled", "mode"] * 4
    assert {len(line[name]) for line in evaluations for name in ("returns", "lengths", "terminated", "seeds")} == {2}
    assert checkpoint.steps(straight / "checkpoints") == [600, 1200, 1500, 1600]
    groups = [checkpoint.load(straight / "checkpoints" / step)[0] for step in ("600", "1600")]
    assert groups[0]["replay"] is None
    assert groups[0]["learner"].keys() == groups[1]["learner"].keys()


def test_lines_of_metrics_tell_of_the_steps_since_the_last(straight: Path) -> None:
    lines = metrics.read(straight / "metrics.jsonl")
    assert sum(line["episodes"] for line in lines) >= STEPS // 40
    assert all(line["length"] == 40 for line in lines if line["episodes"] and line["terminated"] == 0)
    assert all(line["updates"] <= line["step"] - 50 for line in lines)
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds)


def test_the_configuration_is_kept(straight: Path) -> None:
    config = cli.parse(command(straight, **WHOLE)).config
    assert run_folder.read_config(straight) == config
    document = json.loads((straight / "config.json").read_text())
    assert document.keys() == {"config", "command", "versions", "git", "platform", "format", "sessions", "seconds"}
    assert document["seconds"] > metrics.read(straight / "metrics.jsonl")[-1]["seconds"]


def test_evaluation_changes_nothing(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "blind"
    assert run.main(command(folder, steps=STEPS, log_every=LINE, checkpoint_every=0)) == 0
    assert (folder / "eval.jsonl").read_text() == ""
    assert checkpoint.steps(folder / "checkpoints") == [STEPS]
    assert_same_state(straight, folder)
    assert records(straight / "metrics.jsonl") == records(folder / "metrics.jsonl")


def test_a_longer_run_is_the_longer_run(straight: Path, tmp_path: Path) -> None:
    """Extended, resumed where nothing is left to do, and extended again with its metrics moved away."""
    folder = tmp_path / "extended"
    assert run.main(command(folder, steps=100, log_every=LINE)) == 0
    before = json.loads((folder / "config.json").read_text())
    assert session.resume(folder, {"steps": 150, "evaluation.every": 60})
    after = json.loads((folder / "config.json").read_text())
    assert after["config"] == before["config"] | {"steps": 150, "evaluation.every": 60}
    assert {**after, "config": 0, "sessions": 0, "seconds": 0} == {**before, "config": 0, "sessions": 0, "seconds": 0}
    assert [each["step"] for each in after["sessions"]] == [0, 100]
    assert after["seconds"] > before["seconds"]
    assert [line["step"] for line in metrics.read(folder / "eval.jsonl")] == [120, 120, 150, 150]
    assert records(folder / "metrics.jsonl") == records(straight / "metrics.jsonl")[:3]
    state = snapshot(newest(folder) / "learner")
    assert session.resume(folder, {})
    assert snapshot(newest(folder) / "learner") == state
    (folder / "metrics.jsonl").rename(tmp_path / "metrics.jsonl")
    assert session.resume(folder, {"steps": 200})
    assert records(folder / "metrics.jsonl") == records(straight / "metrics.jsonl")[3:4]


def test_an_environment_that_cannot_be_saved(tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    folder = tmp_path / "foreign"
    arguments = command(folder, env="tests.support.runs:Puppet", steps=100)
    with monkeypatch.context() as patch:
        signal_at(patch, 54, signal.SIGINT)
        assert run.main(arguments) == 130
    capfd.readouterr()
    assert run.main([f"--resume={folder}"]) == 0
    note = "environment tests.support.runs:Puppet cannot be saved: a new episode begins here\n"
    assert capfd.readouterr().err.count(note) == 1
    lines = metrics.read(folder / "metrics.jsonl")
    assert [line["step"] for line in lines] == [20, 40, 60, 80, 100]
    # Of each executor's 50 steps 27 came before the stop: no episode ever reached the limit of 40.
    assert [line["episodes"] for line in lines] == [0] * 5


def test_seeds() -> None:
    configs = [Config(seed=seed) for seed in range(50)]
    found = {purpose: [env_seeds(config, purpose, 10) for config in configs] for purpose in ("collect", "evaluate")}
    flat = [seed for purpose in found.values() for run_seeds in purpose for seed in run_seeds]
    assert all(0 <= seed < 2**31 for seed in flat)
    collect, evaluate = ({seed for run_seeds in found[purpose] for seed in run_seeds} for purpose in found)
    assert not collect & evaluate
    assert len(collect) == len(evaluate) == 500
    assert env_seeds(configs[0], "collect", 3) == found["collect"][0][:3]
    changed = dataclasses.replace(configs[0], steps=7)
    assert env_seeds(changed, "evaluate", 10) == found["evaluate"][0]


@pytest.mark.parametrize("interval", [0, 1, 3, 7, 100])
def test_crossed(interval: int) -> None:
    for before in range(20):
        for now in range(before, before + 9):
            multiples = [step for step in range(before + 1, now + 1) if interval and step % interval == 0]
            assert crossed(before, now, interval) == bool(multiples)


class Seldom(Puppet):
    """Meets its task in the 5th step of an episode, and says so then, for some steps; and nothing else ever."""

    until = 60

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.episode_steps = 0
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        observation, reward, *_ = super().step(action)
        self.episode_steps += 1
        met = self.episode_steps == 5 and self.steps < self.until
        return observation, reward, met, self.episode_steps == 10, {"is_success": True} if met else {}


def test_a_task_that_says_success_only_when_it_is_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The share of the episodes that met it, in every line: later ones of which none did, and after a resume."""
    folder = tmp_path / "run"
    given = {"env": "tests.training.test_run:Seldom", "env_kwargs": "{}", "learning_starts": 10_000, "steps": 160}
    assert run.main(command(folder, **given, evaluation__every=80)) == 0
    monkeypatch.setattr(Seldom, "until", 0)
    assert run.main([f"--resume={folder}", "--steps=240"]) == 0
    lines = metrics.read(folder / "metrics.jsonl")
    shares = [line["success"] for line in lines if line["episodes"]]
    assert shares == [line["terminated"] for line in lines if line["episodes"]]
    assert set(shares) >= {0.0, 1.0}
    assert lines[-1]["success"] == 0.0
    for line in metrics.read(folder / "eval.jsonl"):
        assert line["success"] == [float(terminated) for terminated in line["terminated"]]
        assert line["success"] == ([0.0, 0.0] if line["step"] == 240 else [1.0, 1.0])
