"""Environments are made as often as they are needed, and may do to the process what they like."""

import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from lsp import export, run
from lsp.storage import layer_files, metrics
from tests.support.runs import Puppet, command
from tests.support.runs import compiled_once as compiled_once

SHORT = {"env-kwargs": '{"max_episode_steps": 40}', "steps": 60, "learning_starts": 50, "executors.count": 1}

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_once")]


class Single(Puppet):
    """Of which there may be `seats` at a time. Counts how many were made."""

    seats: ClassVar[int] = 1
    alive: ClassVar[int] = 0
    made: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        if Single.alive >= Single.seats:
            raise RuntimeError("the simulator is in use")
        Single.alive += 1
        Single.made += 1

    def close(self) -> None:
        Single.alive -= 1


class Wanderer(Puppet):
    """Changes the working folder wherever it can."""

    def __init__(self) -> None:
        super().__init__()
        self._leave("constructor")

    def step(self, action: np.ndarray) -> Any:
        self._leave(f"step_{self.steps}")
        return super().step(action)

    def _leave(self, name: str) -> None:
        elsewhere = Path(os.environ["ELSEWHERE"]) / name
        elsewhere.mkdir(exist_ok=True)
        os.chdir(elsewhere)


@pytest.fixture(autouse=True)
def _counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("seats", 1), ("alive", 0), ("made", 0)):
        monkeypatch.setattr(Single, name, value)


def test_a_task_of_one_instance(tmp_path: Path, capfd: Any) -> None:
    """Trained, grown, resumed, exported, and built upon, with one environment each."""
    folder, grown = tmp_path / "single", {"layers": 2, "layer_steps": "50,10", "growth__critic_warmup": 2}
    flags = SHORT | {"env": f"{__name__}:Single"}
    assert run.main(command(folder, **flags | grown)) == 0
    assert (Single.alive, Single.made) == (0, 1)
    assert run.main([f"--resume={folder}", "--steps=70"]) == 0
    assert (Single.alive, Single.made) == (0, 2)
    assert run.main(command(tmp_path / "upper", **flags | {"from_layers": folder})) == 0
    assert (Single.alive, Single.made) == (0, 3)
    assert export.main([str(folder)]) == 0
    assert (Single.alive, Single.made) == (0, 4)
    capfd.readouterr()


@pytest.mark.parametrize(
    ("changes", "seats", "message"),
    [
        ({"evaluation__every": 50}, 1, "0 of --evaluation.episodes=2 environments could be made: "),
        ({"evaluation__every": 50}, 2, "1 of --evaluation.episodes=2 environments could be made: "),
        ({"executors.count": 3}, 2, "2 of --executors.count=3 environments could be made: "),
    ],
)
def test_too_many_instances(changes: dict[str, Any], seats: int, message: str, tmp_path: Path, capfd: Any) -> None:
    Single.seats = seats
    assert run.main(command(tmp_path / "run", **SHORT | {"env": f"{__name__}:Single"} | changes)) == 2
    (said,) = capfd.readouterr().err.splitlines()
    assert message in said
    assert "RuntimeError: the simulator is in use; " in said
    assert ("--evaluation.every=0" in said) == ("evaluation__every" in changes)
    assert Single.alive == 0
    assert list(tmp_path.iterdir()) == []


def test_evaluation_makes_as_many_as_it_has_episodes(tmp_path: Path) -> None:
    Single.seats = 3
    assert run.main(command(tmp_path / "run", **SHORT | {"env": f"{__name__}:Single", "evaluation__every": 60})) == 0
    assert (Single.alive, Single.made) == (0, 3)


def test_an_environment_that_changes_the_working_folder(tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    """Everything is where it was asked for, and named as it was typed."""
    home, elsewhere = tmp_path / "my Läufe", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    monkeypatch.setenv("ELSEWHERE", str(elsewhere))
    monkeypatch.setenv("HOME", str(home))
    flags = SHORT | {"env": f"{__name__}:Wanderer", "evaluation__every": 50, "runs-dir": "runs", "name": "a"}
    typed = command(home / "runs" / "a", **flags)

    def do(*arguments: str) -> int:
        monkeypatch.chdir(home)
        return run.main(arguments)

    assert do(*typed) == 0
    assert capfd.readouterr().out == "lsp: finished: runs/a\n"
    assert do("--resume=runs/a/", "--steps=70") == 0
    assert do(*[*typed, "--name=b", "--from-layers=runs/a"]) == 0
    assert do(*[*typed, "--name=c", "--runs-dir=~/other/"]) == 0
    monkeypatch.chdir(home)
    assert export.main(["runs/a"]) == 0
    assert sorted(path.name for path in home.iterdir()) == ["other", "runs"]
    for folder in ("runs/a", "runs/b", "other/c"):
        assert metrics.read(home / folder / "metrics.jsonl")
        assert len(layer_files.load(home / folder)) == (2 if folder == "runs/b" else 1)
    assert (home / "runs/a/policy/policy.json").exists()
    assert [path for path in elsewhere.rglob("*") if path.is_file()] == []
    assert '"from_layers": "runs/a"' in (home / "runs/b/config.json").read_text()
    capfd.readouterr()
    assert do(*typed) == 2
    assert capfd.readouterr().err == (
        "lsp: error: runs/a exists: choose another --name, or resume it with --resume=runs/a\n"
    )
