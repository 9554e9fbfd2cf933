"""Asynchronous workers without processes and without JAX, and an account of what they delivered."""

import json
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from lsp.config import Config, ExecutorsConfig
from lsp.envs import env_spec
from lsp.executors.async_workers import AsyncWorkers, Collector
from lsp.executors.executor import Executor
from lsp.executors.factory import ExecutorMaker
from lsp.executors.inproc import make_group
from lsp.executors.worker_pool import WorkerDied, WorkerPool
from lsp.types import ActionSample, Rollout

COUNT, CHUNK, DEPTH = 6, 4, 2


def maker(env: str = "lsp/PointMass-v0", count: int = COUNT, limit: int = 7) -> ExecutorMaker:
    """Executors of 3-step returns, in episodes of `limit` steps."""
    config = Config(env=env, env_kwargs=json.dumps({"max_episode_steps": limit}), gamma=0.9, n_step=3)
    return ExecutorMaker(config, tuple(range(count)))


MAKER = maker()
SPEC = env_spec(MAKER.config)
CONFIG = ExecutorsConfig(engine="process", mode="async", count=COUNT, chunk=CHUNK, in_flight=DEPTH)


class RandomPolicy:
    """Acts at random from a seed and the parameters; priorities are |reward| times the parameters'."""

    def __init__(self, spec: Any, part: range, incarnation: int) -> None:
        self.dim, self.seed, self.weight = spec.action_dim, (part.start, incarnation), np.nan

    def load(self, leaves: list[np.ndarray]) -> None:
        self.weight = float(leaves[0][0])

    def act(self, observations: np.ndarray, step: int, random: bool) -> ActionSample:
        rng = np.random.default_rng((*self.seed, step))
        actions = rng.uniform(-1, 1, (len(observations), self.dim)).astype(np.float32)
        return ActionSample(actions, actions + 10)

    def rank(self, packed: np.ndarray, step: int) -> np.ndarray:
        return np.abs(packed[:, -6]) * np.float32(self.weight)


class LocalWorker:
    """Answers in this process, one after the other; it dies of the requests that `fatal` names by incarnation."""

    def __init__(self, part: range, incarnation: int, fatal: Callable[[int, int, int], bool]) -> None:
        executors = make_group(MAKER, part, incarnation)
        self.collector = Collector(executors, RandomPolicy(SPEC, part, incarnation), CHUNK)
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


class Mortal:
    """A worker in this process, which dies of what `fatal` says of it: part, incarnation, number of the request."""

    mute = False  # instead of dying it falls silent

    def __init__(self, part: range, incarnation: int, fatal: Callable[[range, int, int, str], bool]) -> None:
        self.part, self.incarnation, self.fatal, self.requests, self.closed = part, incarnation, fatal, 0, False
        self.executors = make_group(MAKER, part, incarnation)

    def send(self, request: str, argument: Any = None) -> None:
        self.request = request, argument
        self.requests += 1

    def ready(self, seconds: float) -> bool:
        return not (self.mute and self.fatal(self.part, self.incarnation, self.requests, self.request[0]))

    def receive(self) -> Any:
        request, argument = self.request
        if self.closed or self.fatal(self.part, self.incarnation, self.requests, request):
            self.closed = True
            raise WorkerDied("died")
        return getattr(self.executors, request)(*([] if argument is None else [argument]))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Observation, action, and action of the layer, of every step that any executor makes."""
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    step = Executor.step

    def spying(self: Executor, env_action: np.ndarray, layer_action: np.ndarray) -> Any:
        found.append((self.observation.copy(), env_action.copy(), layer_action.copy()))
        return step(self, env_action, layer_action)

    monkeypatch.setattr(Executor, "step", spying)
    return found


def local_workers(
    workers: int = 2, fatal: Callable[[int, int, int], bool] = lambda *_: False, seed: int = 0
) -> AsyncWorkers:
    """Workers that answer in an order that nobody knows."""
    rng = np.random.default_rng(seed)

    def wait(busy: Any, timeout: float) -> list[int]:
        return [int(rng.integers(len(busy)))] if busy else []

    return AsyncWorkers(lambda part, life: LocalWorker(part, life, fatal), wait, SPEC, CONFIG, workers)


def pids(pool: WorkerPool) -> list[int]:
    return [worker.process.pid for worker in pool._workers]


def hasten(pool: WorkerPool, seconds: float) -> None:
    """Let it wait so long until a worker has been replaced; the new one takes longer than that to start up."""
    launch, timeout = pool._launch, pool._timeout

    def launch_in_peace(part: range, incarnation: int) -> Any:
        pool._timeout = timeout
        return launch(part, incarnation)

    pool._timeout, pool._launch = seconds, launch_in_peace


def account(rollouts: Iterable[Rollout]) -> dict[tuple[int, int], list[int]]:
    """Row numbers of every executor in every incarnation, in order of arrival."""
    found: dict[tuple[int, int], list[int]] = {}
    for rollout in rollouts:
        for executor, life, number in rollout.origins.tolist():
            found.setdefault((executor, life), []).append(number)
    return found


def assert_no_hole_and_no_duplicate(numbers: dict[tuple[int, int], list[int]]) -> None:
    for delivered in numbers.values():
        assert sorted(delivered) == list(range(min(delivered), min(delivered) + len(delivered)))
