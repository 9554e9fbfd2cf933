"""Whole runs with their executors elsewhere: the same as in one process, and whole again after faults."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from lsp import run
from lsp.storage import metrics
from lsp.training.asynchronous import AsyncLoop
from lsp.training.loop import Loop
from tests.support.processes import gone
from tests.support.runs import assert_same_state, command, compiled_once, newest, run_until, snapshot  # noqa: F401  # a fixture

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_once")]
ALIKE: dict[str, Any] = {"agent": "distributed_prioritized", "steps": 240, "checkpoint_every": 120, "block": 2}
ALIKE |= {"utd": 1}
LAYERS = {"layers": 2, "layer_steps": "100,140", "growth__critic_warmup": 10}


def at_step(patch: pytest.MonkeyPatch, kind: type[Loop] | type[AsyncLoop], step: int, act: Any) -> None:
    """Do something once with a seed, when it has come to `step`."""
    collect, done = kind.collect, []

    def act_and_collect(loop: Any, seed: Any) -> Any:
        if seed.step >= step and not done:
            done.append(act(seed))
        return collect(loop, seed)

    patch.setattr(kind, "collect", act_and_collect)


def test_another_engine_and_a_resume_change_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    """Of two layers, in the second: interrupted, then killed with steps after the newest checkpoint."""
    straight, moved = tmp_path / "straight", tmp_path / "moved"
    assert run.main(command(straight, **ALIKE, **LAYERS)) == 0
    processes: list[int] = []
    with monkeypatch.context() as patch:
        at_step(patch, Loop, 130, lambda seed: processes.extend(w.process.pid for w in seed.executors._workers))
        at_step(patch, Loop, 134, lambda seed: signal.raise_signal(signal.SIGINT))
        arguments = command(moved, **ALIKE, **LAYERS, executors__engine="process", executors__workers=2)
        assert run.main(arguments) == 130
    assert len(processes) == 2
    assert gone(processes, 0.0)
    resume = [f"--resume={moved}", "--checkpoint-every=10", "--log-every=2"]
    status, output = run_until(lambda: int(newest(moved).name) > 134, signal.SIGKILL, resume)
    assert status == -signal.SIGKILL, output
    assert 134 < int(newest(moved).name) < 240
    inside = ["--executors.engine=inproc", "--executors.workers=0", "--log-every=20"]
    assert run.main([f"--resume={moved}", *inside]) == 0
    assert_same_state(straight, moved)
    assert metrics.read(moved / "metrics.jsonl")[-1]["layer"] == 1
    assert snapshot(straight / "layers") == snapshot(moved / "layers")


def test_an_asynchronous_run_survives_its_workers(tmp_path: Path, monkeypatch: Any) -> None:
    folder = tmp_path / "run"
    options = {"executors__engine": "process", "executors__mode": "async", "executors__workers": 2}
    arguments = command(folder, **ALIKE, **LAYERS, **options, executors__chunk=4, executors__publish_every=4)
    with monkeypatch.context() as patch:
        at_step(patch, AsyncLoop, 80, lambda seed: os.kill(seed.executors._workers[0].process.pid, signal.SIGKILL))
        at_step(patch, AsyncLoop, 160, lambda seed: signal.raise_signal(signal.SIGTERM))
        assert run.main(arguments) == 130
    lines = metrics.read(folder / "metrics.jsonl")
    assert lines[-1]["executor_restarts"] == 1
    assert {(line["step"] > 100, line["layer"]) for line in lines if line["step"] != 100} == {(False, 0), (True, 1)}
    assert run.main([f"--resume={folder}"]) == 0
    last = metrics.read(folder / "metrics.jsonl")[-1]
    assert last["step"] == 240
    assert last["executor_deaths"] == 0
    assert last["utd_realized"] == pytest.approx(1.0, rel=0.1)
    assert 0 < last["staleness"] <= last["staleness_max"]
