"""Minutes on one core until a return is reached on the study's ant: our agents, and SBX's SAC.

    taskset -c 1 python benchmarks/time_to_return.py --seeds=3 --picture=runs/time_to_return/minutes.png
    taskset -c 1 python benchmarks/time_to_return.py --peer-python=OTHER/bin/python ...      # SBX in a venv of its own

SBX makes one update a step of all its environments: an update a transition with 1, one every eight transitions with 8.
Its step size is its default, 3e-4; `sbx_8_1e-3` has that of our agents with eight executors. Widths (128, 128), batch,
replay capacity and first update are the same on all sides; SBX's policy is a Gaussian, ours a flow. Ours run as users
run them, `python -m lsp.run` in a process of its own.

All are evaluated alike: ten episodes from the same first states by seed, once with sampled actions and once without
noise (`mode`: SBX's deterministic policy, our latent at zero), about every 12 seconds of training. A return is reached
at the first evaluation whose mean is at least that (see `--mean-of`). The clock begins with the process: imports and
compilation count on all sides. It stands still during evaluations. Systems take turns, seed by seed.

A run that is done is a line of FOLDER/results.jsonl; the same command again skips it and starts the one that was
interrupted from the beginning. A run of ours leaves its text files in FOLDER, but no checkpoint. When all are done, the
same command only prints the table and draws the picture.
"""

import argparse
import json
import math
import os
import resource
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sbx_sac
from common import announce, parser
from time_to_return_results import PROTOCOLS, draw, table

from lsp.grid.local import ending_with_parent

ROOT = Path(__file__).parents[1]
POLL = 1.0  # seconds between two looks at how far a run is
ENOUGH = 10**9  # environment steps that no run takes
INTERRUPTED = 130  # status of a run of ours that was asked to end


class System(NamedTuple):
    """What is timed."""

    every: int  # environment steps between evaluations
    flags: str = ""  # of `lsp.run`
    envs: int = 0  # of SBX; 0: it is ours
    learning_rate: float = sbx_sac.LEARNING_RATE  # of SBX


SYSTEMS = {
    "distributed_prioritized": System(25_000, "--agent=distributed_prioritized"),
    "sbx_8": System(25_000, envs=8),
    "sbx_8_1e-3": System(25_000, envs=8, learning_rate=1e-3),
    "sbx_1": System(6_250, envs=1),
    "sac_lsp": System(6_250, "--agent=sac_lsp"),
}


class Run(NamedTuple):
    """One system with one seed."""

    name: str
    system: System
    seed: int
    folder: Path  # of its output, and of ours the run's

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")


def command(run: Run, options: argparse.Namespace) -> list[str]:
    """What trains it."""
    every = options.every or run.system.every
    shared = [f"--env={options.env}", f"--seed={run.seed}", f"--learning-starts={options.learning_starts}"]
    if run.system.envs:
        goal = max(options.returns) if options.until_reached else math.inf
        own = [f"--envs={run.system.envs}", f"--capacity={options.capacity}", f"--episodes={options.episodes}"]
        own += [f"--learning-rate={run.system.learning_rate}"]
        limits = [f"--every={every}", f"--minutes={options.minutes}", f"--goal={goal}"]
        return [options.peer_python, sbx_sac.__file__, *shared, *own, *limits]
    own = [f"--runs-dir={run.folder.parent}", f"--name={run.folder.name}", f"--steps={ENOUGH}", "--checkpoint-every=0"]
    evaluation = [f"--evaluation.every={every}", f"--evaluation.episodes={options.episodes}"]
    # A line of metrics, which has the clock, at every evaluation.
    own += [f"--log-every={math.gcd(every, 1_000)}", f"--replay.capacity={options.capacity}", *evaluation]
    return [sys.executable, "-m", "lsp.run", *shared, *own, *shlex.split(run.system.flags), *shlex.split(options.flags)]


def ours(folder: Path) -> list[dict[str, Any]]:
    """The evaluations of a run of ours so far, as `sbx_sac` prints those of SBX: `seconds` are of training alone.

    The seconds in `metrics.jsonl` count evaluations, too, and each evaluation tells what it took.
    """
    from lsp.storage import metrics

    if not (folder / "eval.jsonl").exists():
        return []
    records = metrics.read(folder / "eval.jsonl")
    seconds = {line["step"]: line["seconds"] for line in metrics.read(folder / "metrics.jsonl")}
    points: dict[int, dict[str, Any]] = {}
    evaluated = 0.0
    for record in records:
        step = record["step"]
        new = {"step": step, "updates": record["updates"], "seconds": seconds[step] - evaluated, "returns": {}}
        points.setdefault(step, new)["returns"][record["protocol"]] = record["returns"]
        evaluated += record["evaluation_seconds"]
    return list(points.values())


def theirs(log: Path) -> list[dict[str, Any]]:
    """The evaluations that a run of SBX has printed so far."""
    return [line for line in sbx_sac.lines_of(log.read_text()) if "step" in line]


