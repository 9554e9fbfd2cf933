"""A grid of runs: `python -m lsp.grid PROGRAMME.toml`, or `--name=NAME --FLAG=A --FLAG=B ...`; see `--help`.

    python -m lsp.grid --name=tau --agent=sac_lsp --seeds=3 --critic.tau=0.005 --critic.tau=0.01
    python -m lsp.grid runs/programmes/controls.toml --jobs=2

A flag of `lsp.run` given several times is varied, and every combination is a run (or, with `--seeds`, as many) in
`runs/NAME`. A programme names its arms. The same command again skips what is done and resumes what was interrupted.
"""

import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial

from lsp import cli
from lsp.commands import FAULT, INTERRUPTED, status_of
from lsp.config import ConfigError, packaging
from lsp.grid import jobs, local
from lsp.grid.plan import Grid, plan

OWN = {"--address": "", "--cpus": "", "--gpus": "", "--jobs": "", "--dry-run": ""}
HELP = f"""usage: python -m lsp.grid [PROGRAMME.toml] [--name=NAME] [--dry-run] [@FILE] [--FLAG=VALUE ...]
       [--jobs=N | --address=HOST:PORT]

Runs every combination of flags, or every arm of a programme, one after the other, into runs/NAME, and prints the
report's table. A flag given several times is varied. @FILE stands for the flags in that file, one a line.
The same command again, also after kill -9, skips what is done and resumes the rest from its checkpoints.
All other flags are those of {cli.PROGRAM}; see its --help.

--dry-run lists the runs, how many steps each has, and how far it is.
--jobs=N has N of them at a time, each pinned to a core of its own; what they print goes to runs/NAME/RUN.log.

A programme is a TOML file (NAME is that of the file, unless --name is given; flags here replace those in it):

    flags = "--agent=sac_lsp --steps=300_000"     # of every arm
    seeds = "1:6"                                 # 1 to 5; a count, a range or a list, as in --seeds

    [arms]
    mse = ""                                      # a folder runs/NAME/mse, and in it seed_1 to seed_5
    huber = "--critic.loss=huber"                 # an arm's own flags replace those of every arm
    long = {{flags = "--utd=0.125", seeds = 3, steps = [1_000_000, 2_000_000]}}

steps = [A, B] brings every run to A and then every run to B. Seeds are runs of their own, which can be resumed one by
one and, with --jobs, have a core each: best on CPUs. together = true trains the seeds of an arm in one process, on the
same device: on a CPU core as fast as one after the other, and with all their replays in memory; faster on a GPU.

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
    at_once = _cluster(grid) or _jobs(grid)
    if grid.own["--dry-run"] not in ("", "false"):
        print("\n".join(overview(grid)))
        return 0
    if not grid.own["--address"]:
        local.check_platform()
    statuses = at_once() if at_once else local.run_all(grid, runner)
    if INTERRUPTED in statuses:
        print("lsp: stopped; the same command resumes it")
        return INTERRUPTED
    failed = [run.name for run, status in zip(grid.runs, statuses, strict=True) if status]
    _report(grid)
    print(
        f"lsp: {len(grid.runs) - len(failed)} of {len(grid.runs)} finished: {grid.folder}"
        + "".join(f"\n  failed: {name}" for name in failed)
        + f"\n  next: python -m lsp.report {shlex.quote(str(grid.folder))}"
    )
    return FAULT if failed else 0


def overview(grid: Grid) -> list[str]:
    """Every run with its steps and how far it is, in lines for people. Raises ConfigError."""
    table = [(run.name, f"{run.steps:,}", _standing(local.standing(grid.folder, run))) for run in grid.runs]
    names, steps = (max(len(line[column]) for line in table) for column in (0, 1))
    last = {run.name: run for run in grid.runs}.values()  # of a run that is due twice, with the larger number of steps
    whole = sum(run.steps for run in last)
    made = sum(min(local.standing(grid.folder, run).step, run.steps) for run in last)
    return [
        f"lsp: {len(grid.runs)} runs in {grid.folder}, {made:,} of {whole:,} environment steps done",
        *(f"  {name:{names}}  {count:>{steps}}  {state}" for name, count, state in table),
    ]


def _standing(now: local.Standing) -> str:
    if now.done:
        return "failed" if now.failed else "done"
    return f"at {now.step:,}" if now.step else "-"


def _report(grid: Grid) -> None:
    """The report's table, the first arm above the others, which are compared with it."""
    folders = [grid.folder / name for name in grid.arms if any((grid.folder / name).glob("**/eval.jsonl"))]
    if folders:
        from lsp.report.command import main as report  # it takes a while to import

        print(flush=True)
        report([*map(str, folders), "--no-plot"])


def _jobs(grid: Grid) -> Callable[[], list[int]] | None:
    """Running the grid several runs at a time; None where it has no --jobs. Raises ConfigError."""
    if not grid.own["--jobs"]:
        return None
    if not (text := grid.own["--jobs"]).isdecimal():
        raise ConfigError(f"--jobs={text}: must be a whole number of runs at a time, such as --jobs=2")
    jobs.check(int(text))
    return partial(jobs.run_all, grid, int(text))


def _cluster(grid: Grid) -> Callable[[], list[int]] | None:
    """Running the grid at its --address; None where it has none. Raises ConfigError."""
    address = grid.own["--address"]
    resources = {flag: _amount(flag, grid.own[flag], default) for flag, default in (("--cpus", 1.0), ("--gpus", 0.0))}
    if not address:
        if extra := [flag for flag in resources if grid.own[flag]]:
            raise ConfigError(f"{extra[0]}={grid.own[extra[0]]} goes with --address=HOST:PORT, of a Ray cluster")
        return None
    if jobs_given := grid.own["--jobs"]:
        raise ConfigError(f"--jobs={jobs_given} does not go with --address: a cluster takes what it has room for")
    if len({run.name for run in grid.runs}) < len(grid.runs):
        raise ConfigError("a list of steps does not go with --address, which has all runs at once: give --steps=NUMBER")
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
