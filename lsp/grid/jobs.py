"""The runs of a grid side by side on this machine, each pinned to a core."""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from lsp.commands import BAD_INPUT, INTERRUPTED
from lsp.config import ConfigError
from lsp.grid import local
from lsp.grid.plan import Grid, GridRun

LoggedRunner = Callable[[list[str], Path], int]  # flags of `lsp.run`, and where its output goes, to its exit status


def logged(flags: list[str], log: Path) -> int:
    """`lsp.run` in a process of its own, on the cores of the calling thread; its output is added to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        return subprocess.call(local.line_of(flags), stdout=stream, stderr=subprocess.STDOUT)


def check(count: int) -> None:
    """Raise ConfigError unless there is a core for each of so many runs."""
    cores = len(usable_cores())
    if not 1 <= count <= cores:
        raise ConfigError(f"--jobs={count}: must be from 1 to {cores}, the cores that this process may use")


def usable_cores() -> list[int]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def run_all(grid: Grid, count: int, runner: LoggedRunner = logged) -> list[int]:
    """Complete every run, `count` at a time; returns their exit statuses, INTERRUPTED of those that are not done.

    The same run with more steps waits until it is done with fewer. After Ctrl-C, which the runs in progress get from
    the terminal, too, no other is started.
    """
    cores: queue.SimpleQueue[int] = queue.SimpleQueue()
    for core in usable_cores()[:count]:
        cores.put(core)
    stop, locks = threading.Event(), {run.name: threading.Lock() for run in grid.runs}
    statuses = [INTERRUPTED] * len(grid.runs)
    print(f"lsp: {len(grid.runs)} runs, {count} at a time; what they print: {grid.folder}/RUN.log", flush=True)
    with ThreadPoolExecutor(count, initializer=_pin, initargs=(cores,)) as pool:
        tasks = {
            pool.submit(_complete, grid.folder, run, runner, locks[run.name], stop): number
            for number, run in enumerate(grid.runs)
        }
        try:
            _collect(grid, tasks, statuses)
        except KeyboardInterrupt:
            stop.set()
            print("lsp: stopping; the runs in progress write checkpoints", file=sys.stderr)
    return statuses


def _pin(cores: "queue.SimpleQueue[int]") -> None:
    """Keep the calling thread to a core, and what it starts."""
    core = cores.get()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def _collect(grid: Grid, tasks: "dict[Future[tuple[int, str]], int]", statuses: list[int]) -> None:
    """Wait for all tasks; record and print how each ends."""
    for done, task in enumerate(as_completed(tasks), start=1):
        number = tasks[task]
        statuses[number], text = task.result()
        if text:
            print(f"lsp: {done} of {len(tasks)}: {grid.runs[number].name}: {text}", flush=True)


def _complete(
    folder: Path, run: GridRun, runner: LoggedRunner, lock: threading.Lock, stop: threading.Event
) -> tuple[int, str]:
    """The exit status of a run, and in words how it ended; no words where it was not started."""
    log = folder / f"{run.name}.log"
    with lock:
        if stop.is_set():
            return INTERRUPTED, ""
        try:
            status, ran = local.complete(folder, run, lambda flags: runner(flags, log))
        except (ConfigError, OSError) as error:
            return BAD_INPUT, f"error: {error}"
    if status == INTERRUPTED:
        stop.set()
        return status, "stopped"
    if status:
        return status, f"failed: see {log}" if ran else "failed before"
    return status, f"finished at step {run.steps:,}" if ran else "done before"
