"""Workers do what executors in this process do, to the bit, and leave nothing behind whatever ends them."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsp.config import ConfigError, ExecutorsConfig
from lsp.envs import EnvironmentFault, env_spec
from lsp.executors.executor import Executor
from lsp.executors.inproc import InProcess
from lsp.executors.process import cores, make_process
from lsp.executors.worker_pool import WorkerDied, WorkerPool
from lsp.types import ActionSample, EnvSpec
from tests.support.environments import broken, countdown
from tests.support.processes import ROOT, SHARED, gone, is_alive
from tests.support.workers import hasten, maker, pids

COUNT = 8


POINT_MASS = maker(count=COUNT, limit=9)
SPEC = env_spec(POINT_MASS.config)


def start(
    make: Callable[[int, int], Executor] = POINT_MASS, spec: EnvSpec = SPEC, count: int = COUNT, **fields: Any
) -> WorkerPool:
    """Two workers, or what `fields` of the configuration say."""
    return make_process(ExecutorsConfig(engine="process", count=count, **({"workers": 2} | fields)), make, None, spec)


def actions(dim: int, steps: int) -> list[ActionSample]:
    numbers = np.random.default_rng(1).uniform(-1, 1, (steps, COUNT, dim)).astype(np.float32)
    return [ActionSample(each, each + 10) for each in numbers]


@pytest.mark.parametrize(
    ("env", "workers", "steps"), [("PointMass", 8, 300), ("PointMass", 2, 300), ("RllabAnt", 2, 40)]
)
def test_equal_executors_in_process_to_the_bit(env: str, workers: int, steps: int) -> None:
    make = maker(f"lsp/{env}-v0", COUNT, limit=9)
    spec = env_spec(make.config)
    pool, reference = start(make, spec, workers=workers), InProcess(make, COUNT)
    shared = set(os.listdir(SHARED))
    try:
        np.testing.assert_array_equal(pool.reset(), reference.reset(), strict=True)
        kept = []
        for number, action in enumerate(actions(spec.action_dim, steps)):
            chunk, expected = pool.step(action), reference.step(action)
            np.testing.assert_equal(chunk._asdict(), expected._asdict())
            kept.append((chunk, expected))
            if number == steps // 2:
                state = reference.get_state()
                np.testing.assert_equal(pool.get_state(), state)
                pool.set_state(state)
        for pair in kept:  # what was handed out is the taker's own
            np.testing.assert_equal(*(each._asdict() for each in pair))
        assert set(os.listdir(SHARED)) <= shared  # the memory has no name that could stay behind
        processes = pids(pool)
    finally:
        pool.close()
        reference.close()
    assert gone(processes, 0.0)


def test_killed_workers_come_back() -> None:
    """Killed while they step, again and again, at moments that nobody chose."""
    steps, rng = actions(2, 400), np.random.default_rng(2)
    pool = start()
    try:
        pool.reset()
        chunks = []
        for number, action in enumerate(steps):
            if number in (100, 250):
                victim = pids(pool)[int(rng.integers(2))]
                subprocess.Popen(["sh", "-c", f"sleep {rng.uniform(0, 0.05)}; kill -9 {victim}"]).wait()
            chunks.append(pool.step(action))
        assert pool.stats() == {"executor_deaths": 8, "executor_restarts": 8}
    finally:
        pool.close()
    origins = [tuple(origin) for chunk in chunks for origin in chunk.origins.tolist()]
    assert len(origins) == len(set(origins)) == sum(len(chunk.packed) for chunk in chunks)
    lives = {(executor, life) for executor, life, _ in origins}
    for executor, life in lives:
        numbers = [number for at, its, number in origins if (at, its) == (executor, life)]
        assert numbers == list(range(len(numbers)))
    assert len(lives) == COUNT + 8


def test_a_worker_that_hangs(capfd: pytest.CaptureFixture[str]) -> None:
    """Before the first row is complete, and later."""
    pool = start(timeout=60.0)
    try:
        pool.reset()
        origins: list[tuple[int, ...]] = []
        for number, action in enumerate(actions(2, 30)):
            if number in (1, 20):
                hasten(pool, 0.5)
                victim = pids(pool)[number % 2]
                os.kill(victim, signal.SIGSTOP)
            origins += map(tuple, pool.step(action).origins.tolist())
        assert gone([victim], 0.0)
        assert pool.stats() == {"executor_deaths": 8, "executor_restarts": 8}
    finally:
        pool.close()
    assert len(set(origins)) == len(origins) == 28 * COUNT
    told = "did not answer within --executors.timeout=0.5 seconds: they begin new episodes"
    assert capfd.readouterr().err.splitlines() == [
        f"the worker of executors {names} {told}" for names in ("4 to 7", "0 to 3")
    ]


def test_a_worker_that_does_not_read() -> None:
    """It would hold the learner up in sending."""
    pool = start(workers=1, timeout=0.5)
    worker = pool._workers[0]
    os.kill(pids(pool)[0], signal.SIGSTOP)
    worker.send("reset", np.zeros(10**6))
    assert worker.ready(0.0)
    with pytest.raises(WorkerDied, match=r"did not answer within --executors\.timeout=0\.5 seconds"):
        worker.receive()
    pool.close()
    assert gone(pids(pool), 0.0)


def dying(index: int, incarnation: int) -> Executor:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_a_fault_in_an_environment_is_told_as_in_process() -> None:
    spec = countdown().spec
    pool = start(broken, spec, 2)
    action = np.zeros((2, 1), np.float32)
    try:
        pool.reset()
        pool.step(ActionSample(action, action))
        with pytest.raises(
            EnvironmentFault, match=r"^environment countdown raised ArithmeticError: no more at step 2$"
        ):
            pool.step(ActionSample(action, action))
        processes = pids(pool)
    finally:
        pool.close()
    assert gone(processes, 0.0)


def test_an_environment_that_cannot_be_made() -> None:
    pool = start(maker("lsp/PontMass-v0"), count=1, workers=1)
    with pytest.raises(ConfigError, match="did you mean lsp/PointMass-v0"):
        pool.reset()
    pool.close()


def test_a_worker_that_dies_at_once() -> None:
    pool = start(dying, count=1, workers=1)
    with pytest.raises(EnvironmentFault, match=r"the worker of executors 0 died \(exit code -9\), 3 times in a row"):
        pool.reset()
    pool.close()


def test_cores() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


LEARNER = """
import signal, sys
import numpy as np
from lsp.types import ActionSample
from tests.executors.test_process import COUNT, pids, start

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it runs in the background
    pool = start()
    pool.reset()
    action = np.zeros((COUNT, 2), np.float32)
    print(*pids(pool), flush=True)
    steps = 0
    while steps < 20 or sys.argv[1] == "on":
        pool.step(ActionSample(action, action))
        steps += 1
    if sys.argv[1] == "raise":
        raise ValueError
    sys.exit()  # nobody closed the pool
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", ["exit", "raise", "hang", signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_stays_behind(end: str | signal.Signals, tmp_path: Path) -> None:
    """However the learner ends; signals other than SIGKILL go to its workers too, as from a terminal.

    `hang`: it is killed because a worker hangs.
    """
    script = tmp_path / "learner.py"
    script.write_text(LEARNER)
    shared = set(os.listdir(SHARED))
    command = [sys.executable, str(script), end if end in ("exit", "raise") else "on"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as learner:
        assert learner.stdout is not None
        workers = [int(pid) for pid in learner.stdout.readline().split()]
        assert len(workers) == 2
        if end == "hang":
            os.kill(workers[0], signal.SIGSTOP)
            end = signal.SIGKILL
        if isinstance(end, signal.Signals):
            assert all(map(is_alive, workers))
            (os.kill if end == signal.SIGKILL else os.killpg)(learner.pid, end)
        try:
            _, errors = learner.communicate(timeout=20)
        finally:
            learner.kill()
    assert gone(workers)
    assert b"in serve" not in errors  # no worker's traceback
    assert set(os.listdir(SHARED)) <= shared
