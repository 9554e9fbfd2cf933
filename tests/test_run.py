"""The command line, run: exit status, one line for an error, and nothing written where the input was bad."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lsp import cli, envs, run
from lsp.config import Config, ConfigError
from lsp.storage import checkpoint, metrics
from lsp.storage.run_folder import resume_command
from lsp.training import session
from lsp.training.divergence import Diverged
from lsp.training.session import Ending

ROOT = Path(__file__).parents[1]
TINY = (
    "--env=lsp/PointMass-v0 --steps=300 --warmup-steps=50 --learning-starts=200 --replay.capacity=400 "
    "--replay.batch-size=16 --critic.hidden-sizes=8,8 --flow.hidden-sizes=8 --flow.embedding-sizes=8 "
    "--flow.num-couplings=1 --critic.count=1 --no-critic.layer-norm --no-normalize.observations "
    "--evaluation.episodes=1 --evaluation.protocols=mode --log-every=100"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LSP_DEBUG", raising=False)
    return tmp_path


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The error that was printed, which must be one line."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("lsp: error: ")
    return lines[0].removeprefix("lsp: error: ")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--agent=sac_lps", "did you mean sac_lsp?"),
        ("--replay.capcity=5", "did you mean --replay.capacity?"),
        ("--critic.loss=hubert", "did you mean huber?"),
        ("--env=lsp/PointMas-v0", "did you mean lsp/PointMass-v0"),
        ("--env=nowhere:Env", "cannot import module 'nowhere'"),
        ("--env=CartPole-v1", "continuous"),
        ('--env=lsp/PointMass-v0 --env-kwargs={"mass":2}', "mass=2"),
        ("--steps=-1", "--steps=-1: must be a whole number from 1"),
        ("--utd=0", "--utd=0: must be a finite number above 0"),
        ("--gamma=nan", "--gamma=nan: must be a number in [0, 1)"),
        ("--critic.learning-rate=fast", "--critic.learning-rate=fast: must be a finite number above 0"),
        ("--policy.gradient=likelihood_ratio", "--critic.value-network"),
        ("--replay.capacity=64", "at least --replay.batch-size=128"),
        ("--env=lsp/PointMass-v0 --replay.capacity=2_000_000_000", "GB are free"),
        ("--env=lsp/PointMass-v0 --replay.capacity=2_000_000_000 --dry-run", "GB are free"),
        ("--resume=runs/none", "runs/none is not a run"),
        ("--resume=runs/none --name=x", "--name cannot go with --resume"),
        ("--name=../x", "--name=../x: must be the name of one folder"),
        ("--name=..", "--name=..: must be the name of one folder"),
    ],
)
def test_bad_input(line: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(line.split()) == 2
    assert message in error_of(capsys)
    assert list(folder.iterdir()) == []


def test_an_existing_run_stays_as_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    precious = folder / "runs" / "x" / "metrics.jsonl"
    precious.parent.mkdir(parents=True)
    precious.write_text("{}\n")
    assert run.main([*TINY.split(), "--name=x"]) == 2
    assert "runs/x exists: choose another --name, or resume it with --resume=runs/x" in error_of(capsys)
    assert [path.name for path in precious.parent.iterdir()] == ["metrics.jsonl"]
    assert precious.read_text() == "{}\n"


def test_a_runs_dir_that_cannot_be_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "runs").write_text("a file")
    assert run.main([*TINY.split(), "--name=x"]) == 2
    assert "runs/x" in error_of(capsys)
    assert (folder / "runs").read_text() == "a file"


@pytest.mark.parametrize(
    ("outcome", "status", "message"),
    [
        (ConfigError("no such\n  thing"), 2, "lsp: error: no such thing\n"),
        (checkpoint.CheckpointError("torn"), 1, "lsp: error: torn\n"),
        (envs.EnvironmentFault("reward nan"), 1, "lsp: error: reward nan\n"),
        (Diverged("q is nan"), 1, "lsp: error: q is nan\n"),
        (OSError(28, "No space left on device"), 1, "lsp: error: [Errno 28] No space left on device\n"),
        (KeyboardInterrupt(), 130, "lsp: interrupted\n"),
        (Ending(True, []), 0, ""),
        (Ending(False, []), 130, ""),
    ],
)
def test_exit_status(
    outcome: Any, status: int, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(session, "start", outcome_as(outcome, started := []))
    monkeypatch.setattr(session, "resume", outcome_as(outcome, resumed := []))
    assert run.main(["--runs-dir=r", "--name=x", "--seed=3"]) == status
    assert capsys.readouterr().err == message
    assert run.main(["--resume=r/x", "--steps=9"]) == status
    assert started == [(cli.parse(["--seed=3"]).config, folder / "r/x", ())]
    assert resumed == [(folder / "r/x", {"steps": 9})]
    hint = "python -m lsp.run --resume=r/x"
    assert (hint in capsys.readouterr().out) == (outcome == Ending(False, []))


def outcome_as(outcome: Any, calls: list[Any]) -> Callable[..., Ending]:
    """A function that notes down its arguments, and returns or raises `outcome`."""

    def function(*arguments: Any) -> bool:
        calls.append(arguments)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return function


def test_debugging_shows_tracebacks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSP_DEBUG", "1")
    with pytest.raises(ConfigError, match="sac_lps"):
        run.main(["--agent=sac_lps"])


def test_a_bug_is_not_hidden(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "start", outcome_as(ValueError("a bug"), []))
    with pytest.raises(ValueError, match="a bug"):
        run.main([])


def test_the_next_commands_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    for outcome in (Ending(True, []), Ending(False, [])):
        monkeypatch.setattr(session, "start", outcome_as(outcome, []))
        run.main(["--name=my run"])
        assert "    python -m lsp.report 'runs/my run'  # " in capsys.readouterr().out


def test_default_names(folder: Path) -> None:
    options = cli.RunOptions(runs_dir="elsewhere")
    names = [run.run_dir(options, Config(env=env, seed=7)) for env in ("lsp/RllabAnt-v0", "my.module:Env")]
    assert {name.parent for name in names} == {Path("elsewhere")}
    assert re.fullmatch(r"lspRllabAnt-v0__sac_lsp__s7__\d{8}-\d{6}", names[0].name)
    assert re.fullmatch(r"my\.moduleEnv__sac_lsp__s7__\d{8}-\d{6}", names[1].name)


def test_dry_run_prints_what_would_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [*TINY.split(), "--preset=dissertation", '--env-kwargs={"max_episode_steps": 9}']
    assert run.main([*line, "--dry-run", "--name=x"]) == 0
    out = capsys.readouterr().out
    assert "# environment  lsp/PointMass-v0: 4 observations, 2 actions\n" in out
    assert "# replay       400 transitions, 0.02 MB\n# folder       runs/x\n" in out
    assert " GB are free\n" in out
    flags = [text for text in out.splitlines() if not text.startswith("#")]
    assert cli.parse(shlex.split(" ".join(flags))).config == cli.parse(line).config
    assert list(folder.iterdir()) == []


def test_version(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--version"]) == 0
    assert re.fullmatch(r"lsp (\d+\.\d+\.\d+|not installed)(, revision [0-9a-f]+(-dirty)?)?\n", capsys.readouterr().out)


def lsp_run(*arguments: str, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """`python -m lsp.run`, as a user has it."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command: Sequence[str] = [sys.executable, "-m", "lsp.run", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, text=True, check=False, **options)


