"""Runs side by side: as many at a time as there may be, each on a core of its own, none twice, none after a stop."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lsp.config import ConfigError
from lsp.grid import jobs
from lsp.grid.plan import Grid, GridRun
from tests.support.policies import untrained  # its checkpoint is of step 100

RUNS = [GridRun(name, [f"--{name}"], 100) for name in "abcd"]


def run_all(folder: Path, runner: jobs.LoggedRunner, count: int = 2, runs: list[GridRun] = RUNS) -> list[int]:
    return jobs.run_all(Grid(folder, runs, {}), count, runner)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """As if this process might use two, of which it may have one; the cores that runs were given."""
    pinned: list[int] = []
    monkeypatch.setattr(jobs, "usable_cores", lambda: [3, 5])
    if hasattr(os, "sched_setaffinity"):
        monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: pinned.extend(cores))
    return pinned


def test_two_at_a_time_each_on_a_core(tmp_path: Path, two_cores: list[int]) -> None:
    meet, threads = threading.Barrier(2, timeout=20), set()

    def runner(flags: list[str], log: Path) -> int:
        meet.wait()  # breaks unless another one runs meanwhile
        threads.add(threading.get_ident())
        assert log.parent == tmp_path
        return 0

    assert run_all(tmp_path, runner) == [0, 0, 0, 0]
    assert len(threads) == 2
    if hasattr(os, "sched_setaffinity"):
        assert sorted(two_cores) == [3, 5]


def test_a_failure_and_a_bad_folder_are_of_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    untrained(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "config.json").write_text("broken")
    statuses = {"--c": 1, "--d": 0}
    assert run_all(tmp_path, lambda flags, log: statuses[flags[0]]) == [0, 2, 1, 0]
    out = capsys.readouterr().out
    assert "a: done before" in out
    assert "b: error:" in out
    assert f"c: failed: see {tmp_path / 'c.log'}" in out
    assert "4 of 4: " in out


def test_more_steps_wait_for_fewer(tmp_path: Path) -> None:
    first, more = GridRun("a/seed_1", [], 100), GridRun("a/seed_1", [], 150)
    calls = []

    def runner(flags: list[str], log: Path) -> int:
        calls.append(flags[0].partition("=")[0])
        if len(calls) == 1:
            time.sleep(0.2)  # the other worker would have begun by then
            untrained(tmp_path / "a" / "seed_1")
        return 0

    assert run_all(tmp_path, runner, runs=[first, more]) == [0, 0]
    assert calls == ["--runs-dir", "--resume"]


def test_after_a_stop_no_run_is_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls = []

    def runner(flags: list[str], log: Path) -> int:
        calls.append(flags)
        return 130

    assert run_all(tmp_path, runner, count=1) == [130] * 4
    assert len(calls) == 1


def test_more_jobs_than_cores() -> None:
    jobs.check(2)
    for count in (0, 3):
        with pytest.raises(ConfigError, match=f"--jobs={count}: must be from 1 to 2"):
            jobs.check(count)


def test_output_goes_to_a_log(tmp_path: Path) -> None:
    log = tmp_path / "arm" / "seed_1.log"
    log.parent.mkdir()
    log.write_text("before\n")
    assert jobs.logged(["--nonsense=1"], log) == 2
    before, error = log.read_text().splitlines()
    assert before == "before"
    assert error.startswith("lsp: error: unknown flag --nonsense")


CHILD = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: (print("a checkpoint", flush=True), exit()))
print("running", flush=True)
time.sleep(60)
"""
PARENT = f"""
import subprocess, sys
from lsp.grid import local
child = subprocess.Popen(local.ending_with_parent([sys.executable, "-c", {CHILD!r}]))
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_kill_9_of_the_grid_makes_a_run_write_its_checkpoint() -> None:
    line = [sys.executable, "-c", PARENT]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.kill()
        assert process.stdout.readline() == "a checkpoint\n"
