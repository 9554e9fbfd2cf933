"""Asynchronous workers without processes and without JAX, and an account of what they delivered."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from lsp.executors.async_workers import Fleet
from lsp.executors.collector import Collector
from lsp.executors.factory import ExecutorMaker, spec_of
from lsp.executors.inproc import InProcess
from lsp.executors.worker_pool import Groups, WorkerDied
from lsp.types import ActionSample, Haul

COUNT, CHUNK, DEPTH = 6, 4, 2
MAKER = ExecutorMaker("lsp/PointMass-v0", {"max_episode_steps": 7}, tuple(range(COUNT)), 0.9, 3)
SPEC = spec_of(MAKER)


class NumpyActor:
    """Acts at random from a seed and the parameters; a row's priority is its reward's size times the parameters'."""

    def __init__(self, spec: Any, part: range, incarnation: int) -> None:
        self.dim, self.seed, self.weight = spec.action_dim, (part.start, incarnation), np.nan

    def load(self, leaves: list[np.ndarray]) -> None:
        self.weight = float(leaves[0][0])

    def act(self, observations: np.ndarray, step: int, random: bool) -> ActionSample:
        rng = np.random.default_rng((*self.seed, step))
        actions = rng.uniform(-1, 1, (len(observations), self.dim)).astype(np.float32)
        return ActionSample(actions, actions + 10)

    def rank(self, rows: np.ndarray, step: int) -> np.ndarray:
        return np.abs(rows[:, -6]) * np.float32(self.weight)


class LocalWorker:
    """Answers in this process, one after the other; it dies of the requests that `fatal` names by incarnation."""

    def __init__(self, part: range, incarnation: int, fatal: Callable[[int, int, int], bool]) -> None:
        executors = InProcess(lambda i: MAKER(i, incarnation), len(part), part.start, incarnation)
        self.collector = Collector(executors, NumpyActor(SPEC, part, incarnation), CHUNK)
        self.part, self.incarnation, self.fatal = part, incarnation, fatal
        self.requests: deque[tuple[str, Any]] = deque()
        self.answered, self.most = 0, 0

    def send(self, request: str, argument: Any = None) -> None:
        self.requests.append((request, argument))
        self.most = max(self.most, len(self.requests))

    def ready(self, seconds: float) -> bool:
        return True

    def receive(self) -> Any:
        if self.fatal(self.part.start, self.incarnation, self.answered):
            raise WorkerDied("died")
        self.answered += 1
        request, argument = self.requests.popleft()
        return getattr(self.collector, request)(*([] if argument is None else [argument]))

    def close(self) -> None:
        self.collector.close()


def local_fleet(workers: int = 2, fatal: Callable[[int, int, int], bool] = lambda *_: False, seed: int = 0) -> Fleet:
    """A fleet whose workers answer in an order that nobody knows."""
    rng = np.random.default_rng(seed)

    def wait(busy: Any, timeout: float) -> list[int]:
        return [int(rng.integers(len(busy)))] if busy else []

    return Fleet(lambda part, life: LocalWorker(part, life, fatal), wait, SPEC, COUNT, workers, DEPTH)


def pids(pool: Groups) -> list[int]:
    return [worker.process.pid for worker in pool._workers]


def hasten(pool: Groups, seconds: float) -> None:
    """Let it wait so long until a worker has been replaced; the new one takes longer than that to start up."""
    launch, timeout = pool._launch, pool._timeout

    def launch_in_peace(part: range, incarnation: int) -> Any:
        pool._timeout = timeout
        return launch(part, incarnation)

    pool._timeout, pool._launch = seconds, launch_in_peace


def account(hauls: Iterable[Haul]) -> dict[tuple[int, int], list[int]]:
    """Row numbers of every executor in every incarnation, in order of arrival."""
    found: dict[tuple[int, int], list[int]] = {}
    for haul in hauls:
        for executor, life, number in haul.origins.tolist():
            found.setdefault((executor, life), []).append(number)
    return found


def assert_no_hole_and_no_duplicate(numbers: dict[tuple[int, int], list[int]]) -> None:
    for delivered in numbers.values():
        assert sorted(delivered) == list(range(min(delivered), min(delivered) + len(delivered)))
