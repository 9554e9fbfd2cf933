"""A grid of runs, one after the other: `python -m lsp.grid --name=NAME --FLAG=A --FLAG=B ...`; see `--help`.

    python -m lsp.grid --name=tau --agent=sac_lsp --seeds=3 --critic.tau=0.005 --critic.tau=0.01

A flag of `lsp.run` given several times is varied, and every combination is a run (or, with `--seeds`, as many) in
`runs/NAME`. The same command again goes on: what is done is skipped, what was interrupted is resumed.
"""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from lsp import checkpoint, cli
from lsp.config import ConfigError
from lsp.run_dir import read_document

BAD_INPUT, FAULT, INTERRUPTED = 2, 1, 130
HELP = f"""usage: python -m lsp.grid --name=NAME [@FILE] --FLAG=VALUE ...

Runs every combination of flags, one after the other, into runs/NAME. A flag given several times is varied.
@FILE stands for the flags in that file, one a line. The same command again skips what is done and resumes the rest.
All other flags are those of {cli.PROGRAM}; see its --help."""


class Cell(NamedTuple):
    """One combination."""

    name: str  # of its folder
    flags: list[str]
    steps: int


def main(arguments: Sequence[str] | None = None, run: Callable[[list[str]], int] | None = None) -> int:
    """Do what the command line says, and return the exit status; `run` stands for `lsp.run` in a new process."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if not given or {"-h", "--help"} & set(given):
        print(HELP)
        return 0
    try:
        folder, cells = plan(given)
        statuses = []
        for number, cell in enumerate(cells, start=1):
            print(f"lsp: {number} of {len(cells)}: {cell.name}", flush=True)
            status = _do(folder, cell, run or _run)
            if status == INTERRUPTED:
                print("lsp: stopped; the same command goes on")
                return INTERRUPTED
            statuses.append(status)
    except ConfigError as error:
        print(f"lsp: error: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    failed = [cell.name for cell, status in zip(cells, statuses, strict=True) if status]
    print(
        f"lsp: {len(cells) - len(failed)} of {len(cells)} finished: {folder}"
        + "".join(f"\n  failed: {n}" for n in failed)
    )
    return FAULT if failed else 0


def plan(arguments: Sequence[str]) -> tuple[Path, list[Cell]]:
    """The grid's folder and its cells, all of them checked. Raises ConfigError."""
    values: dict[str, list[str]] = {}
    for argument in itertools.chain.from_iterable(map(_expand, arguments)):
        flag, equals, text = argument.partition("=")
        if not flag.startswith("--"):
            raise ConfigError(f"unexpected {argument!r}: write flags as --FLAG=VALUE; see --help")
        values.setdefault(flag, []).append(text if equals else "true")
    (name,), (runs_dir,) = values.pop("--name", [""]), values.pop("--runs-dir", ["runs"])
    if not name or "--resume" in values:
        raise ConfigError(
            "a grid needs --name=NAME, which also resumes it" if not name else "--resume: give --name alone"
        )
    varied = [flag for flag, texts in values.items() if len(texts) > 1]
    cells = []
    for combination in itertools.product(*values.values()):
        flags = [f"{flag}={text}" for flag, text in zip(values, combination, strict=True)]
        label = "__".join(
            flag.removeprefix("--").replace("/", "-") for flag in flags if flag.partition("=")[0] in varied
        )
        cells.append(Cell(label or "run", flags, cli.parse(flags).config.steps))
    if len({cell.name for cell in cells}) < len(cells):
        raise ConfigError(f"a value is given twice to one of {', '.join(varied)}")
    return Path(runs_dir) / name, cells


def _expand(argument: str) -> list[str]:
    if not argument.startswith("@"):
        return [argument]
    try:
        lines = [line.strip() for line in Path(argument[1:]).read_text().splitlines()]
    except OSError as error:
        raise ConfigError(f"{argument}: {error.strerror}") from error
    return [line for line in lines if line and not line.startswith("#")]


def _do(folder: Path, cell: Cell, run: Callable[[list[str]], int]) -> int:
    """Start a cell, go on with it, or leave it alone; returns the exit status."""
    target = folder / cell.name
    seeds = [path.parent for path in target.glob("seed_*/config.json")]
    runs = [path for path in seeds or [target] if (path / "config.json").exists()]
    alive = [path for path in runs if "failed" not in read_document(path)]
    steps = [checkpoint.steps(path / "checkpoints") for path in alive]
    if runs and all(found and found[-1] >= cell.steps for found in steps):
        print("lsp: done before")
        return 0 if len(alive) == len(runs) else FAULT
    if steps and all(steps):
        return run([f"--resume={target}", f"--steps={cell.steps}"])
    if target.exists():  # ended before its first checkpoint
        shutil.rmtree(target)
    return run([*cell.flags, f"--runs-dir={folder}", f"--name={cell.name}"])


def _run(flags: list[str]) -> int:
    """`lsp.run` in a process of its own, so that all memory is free again; Ctrl-C reaches it, too."""
    with subprocess.Popen([sys.executable, "-m", "lsp.run", *flags], env=os.environ) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # it writes a checkpoint and ends with INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
