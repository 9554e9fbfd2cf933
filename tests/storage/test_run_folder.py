"""The folder of a run: what is read, what is written, and who may work on it. Broken files: `test_faults.py`."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lsp import presets
from lsp.config import ConfigError, to_dict
from lsp.storage import run_folder


def test_what_is_written_is_read(tmp_path: Path) -> None:
    config = presets("sac_lsp", "dissertation")
    run_folder.write_document(tmp_path / "new", {"config": to_dict(config), "else": 1})
    assert run_folder.read_config(tmp_path / "new") == config
    assert run_folder.read_document(tmp_path / "new")["else"] == 1


def test_a_crash_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    run_folder.write_document(tmp_path, {"config": {}})
    with pytest.raises(TypeError):
        run_folder.write_document(tmp_path, {"config": object()})
    assert json.loads((tmp_path / "config.json").read_text()) == {"config": {}}


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """Another process is refused in one line while the lock is held, and let in when its holder was killed."""
    hold = "import time, pathlib; from lsp.storage import run_folder\n"
    hold += f"with run_folder.locked(pathlib.Path({str(tmp_path)!r})):\n"
    command = [sys.executable, "-c", hold + " print('held', flush=True); time.sleep(60)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="is in use: another process trains there"), run_folder.locked(tmp_path):
            pass
        holder.kill()
    with run_folder.locked(tmp_path):
        pass


@pytest.mark.parametrize("name", ["plain", "with a space", "Läufe", "it's", 'a "b"', "$HOME", "~", "-x", "a;b", "a\nb"])
def test_the_command_to_resume_can_be_pasted(name: str, tmp_path: Path) -> None:
    """A shell hands over what it names, and nothing else."""
    line = run_folder.resume_command(Path("runs") / name)
    assert line.startswith("python -m lsp.run --resume=")
    script = line.replace("python -m lsp.run", "printf '%s\\0'")
    shown = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert shown == f"--resume=runs/{name}\0"
    assert shlex.split(line)[3:] == [f"--resume=runs/{name}"]


def test_where_a_run_can_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nowhere near a file, and where nothing may be written; it leaves nothing behind."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("x")
    for folder in (tmp_path / "new", tmp_path / "a/b/c", tmp_path / "empty"):
        run_folder.require_new(folder)
    for folder, message in (
        (tmp_path / "full", r"full exists: choose another --name, or resume it with --resume=.*full$"),
        (tmp_path / "full/precious", "exists: choose"),
        (tmp_path / "full/precious/run", "^cannot write to .*/run: .*precious is a file$"),
        (tmp_path / "full/precious/a/b", "precious is a file$"),
    ):
        with pytest.raises(ConfigError, match=message):
            run_folder.require_new(folder)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write everywhere
    with pytest.raises(ConfigError, match=r"^cannot write to .*new: nothing may be written to "):
        run_folder.require_new(tmp_path / "new")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty", "full", "precious"]


def test_seeds_of(tmp_path: Path) -> None:
    """By number and not by name; what has not begun, is no number or lies in a run's own folder is left out."""
    for seed in (10, 2):
        folder = run_folder.seed_folder(tmp_path, seed)
        folder.mkdir()
        (folder / "config.json").touch()
    for name in ("seed_3", "seed_x"):
        (tmp_path / name).mkdir()
    (tmp_path / "seed_x" / "config.json").touch()
    assert list(run_folder.seeds_of(tmp_path).items()) == [(2, tmp_path / "seed_2"), (10, tmp_path / "seed_10")]
    (tmp_path / "config.json").touch()
    assert run_folder.seeds_of(tmp_path) == {}
    assert run_folder.seeds_of(tmp_path / "nowhere") == {}