def over(points: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> bool:
    """Whether a run of ours has trained as long as it should, by its last evaluation."""
    if not points:
        return False
    worst = min(sum(each) / len(each) for each in points[-1]["returns"].values())
    reached = options.until_reached and worst >= max(options.returns)
    return reached or points[-1]["seconds"] >= 60 * options.minutes


def complete(run: Run, options: argparse.Namespace) -> dict[str, Any]:
    """Train it to its end. Returns a line of the results; raises RuntimeError where it fails."""
    shutil.rmtree(run.folder, ignore_errors=True)
    run.log.parent.mkdir(parents=True, exist_ok=True)
    surroundings = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]  # the same lsp on all sides
    surroundings["PYTHONPATH"] = os.pathsep.join(paths)
    line = ending_with_parent(command(run, options))
    used, began = processor_seconds(), time.perf_counter()
    with (
        run.log.open("w") as log,
        subprocess.Popen(line, stdout=log, stderr=subprocess.STDOUT, env=surroundings) as process,
    ):
        try:
            wait(process, lambda: not run.system.envs and over(ours(run.folder), options))
        except BaseException:
            process.kill()
            raise
    wall = time.perf_counter() - began
    points = theirs(run.log) if run.system.envs else ours(run.folder)
    counted = own_seconds(run)
    if counted is None or not points or process.returncode not in (0, INTERRUPTED):
        raise RuntimeError(f"{run.name}, seed {run.seed} failed with status {process.returncode}: see {run.log}")
    shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)
    return {
        "system": run.name,
        "seed": run.seed,
        "settings": settings(run, options),
        "startup": wall - counted,  # seconds before its own clock began
        "core": (processor_seconds() - used) / wall,
        "points": points,
    }


def wait(process: subprocess.Popen, ended: Callable[[], bool]) -> None:
    """Until it has ended, or until it should; then it is asked to."""
    while process.poll() is None:
        if ended():
            process.terminate()
            process.wait()
            return
        time.sleep(POLL)


def own_seconds(run: Run) -> float | None:
    """What its own clock said at its end, evaluations included; None where it did not come so far."""
    if run.system.envs:
        return next((line["ended"] for line in sbx_sac.lines_of(run.log.read_text()) if "ended" in line), None)
    config = run.folder / "config.json"
    return json.loads(config.read_text()).get("seconds") if config.exists() else None


def processor_seconds() -> float:
    """CPU time of all processes that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def settings(run: Run, options: argparse.Namespace) -> dict[str, Any]:
    """What must be the same for a result to be kept."""
    names = ("env", "minutes", "episodes", "capacity", "learning_starts", "until_reached", "flags")
    return {name: getattr(options, name) for name in names} | {"system": list(run.system), "every": options.every}


def run_all(options: argparse.Namespace, path: Path) -> Iterator[dict[str, Any]]:
    """Every result, of runs that are done from the file, and of the others after each has been added to it."""
    done = {(each["system"], each["seed"]): each for each in read(path)}
    for seed in range(1, options.seeds + 1):
        for name in options.systems:
            run = Run(name, SYSTEMS[name], seed, (options.folder / f"{name}_s{seed}").absolute())
            result = done.get((name, seed))
            if result and result["settings"] != json.loads(json.dumps(settings(run, options))):
                raise RuntimeError(f"{path} has {name}, seed {seed} with other settings: choose another --folder")
            if result is None:
                print(f"{name}, seed {seed}: up to {options.minutes:g} minutes of training", flush=True)
                result = complete(run, options)
                with path.open("a") as stream:
                    stream.write(f"{json.dumps(result)}\n")
            yield result


def read(path: Path) -> list[dict[str, Any]]:
    """Results so far."""
    return list(sbx_sac.lines_of(path.read_text())) if path.exists() else []


def parse() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS),
                         help="in turn; the first is the one that others are compared with (default: all)")  # fmt: skip
    options.add_argument("--seeds", type=int, default=3, help="a side: 1 to this number")
    options.add_argument("--minutes", type=float, default=30, help="of training, after which a run ends")
    options.add_argument("--returns", type=float, nargs="+", default=[1_000, 2_500, 4_000], help="to be reached")
    options.add_argument("--mean-of", type=int, default=1, metavar="N", help="evaluations in a row whose mean must be "
                         "as high, so that no lucky one counts; may be changed when all is done")  # fmt: skip
    options.add_argument("--until-reached", action="store_true",
                         help="end a run at the highest of them under both protocols")  # fmt: skip
    options.add_argument("--folder", type=Path, default=Path("runs/time_to_return"), help="of results and logs")
    options.add_argument("--picture", type=Path, help="draw return against minutes into this file, .png or .svg")
    options.add_argument("--env", default="lsp/RllabAnt-v0", help="Gymnasium id")
    options.add_argument("--episodes", type=int, default=10, help="of an evaluation under each protocol")
    options.add_argument("--every", type=int, default=0, help="environment steps between evaluations; 0: by system")
    options.add_argument("--capacity", type=int, default=1_000_000, help="transitions in replay")
    options.add_argument("--learning-starts", type=int, default=5_000, help="environment steps before the first update")
    options.add_argument("--flags", default="", help="more flags of lsp.run, for all of ours, in one text")
    options.add_argument("--peer-python", default=sys.executable, help="interpreter that has SBX, and what lsp needs")
    arguments = options.parse_args()
    needed = any(SYSTEMS[name].envs for name in arguments.systems)
    probe = [arguments.peer_python, "-c", "import sbx"]
    if needed and subprocess.run(probe, capture_output=True, check=False).returncode:
        remedy = "pip install -e '.[peers]', --peer-python=OTHER/bin/python, or leave it out of --systems"
        options.error(f"SBX is not installed for {arguments.peer_python}: {remedy}")
    return arguments


def main() -> None:
    options = parse()
    announce(__doc__)
    if len(os.sched_getaffinity(0)) > 1:
        print("note: not pinned to one core: begin the command with `taskset -c CORE`")
    try:
        results = list(run_all(options, options.folder / "results.jsonl"))
    except RuntimeError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped: the same command continues with the run that was interrupted")
    for protocol in PROTOCOLS:
        print(f"\n{table(results, protocol, options.returns, options.minutes, options.mean_of)}")
    if options.picture:
        draw(results, options.returns, options.picture)
        print(f"\npicture: {options.picture}")


if __name__ == "__main__":
    main()
