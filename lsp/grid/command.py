"""A grid of runs: `python -m lsp.grid --name=NAME --FLAG=A --FLAG=B ...`; see `--help`.

    python -m lsp.grid --name=tau --agent=sac_lsp --seeds=3 --critic.tau=0.005 --critic.tau=0.01

A flag of `lsp.run` given several times is varied, and every combination is a run (or, with `--seeds`, as many) in
`runs/NAME`. The same command again skips what is done and resumes what was interrupted.
"""

import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial

from lsp import cli
from lsp.commands import FAULT, INTERRUPTED, status_of
from lsp.config import ConfigError, packaging
from lsp.grid import local
from lsp.grid.plan import Grid, plan

OWN = {"--address": "", "--cpus": "", "--gpus": ""}
HELP = f"""usage: python -m lsp.grid --name=NAME [--address=HOST:PORT] [@FILE] --FLAG=VALUE ...

Runs every combination of flags, one after the other, into runs/NAME. A flag given several times is varied.
@FILE stands for the flags in that file, one a line. The same command again skips what is done and resumes the rest.
All other flags are those of {cli.PROGRAM}; see its --help.

With --address the runs go to that Ray cluster (local: one that is started here), as many at a time as it has room for.
--cpus=N and --gpus=N, which may be fractions, are what each takes (default: 1 and 0). All machines need the same lsp
and must see this folder at the same path; what a run prints goes to runs/NAME/RUN.log."""


def main(arguments: Sequence[str] | None = None, runner: local.Runner = local.start) -> int:
    """Do what the command line says, and return the exit status; `runner` stands for `lsp.run` in a new process."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if not given or {"-h", "--help"} & set(given):
        print(HELP)
        return 0
    return status_of(lambda: _run(plan(given, OWN), runner))


def _run(grid: Grid, runner: local.Runner) -> int:
    on_cluster = _cluster(grid)
    if on_cluster is None:
        local.check_platform()
    statuses = on_cluster() if on_cluster else local.run_all(grid, runner)
    if INTERRUPTED in statuses:
        print("lsp: stopped; the same command resumes it")
        return INTERRUPTED
    failed = [run.name for run, status in zip(grid.runs, statuses, strict=True) if status]
    print(
        f"lsp: {len(grid.runs) - len(failed)} of {len(grid.runs)} finished: {grid.folder}"
        + "".join(f"\n  failed: {name}" for name in failed)
        + f"\n  next: python -m lsp.report {shlex.quote(str(grid.folder))}"
    )
    return FAULT if failed else 0


def _cluster(grid: Grid) -> Callable[[], list[int]] | None:
    """Running the grid at its --address; None where it has none. Raises ConfigError."""
    address = grid.own["--address"]
    resources = {flag: _amount(flag, grid.own[flag], default) for flag, default in (("--cpus", 1.0), ("--gpus", 0.0))}
    if not address:
        if extra := [flag for flag in resources if grid.own[flag]]:
            raise ConfigError(f"{extra[0]}={grid.own[extra[0]]} goes with --address=HOST:PORT, of a Ray cluster")
        return None
    try:
        from lsp.grid import cluster
    except ImportError as error:
        raise ConfigError(f"--address={address} needs Ray: {packaging.install('ray')} ({error})") from error
    return partial(cluster.run_all, grid, address, *resources.values())


def _amount(flag: str, text: str, default: float) -> float:
    try:
        amount = float(text or default)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < float("inf"):
        raise ConfigError(f"{flag}={text}: must be a finite number, 0 or more")
    return amount
