"""The runs of a grid as tasks of a Ray cluster, each in a process of its own. Importing this imports Ray."""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from lsp.commands import BAD_INPUT, FAULT, INTERRUPTED
from lsp.config import ConfigError
from lsp.executors.ray import join
from lsp.grid import local
from lsp.grid.plan import Grid, GridRun

RETRIES = 2
"""How often a run whose machine is lost is resumed elsewhere."""
POLL = 0.5  # seconds


def run_all(grid: Grid, address: str, cpus: float, gpus: float) -> list[int]:
    """Complete every run that is not done, as many at a time as there is room for; returns their exit statuses.

    After Ctrl-C the runs in progress write their checkpoints, and the status of all that are not done is INTERRUPTED.
    Raises ConfigError: no such cluster, or none of its machines has so many CPUs and GPUs.
    """
    join(address, "--address")
    try:
        _check_room(cpus, gpus)
        task = ray.remote(_complete).options(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)
        grid.folder.mkdir(parents=True, exist_ok=True)
        tasks = {task.remote(grid.folder, run, os.getcwd()): run for run in grid.runs}
        print(f"lsp: {len(tasks)} runs at {address}; what they print: {grid.folder}/*.log", flush=True)
        statuses: dict[str, int] = {}
        try:
            _collect(tasks, statuses)
        except KeyboardInterrupt:
            print("lsp: stopping; the runs in progress write checkpoints", file=sys.stderr)
            for reference in tasks:
                ray.cancel(reference)
            ray.wait(list(tasks), num_returns=len(tasks))
        return [statuses.get(run.name, INTERRUPTED) for run in grid.runs]
    finally:
        ray.shutdown()


def _check_room(cpus: float, gpus: float) -> None:
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(each.get("CPU", 0) >= cpus and each.get("GPU", 0) >= gpus for each in machines):
        raise ConfigError(f"--cpus={cpus:g} --gpus={gpus:g}: no machine of the cluster has as many")


def _collect(tasks: dict[Any, GridRun], statuses: dict[str, int]) -> None:
    """Wait for all tasks; record and print how each ends."""
    waiting = list(tasks)
    while waiting:
        ready, waiting = ray.wait(waiting, timeout=POLL)  # returns now and then, so that Ctrl-C is noticed
        for reference in ready:
            name = tasks[reference].name
            try:
                statuses[name], text = ray.get(reference)
            except RayError as error:
                statuses[name], text = FAULT, f"lost: {str(error).splitlines()[0]}"
            print(f"lsp: {len(statuses)} of {len(tasks)}: {name}: {text}", flush=True)


def _complete(folder: Path, run: GridRun, working_dir: str) -> tuple[int, str]:
    """On a machine of the cluster: the exit status of a run, and in words how it ended."""
    log = folder / f"{run.name}.log"
    try:
        os.chdir(working_dir)
        status, ran = local.complete(folder, run, partial(_run, log=log))
    except (ConfigError, OSError) as error:
        return BAD_INPUT, f"error: {error}"
    if status:
        return status, f"failed: see {log}" if ran else "failed before"
    return status, "finished" if ran else "done before"


def _run(flags: list[str], log: Path) -> int:
    """`lsp.run` in a process of its own, which a cancelled task makes write a checkpoint."""
    line = [sys.executable, "-m", "lsp.run", *flags]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream, subprocess.Popen(line, stdout=stream, stderr=subprocess.STDOUT) as process:
        try:
            while process.poll() is None:
                time.sleep(POLL)  # not `wait`, which no cancellation interrupts
        finally:
            process.terminate()
            process.wait()
    return process.returncode
