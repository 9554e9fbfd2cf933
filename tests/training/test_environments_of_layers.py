"""What whole runs of real agents ask of environments: one at a time, also for growth, export and layers of others."""

from pathlib import Path
from typing import Any

import pytest

from lsp import export, run
from lsp.storage import layer_files, metrics
from tests.support.guests import Single
from tests.support.runs import command
from tests.support.runs import compiled_once as compiled_once

SHORT = {"env-kwargs": '{"max_episode_steps": 40}', "steps": 60, "learning_starts": 50, "executors.count": 1}

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_once")]


def test_a_task_of_one_instance(tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    """Trained, grown, resumed, exported, and built upon, with one environment each."""
    monkeypatch.setattr(Single, "made", 0)
    folder, grown = tmp_path / "single", {"layers": 2, "layer_steps": "50,10", "growth__critic_warmup": 2}
    flags = SHORT | {"env": "tests.support.guests:Single"}
    assert run.main(command(folder, **flags | grown)) == 0
    assert (Single.alive, Single.made) == (0, 1)
    assert run.main([f"--resume={folder}", "--steps=70"]) == 0
    assert (Single.alive, Single.made) == (0, 2)
    assert run.main(command(tmp_path / "upper", **flags | {"from_layers": folder})) == 0
    assert (Single.alive, Single.made) == (0, 3)
    assert export.main([str(folder)]) == 0
    assert (Single.alive, Single.made) == (0, 4)
    capfd.readouterr()


def test_an_environment_that_changes_the_working_folder(tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    """Everything is where it was asked for, and named as it was typed."""
    home, elsewhere = tmp_path / "my Läufe", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    monkeypatch.setenv("ELSEWHERE", str(elsewhere))
    monkeypatch.setenv("HOME", str(home))
    flags = SHORT | {"env": "tests.support.guests:Wanderer", "evaluation__every": 50, "runs-dir": "runs", "name": "a"}
    typed = command(home / "runs" / "a", **flags)

    def do(*arguments: str) -> int:
        monkeypatch.chdir(home)
        return run.main(arguments)

    assert do(*typed) == 0
    out, err = capfd.readouterr()
    assert out.startswith("lsp: finished: runs/a\n")
    assert "python -m lsp.report runs/a  #" in out
    assert "folder       runs/a\n" in err
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
