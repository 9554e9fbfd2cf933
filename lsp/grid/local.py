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
from lsp.storage.run_folder import locked, read_document

PROBE = """
import jax
try:
    jax.devices()
except Exception as error:
    print(error)
    raise SystemExit(3)
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


def complete(folder: Path, run: GridRun, runner: Runner) -> GridRunEnd:
    """Start a run, resume it, or leave it alone where it is done. Raises ConfigError."""
    target = folder / run.name
    of_seeds = [path.parent for path in target.glob("seed_*/config.json")]
    present = [path for path in of_seeds or [target] if (path / "config.json").exists()]
    alive = [path for path in present if "failed" not in read_document(path)]
    steps = [checkpoint.steps(path / "checkpoints") for path in alive]
    if present and all(_is_done(path, found, run.steps) for path, found in zip(alive, steps, strict=True)):
        return GridRunEnd(0 if len(alive) == len(present) else FAULT, ran=False)
    if steps and all(steps):
        return GridRunEnd(runner([f"--resume={target}", f"--steps={run.steps}"]))
    if target.exists():  # ended before its first checkpoint
        _remove(target, present)
    return GridRunEnd(runner([*run.flags, f"--runs-dir={folder}", f"--name={run.name}"]))


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


def start(flags: list[str]) -> int:
    """`lsp.run` in a process of its own, so that all memory is free again; Ctrl-C reaches it, too."""
    with subprocess.Popen([sys.executable, "-m", "lsp.run", *flags], env=os.environ) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # it writes a checkpoint and ends with status 130
