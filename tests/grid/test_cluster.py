"""A grid on a Ray cluster does what it does without, and a lost or stopped run can be resumed."""

import os
from pathlib import Path
from typing import Any

import pytest

from lsp.config import ConfigError
from lsp.grid import command as grid
from lsp.grid.plan import Grid, GridRun
from lsp.storage.run_folder import locked
from tests.support.policies import untrained

pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
from lsp.grid import cluster  # it imports Ray

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own
ROOT = Path(__file__).parents[2]
SCRIPT = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda number, frame: (print("a checkpoint"), sys.exit(130)))
print("running", sys.argv[1:], flush=True)
time.sleep(float(sys.argv[-1]))
sys.exit(3)
"""


@pytest.fixture
def fake_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of `lsp.run` a script that sleeps for its last argument, and ends with 3 unless stopped; its log."""
    (tmp_path / "lsp").mkdir()
    (tmp_path / "lsp" / "__init__.py").touch()
    (tmp_path / "lsp" / "run.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)  # which `python -m` looks into first
    monkeypatch.setattr(cluster, "POLL", 0.01)
    return tmp_path / "log"


def test_a_run_has_a_process_and_a_log(fake_run: Path) -> None:
    assert cluster._run(["--a=1", "0"], fake_run) == 3
    assert fake_run.read_text() == "running ['--a=1', '0']\n"


def test_a_cancelled_run_writes_its_checkpoint(fake_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(seconds: float) -> None:
        if fake_run.read_text():  # it runs
            raise KeyboardInterrupt

    monkeypatch.setattr(cluster.time, "sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        cluster._run(["100"], fake_run)
    assert fake_run.read_text().endswith("a checkpoint\n")


def test_what_a_task_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = [0, 1]
    monkeypatch.setattr(cluster, "_run", lambda flags, log: statuses.pop(0))
    done, new = GridRun("done", [], 100), GridRun("new", [], 100)
    untrained(tmp_path / "done")
    told = [cluster._complete(tmp_path, run, os.getcwd()) for run in (done, new, new)]
    assert told == [(0, "done before"), (0, "finished"), (1, f"failed: see {tmp_path / 'new.log'}")]
    assert statuses == []
    more = GridRun("done", [], 200)
    with locked(tmp_path / "done"):
        statuses.append(2)
        assert cluster._complete(tmp_path, more, os.getcwd())[0] == 2
    status, text = cluster._complete(tmp_path, new, str(tmp_path / "elsewhere"))
    assert (status, text[:6]) == (2, "error:")


@pytest.mark.slow
def test_a_grid_on_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """On this machine: what is done is skipped, a run that fails fails alone, and says where to look."""
    folder = tmp_path / "g"
    untrained(folder / "steps=100")
    (folder / "steps=150").mkdir()
    (folder / "steps=150" / "config.json").write_text("broken")
    line = [f"--runs-dir={tmp_path}", "--name=g", "--env=Pendulum-v1", "--steps=100", "--steps=150", "--address=local"]
    assert grid.main(line) == 1
    out = capsys.readouterr().out
    assert "steps=100: done before" in out
    assert "steps=150: error:" in out
    assert "1 of 2 finished" in out


@pytest.mark.slow
def test_more_than_any_machine_has(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--cpus=1000 --gpus=0: no machine of the cluster has as many"):
        cluster.run_all(Grid(tmp_path / "g", [], {}), "local", 1000, 0)
    assert list(tmp_path.iterdir()) == []


def test_no_cluster_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--address=nowhere: no Ray cluster there"):
        cluster.run_all(Grid(tmp_path / "g", [], {}), "nowhere", 1, 0)
