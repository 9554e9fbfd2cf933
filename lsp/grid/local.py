"""The runs of a grid on this machine: one after the other, each as far as it is not done."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from lsp.commands import FAULT, INTERRUPTED, PLATFORM_VARIABLES, without_platform
from lsp.grid.plan import Grid, GridRun
from lsp.storage import checkpoint
from lsp.storage.run_folder import locked, read_document, seeds_of

PROBE = """
import jax
try:
    jax.devices()
except Exception as error:
    print(error)
    raise SystemExit(3)
"""
PR_SET_PDEATHSIG = 1  # of Linux's prctl
END_WITH_PARENT = f"""
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl({PR_SET_PDEATHSIG}, signal.SIGTERM)
os.execv(sys.argv[1], sys.argv[1:])
"""
Runner = Callable[[list[str]], int]  # flags of `lsp.run` to its exit status


class GridRunEnd(NamedTuple):
    """How a run of the grid ended."""

    status: int  # exit status
    ran: bool = True  # false where it was done before


def check_platform() -> None:
    """Raise ConfigError where runs would not find JAX's platform, before each of them says so.

    Asked in another process, for a GPU's memory would be taken by this one.
    """
    if all(os.environ.get(name, "cpu") in ("", "cpu") for name in PLATFORM_VARIABLES):
        return
    asked = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
    if asked.returncode == 3:
        raise without_platform(asked.stdout)


def run_all(grid: Grid, runner: Runner) -> list[int]:
    """Complete every run in turn, up to an interrupt; returns their exit statuses. Raises ConfigError."""
    ends: list[GridRunEnd] = []
    for number, run in enumerate(grid.runs, start=1):
        print(f"lsp: {number} of {len(grid.runs)}: {run.name}", flush=True)
        ends.append(end := complete(grid.folder, run, runner))
        if not end.ran:
            print("lsp: done before")
        if end.status == INTERRUPTED:
            break
    if not any(end.ran for end in ends):
        print("lsp: nothing was left to do; to go further, the same command with more --steps")
    return [end.status for end in ends]


class Standing(NamedTuple):
    """How far a run is, by its folder."""

    present: list[Path]  # folders of its seeds that have been started; of a single run its own
    failed: bool  # whether one of them has failed and was left out
    step: int  # of the newest checkpoint, of several seeds the smallest; 0: a seed has none, so it starts again
    done: bool


def standing(folder: Path, run: GridRun) -> Standing:
    """How far a run of a grid in `folder` is. Raises ConfigError."""
    target = folder / run.name
    present = [path for path in seeds_of(target).values() or [target] if (path / "config.json").exists()]
    alive = [path for path in present if "failed" not in read_document(path)]
    found = [checkpoint.steps(path / "checkpoints") for path in alive]
    done = bool(present) and all(_is_done(path, steps, run.steps) for path, steps in zip(alive, found, strict=True))
    newest = min((max(steps, default=0) for steps in found), default=0)
    return Standing(present, len(alive) < len(present), newest, done)


def complete(folder: Path, run: GridRun, runner: Runner) -> GridRunEnd:
    """Start a run, resume it, or leave it alone where it is done. Raises ConfigError."""
    target, now = folder / run.name, standing(folder, run)
    if now.done:
        return GridRunEnd(FAULT if now.failed else 0, ran=False)
    if now.step:
        return GridRunEnd(runner([f"--resume={target}", f"--steps={run.steps}"]))
    if target.exists():  # ended before its first checkpoint
        _remove(target, now.present)
    return GridRunEnd(runner([*run.flags, f"--runs-dir={target.parent}", f"--name={target.name}"]))


def _is_done(path: Path, found: Sequence[int], steps: int) -> bool:
    """Whether a run has a checkpoint of its end, and was not stopped in what comes after the last step."""
    if not found or found[-1] < steps:
        return False
    try:
        left = checkpoint.peek(path / "checkpoints" / str(found[-1]), "due", "warm_up_left")
    except checkpoint.CheckpointError:  # which the run will say
        return False
    return not any(left.values())


def _remove(target: Path, present: Sequence[Path]) -> None:
    with ExitStack() as stack:
        for path in present:
            stack.enter_context(locked(path))  # or it may be a run that has just started
        shutil.rmtree(target)


def line_of(flags: list[str]) -> list[str]:
    """What starts `lsp.run` with these flags."""
    return ending_with_parent([sys.executable, "-m", "lsp.run", *flags])


def ending_with_parent(line: list[str]) -> list[str]:
    """A command line for the same program, which gets a SIGTERM when the thread that started it ends, as by kill -9.

    So a run whose grid is killed writes a checkpoint and ends. Else it would continue alone, and the same grid, started
    again, would find its folder in use. Only Linux can do this; elsewhere it is `line`. The program is started by
    another that takes its place, for code of ours between fork and exec is unsafe where there are threads.
    """
    return [sys.executable, "-S", "-c", END_WITH_PARENT, *line] if sys.platform == "linux" else line


def start(flags: list[str]) -> int:
    """`lsp.run` in a process of its own, so that all memory is free again; Ctrl-C reaches it, too."""
    with subprocess.Popen(line_of(flags)) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # it writes a checkpoint and ends with status 130
