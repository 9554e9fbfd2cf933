"""Asynchronous workers, both ends: each acts on its own copy of the parameters and never waits for the others.

In a worker, a `Collector` answers one request after the other: it acts until it has the transitions that the request
asks for, and ranks them. At the learner, `AsyncWorkers` lets every worker have at most `in_flight` requests. The
learner sends the next one when it can use the answer, and so holds the ratio of updates to data. No transport here.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from lsp.config import ExecutorsConfig
from lsp.executors.executor import Executor
from lsp.executors.inproc import InProcess, make_group
from lsp.executors.worker_pool import LISTEN, Worker, WorkerDied, WorkerPool
from lsp.types import ActionSample, Chunk, EnvSpec, Episode, Rollout, RolloutRequest

BEYOND = 1_000_000
"""More transitions than ever wait to be learned from."""
Wait = Callable[[Sequence[Any], float], list[int]]
"""(workers, seconds) -> which of them have an answer, or died, after so many seconds at most."""


class WorkerPolicy(Protocol):
    """A policy with parameters of its own, which acts for a group of executors and ranks their transitions."""

    def load(self, leaves: list[np.ndarray]) -> None:
        """Take over parameters."""

    def act(self, observations: np.ndarray, step: int, random: bool) -> ActionSample:
        """Actions for [E, S]; `step` is never the same twice."""

    def rank(self, packed: np.ndarray, step: int) -> np.ndarray:
        """Priorities of packed transitions [n, W], f32[n]."""


PolicyMaker = Callable[[EnvSpec, range, int], WorkerPolicy]
"""(sizes of the environment, numbers of the executors, incarnation) -> their policy; called in the worker."""


class Collector:
    """Collects `steps` transitions from each executor of a group at every request."""

    def __init__(self, executors: InProcess, policy: WorkerPolicy, steps: int) -> None:
        """Take over `executors`, closed with this object."""
        self._executors, self._policy, self._steps = executors, policy, steps
        self._observations: np.ndarray | None = None
        self._acted = 0  # steps of each executor

    def reset(self) -> np.ndarray:
        """Start every environment, f32[E, S]."""
        self._observations = self._executors.reset()
        return self._observations

    def collect(self, request: RolloutRequest) -> Rollout:
        """Act until the transitions are complete."""
        if request.leaves is not None:
            self._policy.load(request.leaves)
        chunks: list[Chunk] = []
        episodes: list[Episode] = []
        while len(chunks) < self._steps:
            assert self._observations is not None
            actions = self._policy.act(self._observations, self._acted, request.random)
            chunk = self._executors.step(actions)
            self._observations = chunk.observations
            self._acted += 1
            episodes += chunk.episodes
            if chunk.complete:
                chunks.append(chunk)
        packed, returns, origins = (
            np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in ("packed", "returns", "origins")
        )
        priorities = self._policy.rank(packed, self._acted)
        return Rollout(packed, returns, priorities, origins, request.version, episodes)

    def set_reward(self, reward: str) -> None:
        """Reward steps in this way from now on; transitions that n-step returns hold back are dropped."""
        self._executors.set_reward(reward)

    def get_state(self) -> dict[str, Any]:
        """The executors' state and how often they acted, a value for each."""
        state = self._executors.get_state()
        return state | {"acted": np.full(len(state["executors"]), self._acted)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `get_state`'s result."""
        self._executors.set_state(state)
        self._acted = int(np.max(state["acted"]))
        self._observations = np.stack([each["observation"] for each in self._executors.get_state()["executors"]])

    def close(self) -> None:
        """Close every environment."""
        self._executors.close()


def make_collector(
    make_executor: Callable[[int, int], Executor], make_policy: PolicyMaker, steps: int, part: range, incarnation: int
) -> Collector:
    """The collector of the executors `part` in an incarnation. Raises ConfigError."""
    executors = make_group(make_executor, part, incarnation)
    return Collector(executors, make_policy(executors.spec, part, incarnation), steps)


class AsyncWorkers(WorkerPool):
    """Workers that are `Collector`s somewhere else."""

    def __init__(
        self,
        launch: Callable[[range, int], Worker],
        wait: Wait,
        spec: EnvSpec,
        config: ExecutorsConfig,
        workers: int,
        finish: Callable[[], None] | None = None,
    ) -> None:
        """Start all workers, as `WorkerPool` does."""
        super().__init__(launch, spec, config, workers, finish)
        self._wait = wait
        self._in_flight = config.in_flight
        self._requests: list[deque[RolloutRequest]] = [deque() for _ in range(workers)]  # not answered yet
        self._leaves: list[np.ndarray] = []
        self._version, self._random = 0, False
        self._polled = time.monotonic()
        self._sent: list[int | None] = [None] * workers  # version of the latest parameters that each was sent

    def publish(self, leaves: list[np.ndarray], version: int) -> None:
        """Parameters that requests from now on come with."""
        self._leaves, self._version = leaves, version

    def request_rollouts(self, random: bool) -> None:
        """Send every worker as many requests as it may have; `random`: to act uniformly."""
        self._random = random
        for i in range(len(self._workers)):
            while len(self._requests[i]) < self._in_flight:
                self._request(i)

    def _request(self, i: int) -> None:
        newer = self._sent[i] != self._version
        request = RolloutRequest(self._leaves if newer else None, self._version, self._random)
        self._sent[i] = self._version
        self._requests[i].append(request._replace(leaves=None))
        self._workers[i].send("collect", request)

    def poll(self, timeout: float) -> list[Rollout]:
        """What has arrived, in turn of the workers; waits for the first at most `timeout` seconds."""
        busy = [i for i, requests in enumerate(self._requests) if requests]
        ready = {busy[position] for position in self._wait([self._workers[i] for i in busy], timeout)}
        now = time.monotonic()
        passed, self._polled = min(now - self._polled, LISTEN), now
        for i in busy:
            self._silence[i] += passed
        return [self._take(i) for i in busy if i in ready or self._silence[i] >= self._timeout]

    def drain(self) -> list[Rollout]:
        """Wait for every request to be answered: then nothing is under way."""
        return [self._take(i) for i, requests in enumerate(self._requests) for _ in list(requests)]

    def new_episodes(self, step: int) -> dict[str, Any]:
        """A state of new episodes; nobody can say how often each has acted, but it was less often than this."""
        state = super().new_episodes(step)
        return state | {"acted": np.full(len(state["executors"]), step + BEYOND)}

    def in_flight(self) -> int:
        """Requests not answered yet."""
        return sum(map(len, self._requests))

    def _take(self, i: int) -> Rollout:
        try:
            rollout: Rollout = self._answer(i, "collect", None)
        finally:
            self._requests[i].popleft()
        return rollout

    def _revive(self, i: int, request: str, argument: Any, reason: WorkerDied) -> Any:
        """A new worker has no parameters and no requests: it gets both."""
        waiting = len(self._requests[i])
        answer = super()._revive(i, request, argument, reason)
        for _ in range(waiting - 1):
            self._workers[i].send("collect", RolloutRequest(None, self._version, self._random))
        return answer

    def _catch_up(self, i: int, observations: np.ndarray, at_hand: ActionSample) -> np.ndarray:
        """Nothing: a collector steps until its transitions are complete."""
        return observations

    def _replace(self, i: int, reason: WorkerDied) -> None:
        super()._replace(i, reason)
        self._sent[i] = None

    def _prepare(self, i: int, request: str, argument: Any) -> Any:
        if request != "collect":
            return argument
        self._sent[i] = self._version
        return RolloutRequest(self._leaves, self._version, self._random)


def make_server_maker(
    config: ExecutorsConfig, make_executor: Callable[[int, int], Executor], make_policy: PolicyMaker | None
) -> Callable[[range, int], InProcess | Collector]:
    """(numbers of the executors, incarnation) -> what a worker serves: executors alone, or with a policy; picklable."""
    if config.mode != "async":
        return partial(make_group, make_executor)
    assert make_policy is not None
    return partial(make_collector, make_executor, make_policy, config.chunk)


def make_pool(
    config: ExecutorsConfig,
    launch: Callable[[range, int], Worker],
    wait: Wait,
    spec: EnvSpec,
    workers: int,
    finish: Callable[[], None] | None = None,
) -> WorkerPool:
    """The learner's end of `workers` workers, in the mode of the configuration."""
    if config.mode == "async":
        return AsyncWorkers(launch, wait, spec, config, workers, finish)
    return WorkerPool(launch, spec, config, workers, finish)
