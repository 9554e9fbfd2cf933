"""Whatever ends a run, no process and no shared memory stays behind; and after a kill -9 it goes on without a hole."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lsp.storage import checkpoint
from tests.support.processes import ROOT, SHARED, gone
from tests.support.runs import command, compiled_once, newest  # noqa: F401  # a fixture

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_once")]
ENGINES = ["process", "ray"]
OPTIONS: dict[str, Any] = {
    "agent": "distributed_prioritized",
    "block": 2,
    "executors.mode": "async",
    "executors.workers": 2,
    "executors.chunk": 4,
}
UNLEARNED = {"learning-starts": 10_000}  # nothing to compile but acting
LONG = {"steps": 1_000_000, "checkpoint-every": 60}


class Session:
    """A run in processes of its own, all of which carry a mark, however far they get from the one that began it."""

    def __init__(self, arguments: list[str], mark: str) -> None:
        self.mark = f"LSP_TEST_SESSION={mark}".encode()
        environment = os.environ | {"LSP_TEST_SESSION": mark, "PYTHONPATH": str(ROOT)}
        line = [sys.executable, "-m", "lsp.run", *arguments]
        self.learner = subprocess.Popen(
            line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )

    def processes(self) -> list[int]:
        """All that live."""
        return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if self.mark in contents(path)]

    def wait_for(self, event: Callable[[], Any]) -> None:
        """Until it happens; the workers are there then."""
        while not event():
            assert self.learner.poll() is None, self.errors()
            time.sleep(0.05)
        assert len(self.processes()) > 2

    def errors(self) -> str:
        """What the learner said, once it has ended."""
        return self.learner.communicate(timeout=120)[1].decode()


def contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.fixture(params=ENGINES)
def begin(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Session]]:
    """Begins runs of an engine, and looks afterwards whether anything is left of them."""
    if request.param == "ray" and importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install -e '.[ray]'")
    begun: list[Session] = []
    shared = set(os.listdir(SHARED))

    def session(*arguments: str, **options: Any) -> Session:
        own = command(tmp_path / "run", **OPTIONS | options | {"executors.engine": request.param})
        begun.append(Session(list(arguments) or own, f"{tmp_path}-{len(begun)}."))
        return begun[-1]

    yield session
    for each in begun:
        each.learner.kill()
        each.learner.communicate()
        assert gone(each.processes(), 30.0)
        assert each.processes() == []
    assert set(os.listdir(SHARED)) <= shared


@pytest.mark.audit
def test_an_error(begin: Callable[..., Session]) -> None:
    arguments = {"env": "tests.support.runs:Puppet", "env-kwargs": json.dumps({"event": "raise", "at": 30})}
    run = begin(steps=1000, **arguments, **UNLEARNED)
    assert run.errors().splitlines()[-1] == (
        "lsp: error: environment tests.support.runs:Puppet raised RuntimeError: broke a leg at step 30"
    )
    assert run.learner.returncode == 1


@pytest.mark.audit
def test_ctrl_c(begin: Callable[..., Session], tmp_path: Path) -> None:
    """It goes to all processes of the terminal; the learner still needs the others for its checkpoint."""
    run = begin(**LONG, **UNLEARNED)
    run.wait_for((tmp_path / "run/checkpoints/60").exists)
    os.killpg(run.learner.pid, signal.SIGINT)
    told = run.errors()
    assert run.learner.returncode == 130, told
    assert "Traceback" not in told
    assert "died" not in told
    assert_no_hole(tmp_path / "run")


def test_killed_and_resumed(begin: Callable[..., Session], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = begin(**LONG)
    run.wait_for((folder / "checkpoints/120").exists)
    run.learner.kill()
    run.learner.wait()
    assert gone(run.processes(), 30.0)
    numbers = assert_no_hole(folder)
    steps = int(newest(folder).name) + 100
    resumed = begin(f"--resume={folder}", f"--steps={steps}")
    told = resumed.errors()
    assert resumed.learner.returncode == 0, told
    assert gone(resumed.processes(), 5.0)
    assert int(newest(folder).name) >= steps
    assert all(after > before for before, after in zip(numbers, assert_no_hole(folder), strict=True))


def assert_no_hole(folder: Path) -> list[int]:
    """How many rows each executor handed over until the newest checkpoint: all were learned from or are waiting."""
    _, host = checkpoint.load(newest(folder))
    loop = host["loop"]
    origins = loop["executors"]["origins"]
    waiting = [tuple(origin) for parts in loop["pool"] for origin in parts[3].tolist()]
    assert origins[:, 1].tolist() == [0] * len(origins)
    assert len(set(waiting)) == len(waiting)
    assert origins[:, 2].sum() == loop["step"] + len(waiting)
    return [int(number) for number in origins[:, 2]]
