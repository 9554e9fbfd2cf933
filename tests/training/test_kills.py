"""Twenty random kills of one run: `pytest -m audit -s tests/training/test_kills.py`. What is saved is never lost."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from lsp.storage import checkpoint, metrics
from tests.support.runs import ROOT, assert_same_run, command
from tests.support.runs import compiled_once as compiled_once

STEPS, GROWS, EVERY, LINE = 20_000, 8_000, 1_000, 200
RUN = {
    "env": "lsp/PointMass-v0",
    "env-kwargs": "{}",
    "steps": STEPS,
    "layers": 2,
    "layer-steps": f"{GROWS},{STEPS - GROWS}",
    "growth.critic-warmup": 3_000,
    "evaluation.every": 500,
    "evaluation.episodes": 20,
    "checkpoint-every": EVERY,
    "log-every": LINE,
    "block": 4,
    "replay.capacity": 20_000,
}
KINDS = ("kill", "term", "hangup", "pipe")
# Beside kills at random steps and times: while a checkpoint is written, a layer is grown, functions are compiled.
MOMENTS = ("step",) * 12 + ("start",) * 4 + ("checkpoint",) * 2

pytestmark = [pytest.mark.audit, pytest.mark.usefixtures("compiled_once")]


class Kill(NamedTuple):
    """What ends a session, and when."""

    kind: str
    moment: str
    step: int  # that a line of metrics has come to
    delay: float  # seconds after the moment


def plan(seed: int) -> list[Kill]:
    """Five kills of each kind, in any order, at steps spread over the run."""
    rng = np.random.default_rng(seed)
    steps = (np.arange(20) + rng.uniform(size=20)) * (STEPS - 2 * EVERY) / 20
    moments = [str(moment) for moment in rng.permutation(MOMENTS)]
    grows = int(np.searchsorted(steps, GROWS))
    moments[grows - 2 : grows - 2] = ["growth"] * 2
    kinds = [str(kind) for kind in rng.permutation(np.repeat(KINDS, 5))]
    delays = [rng.uniform(0, 6) if moment == "start" else rng.uniform(0, 0.5) for moment in moments]
    return [Kill(*each) for each in zip(kinds, moments, map(int, steps), delays, strict=True)]


def last_step(folder: Path) -> int:
    """Of the lines of metrics; 0 where there is none."""
    path = folder / "metrics.jsonl"
    lines = metrics.read(path) if path.exists() else []
    return lines[-1]["step"] if lines else 0


def saved(folder: Path) -> list[int]:
    return checkpoint.steps(folder / "checkpoints")


def due(kill: Kill, folder: Path, log: Path, began: float) -> bool:
    if kill.moment == "start":
        return time.monotonic() >= began + kill.delay
    if kill.moment == "growth":
        return "growing the next" in log.read_text() or last_step(folder) > GROWS + EVERY
    if last_step(folder) < max(kill.step, (saved(folder) or [0])[-1] + LINE):
        return False
    return kill.moment == "step" or any((folder / "checkpoints").glob(".*.partial"))


def session(kill: Kill | None, folder: Path, log: Path) -> int:
    """Start the run or resume it, end it in this way, and return its status."""
    arguments = [f"--resume={folder}"] if saved(folder) else command(folder, **RUN)
    if not saved(folder):
        shutil.rmtree(folder, ignore_errors=True)
    log.write_text("")
    line = [sys.executable, "-m", "lsp.run", *arguments]
    reader, writer = os.pipe()
    with log.open("w") as file:
        output: Any = writer if kill and kill.kind == "pipe" else file
        process = subprocess.Popen(line, cwd=ROOT, stdout=output, stderr=output)
    os.close(writer)
    began = time.monotonic()
    try:
        while kill is not None and process.poll() is None and not watch(kill, folder, log, reader, began):
            time.sleep(0.002)
        if kill is not None and process.poll() is None:
            end(process, kill, reader)
        return process.wait(600)
    finally:
        process.kill()
        if kill is None or kill.kind != "pipe":
            os.close(reader)


def watch(kill: Kill, folder: Path, log: Path, reader: int, began: float) -> bool:
    """Whether the moment has come; what goes into the pipe is read until then."""
    if kill.kind == "pipe":
        os.set_blocking(reader, False)
        try:
            with log.open("ab") as file:
                file.write(os.read(reader, 65_536))
        except BlockingIOError:
            pass
    if not due(kill, folder, log, began):
        return False
    if kill.moment != "start":
        time.sleep(kill.delay if kill.moment == "step" else kill.delay / 10)
    return True


def end(process: "subprocess.Popen[bytes]", kill: Kill, reader: int) -> None:
    ways: dict[str, Callable[[], Any]] = {
        "kill": process.kill,
        "term": process.terminate,
        "hangup": lambda: process.send_signal(signal.SIGHUP),
        "pipe": lambda: os.close(reader),
    }
    ways[kill.kind]()


@pytest.mark.parametrize("seed", [0])
def test_twenty_kills(seed: int, tmp_path: Path) -> None:
    straight, folder, log = tmp_path / "straight", tmp_path / "killed", tmp_path / "log"
    assert session(None, straight, log) == 0
    for number, kill in enumerate(plan(seed), start=1):
        before = saved(folder)
        status = session(kill, folder, log)
        seen, after = last_step(folder), saved(folder)
        print(f"{number}: {kill}: status {status}, lines to {seen:,}, checkpoints {before} -> {after}")
        assert "Traceback" not in log.read_text(), log.read_text()
        if status == 0:
            break  # it was done before the moment came
        assert after[-1:] >= before[-1:]
        if kill.kind == "kill":
            assert status == -signal.SIGKILL
            assert seen - EVERY - LINE <= (after or [0])[-1]
        elif status == 130:
            assert seen <= after[-1] < seen + LINE
        else:  # it had not begun to train
            assert status in (1, -signal.SIGTERM, -signal.SIGHUP)
            assert after == before
    assert session(None, folder, log) == 0
    steps = [line["step"] for line in metrics.read(folder / "metrics.jsonl")]
    assert steps == list(range(LINE, STEPS + 1, LINE))
    assert (folder / "metrics.jsonl").read_bytes().endswith(b"}\n")
    assert_same_run(straight, folder)
