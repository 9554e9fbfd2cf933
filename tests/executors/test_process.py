"""Workers do what executors in this process do, to the bit, and leave nothing behind whatever ends them."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from lsp.config import ConfigError, ExecutorsConfig
from lsp.envs import BoxEnv, EnvironmentFault, env_spec
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


@pytest.mark.slow
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


class Trouble(gymnasium.Env):
    """Does at its second step what it is told to."""

    observation_space, action_space = Box(-np.inf, np.inf, (1,)), Box(-1.0, 1.0, (1,))

    def __init__(self, what: str) -> None:
        self.what, self.steps = what, 0
        if what == "in the worker alone" and multiprocessing.parent_process() is not None:
            raise SystemExit("no display here")

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(1), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        if self.steps == 2:
            self.act()
        return np.zeros(1), 1.0, False, False, {"callback": lambda: 0, "x": 1.0}

    def act(self) -> None:
        match self.what:
            case "exit":
                sys.exit(3)
            case "memory":
                raise MemoryError
            case "not to be pickled":
                raise OSError(lambda: 0)
            case "interrupt":
                raise KeyboardInterrupt
            case "os._exit":
                os._exit(7)
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)


def stepped(pool: WorkerPool, steps: int) -> None:
    """Reset, and step so often, with actions of one number."""
    pool.reset()
    action = np.zeros((pool._parts[-1].stop, 1), np.float32)
    for _ in range(steps):
        pool.step(ActionSample(action, action))


def trouble(what: str) -> Callable[[int, int], Executor]:
    return partial(_trouble, what)


def _trouble(what: str, index: int, incarnation: int) -> Executor:
    return Executor(BoxEnv(Trouble(what), "trouble"), index, 0.9, 3)


TROUBLE = EnvSpec(1, 1)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("exit", "SystemExit: 3"),
        ("memory", "MemoryError"),
        ("not to be pickled", "OSError"),
        ("interrupt", "KeyboardInterrupt"),
        ("in the worker alone", "SystemExit: no display here"),
    ],
)
def test_an_exception_ends_it_at_once(what: str, says: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Of whatever kind, in one line, and it is not tried again."""
    pool = start(trouble(what), TROUBLE, 2)
    try:
        with pytest.raises(EnvironmentFault, match=says) as raised:
            stepped(pool, 3)
        assert "\n" not in str(raised.value)
        assert pool.stats() == {"executor_deaths": 0, "executor_restarts": 0}
    finally:
        pool.close()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("what", "code"), [("os._exit", 7), pytest.param("segfault", -11, marks=pytest.mark.slow)])
def test_one_that_dies_each_time_before_it_gave_a_transition(what: str, code: int) -> None:
    pool = start(trouble(what), TROUBLE, 1, workers=1)
    try:
        with pytest.raises(EnvironmentFault, match=rf"executors 0 died \(exit code {code}\), 3 times in a row"):
            stepped(pool, 20)
        assert pool.stats() == {"executor_deaths": 3, "executor_restarts": 0}
    finally:
        pool.close()


def test_an_answer_that_cannot_be_sent() -> None:
    pool = start(unsendable, TROUBLE, 1, workers=1)
    try:
        pool.reset()
        with pytest.raises(EnvironmentFault, match=r"^the worker of executors 0 raised .*pickle.* to get_state$"):
            pool.get_state()
        action = np.zeros((1, 1), np.float32)
        assert pool.step(ActionSample(action, action)).observations.shape == (1, 1)  # it still listens
    finally:
        pool.close()


def unsendable(index: int, incarnation: int) -> Executor:
    executor = _trouble("", index, incarnation)
    executor.get_state = lambda: {"callback": lambda: 0}  # type: ignore[method-assign]
    return executor


# What environments start


class Parent(Trouble):
    """Starts processes in its constructor: of this program twice, and another program."""

    def __init__(self, notes: str) -> None:
        super().__init__("")
        self.children: list[Any] = []
        for method, daemon in (("fork", True), ("fork", False), ("spawn", True)):
            child = multiprocessing.get_context(method).Process(target=time.sleep, args=(1000,), daemon=daemon)
            child.start()
            self.children.append(child)
        self.children.append(subprocess.Popen(["sleep", "1000"]))
        os.system("sleep 1000 &")  # it is not told its number, and lets it have all that is open here
        self.restarted = subprocess.Popen(["sleep", "1000"])
        for child in (self.children[0], self.restarted):  # these signals must not be blocked in them
            child.terminate()
        self.children[0].join(5.0)
        ends = [self.children.pop(0).exitcode, self.restarted.wait(5.0)]
        Path(notes).write_text(" ".join(map(str, [*ends, *(child.pid for child in self.children)])))


def parent(notes: str, index: int, incarnation: int) -> Executor:
    return Executor(BoxEnv(Parent(f"{notes}-{incarnation}"), "parent"), index, 0.9, 3)


def sleepers(group: int) -> list[int]:
    """Living processes of a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] != "Z":
                found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_environments_may_start_processes_which_end_with_them(tmp_path: Path) -> None:
    """At the end, and when the worker dies, which they do not hide."""
    pool, action = start(partial(parent, str(tmp_path / "notes")), TROUBLE, 1, workers=1), np.zeros((1, 1), np.float32)
    try:
        pool.reset()
        for incarnation in range(2):
            *ends, first, second, third = map(int, (tmp_path / f"notes-{incarnation}").read_text().split())
            assert ends == [-signal.SIGTERM] * 2
            (worker,) = pids(pool)
            assert len({first, second, third} & set(sleepers(worker))) == 3
            assert len(sleepers(worker)) >= 5
            if incarnation == 0:
                os.kill(worker, signal.SIGKILL)
                began = time.monotonic()
                pool.step(ActionSample(action, action))
                assert time.monotonic() - began < 30.0, "its death was seen at the timeout only"
                assert sleepers(worker) == []
                assert gone([first, second, third])
    finally:
        pool.close()
    assert sleepers(worker) == []
    assert gone([first, second, third])


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


def with_child(index: int, incarnation: int) -> Executor:
    """Of the point mass, with a process beside it."""
    subprocess.Popen(["sleep", "1000"])
    return POINT_MASS(index, incarnation)


LEARNER = """
import signal, sys
import numpy as np
from lsp.types import ActionSample
from tests.executors.test_process import COUNT, pids, start, with_child

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it runs in the background
    pool = start(with_child)
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
@pytest.mark.parametrize(
    "end", ["exit", "raise", "hang", signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
)
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
    assert gone([pid for worker in workers for pid in sleepers(worker)])
    assert all(sleepers(worker) == [] for worker in workers)
    assert b"in serve" not in errors  # no worker's traceback
    assert set(os.listdir(SHARED)) <= shared