def test_help_into_a_closed_pipe(folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        result = lsp_run("--help", cwd=folder, stdout=closed, stderr=subprocess.PIPE)
    assert result.stderr == ""
    assert result.returncode == 1


def test_a_process_ends_with_the_status(folder: Path) -> None:
    result = lsp_run("--agent=sac_lps", cwd=folder, capture_output=True)
    assert result.returncode == 2
    assert result.stderr.startswith("lsp: error: --agent=sac_lps")
    assert result.stdout == ""


@pytest.mark.slow
def test_a_run_and_its_continuation(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main([*TINY.split(), "--name=a", "--seed=5"]) == 0
    assert "lsp: finished: runs/a" in capsys.readouterr().out
    document = json.loads(Path("runs/a/config.json").read_text())["config"]
    assert (document["seed"], document["critic.hidden_sizes"]) == (5, [8, 8])
    assert [record["step"] for record in metrics.read(Path("runs/a/metrics.jsonl"))] == [100, 200, 300]
    assert [record["step"] for record in metrics.read(Path("runs/a/eval.jsonl"))] == [300]
    capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert run.main(["--resume=runs/a", "--log-every=50"]) == 0
    out, err = capsys.readouterr()
    assert err == (
        "runs/a is finished, at step 300 of 300; to go further:\n  python -m lsp.run --resume=runs/a --steps=600\n"
    )
    assert out.startswith("lsp: finished: runs/a\n  last evaluation, step 300: mode policy returns ")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert run.main(["--resume=runs/a", "--steps=200"]) == 2
    assert error_of(capsys) == "--steps=200: the run stands at step 300; to go further, more, such as --steps=600"
    assert run.main(["--resume=runs/a", "--seed=6"]) == 2
    assert "--seed cannot change" in error_of(capsys)
    assert run.main(["--resume=runs/a", "--steps=400"]) == 0
    assert [record["step"] for record in metrics.read(Path("runs/a/metrics.jsonl"))] == [100, 200, 300, 400]


@pytest.mark.parametrize("typed", ["runs/a", "my runs/a", "it's/a", "../up/a", "."])
def test_messages_name_folders_as_they_were_typed(typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "a 'home' of one's own"
    home.mkdir()
    monkeypatch.chdir(home)
    place = Path(typed).absolute()
    said = run.as_typed(f"{place}/x is broken; to continue: {resume_command(place)}", place, Path(typed))
    assert said == f"{typed}/x is broken; to continue: {resume_command(Path(typed))}"
