"""The runs of a grid: which they are, and doing one of them, as far as it is not done."""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from lsp import cli
from lsp.commands import FAULT
from lsp.config import ConfigError
from lsp.storage import checkpoint
from lsp.storage.run_folder import locked, read_document

Runner = Callable[[list[str]], int]  # flags of `lsp.run` to its exit status


class GridRun(NamedTuple):
    """A run of the grid: one combination of flags."""

    name: str  # of its folder
    flags: list[str]
    steps: int


class GridRunEnd(NamedTuple):
    """How a run of the grid ended."""

    status: int  # exit status
    ran: bool = True  # false where it was done before


class Grid(NamedTuple):
    """What a command line asks for."""

    folder: Path
    runs: list[GridRun]
    own: dict[str, str]  # the values of the grid's own flags


def plan(arguments: Sequence[str], own: Mapping[str, str]) -> Grid:
    """The grid of a command line, every run of it checked.

    Args:
      arguments: flags of `lsp.run` as --FLAG=VALUE, varied where given several times; @FILE stands for those in a file.
      own: the grid's own flags and their defaults.

    Raises ConfigError.
    """
    texts: dict[str, list[str]] = {}
    for argument in itertools.chain.from_iterable(map(_expand, arguments)):
        if not argument.startswith("--"):
            raise ConfigError(f"unexpected {argument!r}: write flags as --FLAG=VALUE; see --help")
        texts.setdefault(argument.partition("=")[0], []).append(argument)
    if "--resume" in texts:
        raise ConfigError("--resume: the same command again, with the same --name, resumes a grid")
    mine = {flag: _once(texts.pop(flag, [])) or default for flag, default in own.items()}
    name, runs_dir = (_once(texts.pop(flag, [])) for flag in ("--name", "--runs-dir"))
    if not name:
        raise ConfigError("a grid needs --name=NAME, which also resumes it")
    varied = {flag for flag, given in texts.items() if len(given) > 1}
    runs = []
    for flags in map(list, itertools.product(*texts.values())):
        label = [flag.removeprefix("--") for flag in flags if flag.partition("=")[0] in varied]
        runs.append(GridRun("__".join(label).replace("/", "-") or "run", flags, cli.parse(flags).config.steps))
    if len({planned.name for planned in runs}) < len(runs):
        raise ConfigError(f"a value is given twice to one of {', '.join(sorted(varied))}")
    return Grid(Path(runs_dir or "runs") / name, runs, mine)


def _expand(argument: str) -> list[str]:
    if not argument.startswith("@"):
        return [argument]
    try:
        lines = [line.strip() for line in Path(argument[1:]).read_text().splitlines()]
    except OSError as error:
        raise ConfigError(f"{argument}: {error.strerror}") from error
    return [line for line in lines if line and not line.startswith("#")]


def _once(arguments: Sequence[str]) -> str:
    """The value of a flag that cannot be varied; empty where it is not given."""
    if len(arguments) > 1:
        raise ConfigError(f"{arguments[0].partition('=')[0]} is given {len(arguments)} times: it cannot be varied")
    return arguments[0].partition("=")[2] if arguments else ""


def do(folder: Path, planned: GridRun, run: Runner) -> GridRunEnd:
    """Start a run of the grid, resume it, or leave it alone where it is done. Raises ConfigError."""
    target = folder / planned.name
    seeds = [path.parent for path in target.glob("seed_*/config.json")]
    runs = [path for path in seeds or [target] if (path / "config.json").exists()]
    alive = [path for path in runs if "failed" not in read_document(path)]
    steps = [checkpoint.steps(path / "checkpoints") for path in alive]
    if runs and all(found and found[-1] >= planned.steps for found in steps):
        return GridRunEnd(0 if len(alive) == len(runs) else FAULT, ran=False)
    if steps and all(steps):
        return GridRunEnd(run([f"--resume={target}", f"--steps={planned.steps}"]))
    if target.exists():  # ended before its first checkpoint
        _remove(target, runs)
    return GridRunEnd(run([*planned.flags, f"--runs-dir={folder}", f"--name={planned.name}"]))


def _remove(target: Path, runs: Sequence[Path]) -> None:
    with ExitStack() as stack:
        for path in runs:
            stack.enter_context(locked(path))  # or it may be a run that has just begun
        shutil.rmtree(target)


def start(flags: list[str]) -> int:
    """`lsp.run` in a process of its own, so that all memory is free again; Ctrl-C reaches it, too."""
    with subprocess.Popen([sys.executable, "-m", "lsp.run", *flags], env=os.environ) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # it writes a checkpoint and ends with status 130
