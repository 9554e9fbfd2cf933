"""The folder of a run: what is read, what is written, and who may work on it. Broken files: `test_faults.py`."""

import json
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
