"""Every combination once; done ones are skipped, interrupted ones resumed; bad flags stop it before the first run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lsp.config import Config, packaging, to_dict
from lsp.grid import command as grid
from lsp.storage.run_folder import locked, write_document
from tests.support.policies import untrained

ROOT = Path(__file__).parents[2]
GRID = ["--env=Pendulum-v1", "--steps=100", "--learning-starts=200", "--critic.tau=0.005", "--critic.tau=0.01"]


class Runner:
    """Notes down what would run, and ends as it is told; where it succeeds it leaves a checkpoint at step 100."""

    def __init__(self, *statuses: int) -> None:
        self.statuses, self.calls = list(statuses), []  # type: tuple[list[int], list[list[str]]]

    def __call__(self, flags: list[str]) -> int:
        self.calls.append(flags)
        status = self.statuses.pop(0) if self.statuses else 0
        named = dict(flag.removeprefix("--").split("=", 1) for flag in flags)
        folder = Path(named["resume"] if "resume" in named else f"{named['runs-dir']}/{named['name']}")
        if status == 0 and not folder.exists():
            untrained(folder)
        return status


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    return [f"--runs-dir={tmp_path}", "--name=g", *GRID]


def test_every_combination_once(arguments: list[str], tmp_path: Path, capsys: Any) -> None:
    runner = Runner()
    assert grid.main([*arguments, "--seed=0", "--seed=1"], runner) == 0
    names = [f"critic.tau={tau}__seed={seed}" for tau in ("0.005", "0.01") for seed in (0, 1)]
    assert [call[-1] for call in runner.calls] == [f"--name={name}" for name in names]
    assert all(f"--runs-dir={tmp_path / 'g'}" in call for call in runner.calls)
    assert [flag for flag in runner.calls[1] if "tau" in flag or "seed" in flag][:2] == [
        "--critic.tau=0.005",
        "--seed=1",
    ]
    assert "4 of 4 finished" in capsys.readouterr().out
    again = Runner()
    assert grid.main([*arguments, "--seed=0", "--seed=1"], again) == 0
    assert again.calls == []


def test_resumes(arguments: list[str], tmp_path: Path) -> None:
    """Interrupted in the second run, whose folder without a checkpoint is started again; one with is resumed."""
    assert grid.main(arguments, Runner(0, 130)) == 130
    (tmp_path / "g" / "critic.tau=0.01").mkdir()
    runner = Runner()
    assert grid.main(arguments, runner) == 0
    assert [call[-1] for call in runner.calls] == ["--name=critic.tau=0.01"]
    longer = Runner()
    assert grid.main([flag.replace("=100", "=150") for flag in arguments], longer) == 0
    assert longer.calls == [
        [f"--resume={tmp_path / 'g' / f'critic.tau={tau}'}", "--steps=150"] for tau in ("0.005", "0.01")
    ]


def test_a_run_that_has_just_begun_is_not_removed(arguments: list[str], tmp_path: Path, capsys: Any) -> None:
    """Two grids at once: the second finds a folder without a checkpoint that the first trains in."""
    folder = tmp_path / "g" / "critic.tau=0.005"
    write_document(folder, {"config": to_dict(Config())})
    with locked(folder):
        assert grid.main(arguments, runner := Runner()) == 2
    assert runner.calls == []
    assert "is in use" in capsys.readouterr().err
    assert folder.exists()


def test_without_ray_an_address_is_refused(arguments: list[str], monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "lsp.grid.cluster", raising=False)
    monkeypatch.delitem(sys.modules, "lsp.executors.ray", raising=False)
    assert grid.main([*arguments, "--address=HOST:6379"], Runner()) == 2
    assert capsys.readouterr().err.startswith(f"lsp: error: --address=HOST:6379 needs Ray: {packaging.install('ray')}")


def test_runs_as_a_module() -> None:
    """The package is the command."""
    line = [sys.executable, "-W", "error", "-m", "lsp.grid", "--help"]
    result = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == (f"{grid.HELP}\n", "")


def test_a_failure_does_not_stop_the_others(arguments: list[str], capsys: Any) -> None:
    runner = Runner(1, 0)
    assert grid.main(arguments, runner) == 1
    assert len(runner.calls) == 2
    assert "1 of 2 finished" in (out := capsys.readouterr().out)
    assert "failed: critic.tau=0.005" in out


@pytest.mark.parametrize(
    ("extra", "part"),
    [
        (["--critic.tua=1"], "did you mean --critic.tau?"),
        (["--critic.tau=7"], "must be a number in (0, 1]"),
        (["--critic.tau=0.01"], "given twice"),
        (["tau"], "unexpected 'tau'"),
        (["--resume=x"], "--resume"),
        (["@nowhere"], "@nowhere: No such file"),
        (["--name=h"], "--name is given 2 times"),
        (["--cpus=2"], "--cpus=2 goes with --address=HOST:PORT"),
        (["--address=x", "--gpus=some"], "--gpus=some: must be a finite number, 0 or more"),
    ],
)
def test_bad_input_stops_it_before_the_first_run(
    extra: list[str], part: str, arguments: list[str], capsys: Any
) -> None:
    runner = Runner()
    assert grid.main([*arguments, *extra], runner) == 2
    assert runner.calls == []
    err = capsys.readouterr().err
    assert part in err
    assert err.count("\n") == 1
    assert grid.main(GRID, runner) == 2


PROGRAMME = """
flags = "--env=Pendulum-v1 --learning-starts=200"
seeds = 2
steps = [100, 150]
[arms]
slow = "--critic.tau=0.005"
fast = "--critic.tau=0.01"
"""


@pytest.fixture
def programme(tmp_path: Path) -> list[str]:
    (tmp_path / "tau.toml").write_text(PROGRAMME)
    return [str(tmp_path / "tau.toml"), f"--runs-dir={tmp_path}"]


def test_a_programme_is_resumed_by_the_same_command(programme: list[str], tmp_path: Path, capsys: Any) -> None:
    runner = Runner(0, 0, 0, 130)
    assert grid.main(programme, runner) == 130
    assert [call[-2:] for call in runner.calls] == [
        [f"--runs-dir={tmp_path}/tau/{arm}", f"--name=seed_{seed}"] for seed in (0, 1) for arm in ("slow", "fast")
    ]
    again = Runner()
    assert grid.main(programme, again) == 0
    assert again.calls[0][-1] == "--name=seed_1"
    assert again.calls[1:] == [
        [f"--resume={tmp_path}/tau/{arm}/seed_{seed}", "--steps=150"] for seed in (0, 1) for arm in ("slow", "fast")
    ]
    assert "8 of 8 finished" in capsys.readouterr().out


def test_a_dry_run_lists_and_starts_nothing(programme: list[str], tmp_path: Path, capsys: Any) -> None:
    untrained(tmp_path / "tau" / "slow" / "seed_0")
    runner = Runner()
    assert grid.main([*programme, "--dry-run"], runner) == 0
    assert runner.calls == []
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f"lsp: 8 runs in {tmp_path}/tau, 100 of 600 environment steps done"
    assert lines[0].split() == ["slow/seed_0", "100", "done"]
    assert lines[1].split() == ["fast/seed_0", "100", "-"]
    assert lines[4].split() == ["slow/seed_0", "150", "at", "100"]
    assert len(lines) == 8


def test_results_by_arm_come_last(programme: list[str], tmp_path: Path, capsys: Any) -> None:
    evaluation = {"step": 100, "updates": 10, "protocol": "sampled", "lengths": [200], "terminated": [False]}
    for tau, arm in ((0.005, "slow"), (0.01, "fast")):
        for seed in (0, 1):
            folder = untrained(tmp_path / "tau" / arm / f"seed_{seed}", seed=seed, **{"critic.tau": tau})
            line = evaluation | {"return": -tau, "returns": [-tau]}
            (folder / "eval.jsonl").write_text(f"{json.dumps(line)}\n")
    assert grid.main([*programme, "--steps=100"], Runner()) == 0
    out = capsys.readouterr().out
    assert out.index("tau=0.005") < out.index("tau=0.01")  # in the programme's order
    assert "-0.01" in out
    *_, last, then = out.rstrip().splitlines()
    assert last.endswith(f"4 of 4 finished: {tmp_path}/tau")
    assert then.endswith(f"python -m lsp.report {tmp_path}/tau")


def test_jobs(programme: list[str], monkeypatch: Any, capsys: Any) -> None:
    seen = []
    monkeypatch.setattr(grid.jobs, "usable_cores", lambda: [0, 1])
    monkeypatch.setattr(grid.jobs, "run_all", lambda grid, count: seen.append(count) or [0] * len(grid.runs))
    assert grid.main([*programme, "--jobs=2"], Runner()) == 0
    assert seen == [2]
    for text, rule in (("3", "must be from 1 to 2"), ("x", "must be a whole"), ("1.5", "must be a whole")):
        assert grid.main([*programme, f"--jobs={text}"], Runner()) == 2
        assert f"--jobs={text}: {rule}" in capsys.readouterr().err


def test_a_cluster_takes_neither_jobs_nor_a_list_of_steps(programme: list[str], capsys: Any) -> None:
    assert grid.main([*programme, "--address=x", "--jobs=2"], Runner()) == 2
    assert "--jobs=2 does not go with --address" in capsys.readouterr().err
    assert grid.main([*programme, "--address=x"], Runner()) == 2
    assert "a list of steps does not go with --address" in capsys.readouterr().err
