"""Asynchronous groups of executors: each acts on its own copy of the parameters and never waits for the others.

A worker has at most `in_flight` orders, of which it answers one after the other. The learner gives the next one when it
can use it, and so holds the ratio of updates to data.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lsp.executors.worker_pool import LISTEN, Groups, Worker, WorkerDied
from lsp.types import EnvSpec, Haul, Order


class Fleet(Groups):
    """Workers that are `Collector`s somewhere else."""

    def __init__(
        self,
        launch: Callable[[range, int], Worker],
        wait: Callable[[Sequence[Any], float], list[int]],
        spec: EnvSpec,
        count: int,
        workers: int,
        in_flight: int,
        finish: Callable[[], None] | None = None,
        timeout: float = math.inf,
    ) -> None:
        """Start all workers; `wait` says which have an answer (or died), after so many seconds at most."""
        super().__init__(launch, spec, count, workers, finish, timeout)
        self._wait = wait
        self._in_flight = in_flight
        self._orders: list[deque[Order]] = [deque() for _ in range(workers)]  # not answered yet
        self._leaves: list[np.ndarray] = []
        self._version, self._random = 0, False
        self._polled = time.monotonic()
        self._sent: list[int | None] = [None] * workers  # version of the latest parameters that each was sent

    def publish(self, leaves: list[np.ndarray], version: int) -> None:
        """Parameters that orders from now on come with."""
        self._leaves, self._version = leaves, version

    def order(self, random: bool) -> None:
        """Give every worker as many orders as it may have; `random`: to act uniformly."""
        self._random = random
        for i in range(len(self._workers)):
            while len(self._orders[i]) < self._in_flight:
                self._give(i)

    def _give(self, i: int) -> None:
        fresh = self._sent[i] != self._version
        order = Order(self._leaves if fresh else None, self._version, self._random)
        self._sent[i] = self._version
        self._orders[i].append(order._replace(leaves=None))
        self._workers[i].send("collect", order)

    def poll(self, timeout: float) -> list[Haul]:
        """What has arrived, in turn of the workers; waits for the first at most `timeout` seconds."""
        busy = [i for i, orders in enumerate(self._orders) if orders]
        ready = {busy[position] for position in self._wait([self._workers[i] for i in busy], timeout)}
        now = time.monotonic()
        passed, self._polled = min(now - self._polled, LISTEN), now
        for i in busy:
            self._silence[i] += passed
        return [self._take(i) for i in busy if i in ready or self._silence[i] >= self._timeout]

    def drain(self) -> list[Haul]:
        """Wait for every order to be answered: then nothing is under way."""
        return [self._take(i) for i, orders in enumerate(self._orders) for _ in list(orders)]

    def in_flight(self) -> int:
        """Orders not answered yet."""
        return sum(map(len, self._orders))

    def _take(self, i: int) -> Haul:
        haul: Haul = self._answer(i, "collect", None)
        self._orders[i].popleft()
        return haul

    def _revive(self, i: int, request: str, argument: Any, reason: WorkerDied) -> Any:
        """A new worker has no parameters and no orders: it gets both."""
        waiting = len(self._orders[i])
        answer = super()._revive(i, request, argument, reason)
        for _ in range(waiting - 1):
            self._workers[i].send("collect", Order(None, self._version, self._random))
        return answer

    def _replace(self, i: int, reason: WorkerDied) -> None:
        super()._replace(i, reason)
        self._sent[i] = None

    def _prepare(self, i: int, request: str, argument: Any) -> Any:
        if request != "collect":
            return argument
        self._sent[i] = self._version
        return Order(self._leaves, self._version, self._random)
