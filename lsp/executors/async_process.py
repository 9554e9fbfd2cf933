"""Asynchronous workers as processes on this machine: rows through shared memory, a slot for each order in flight.

Answers through the pipe are small, so that a worker never waits in sending one while the learner waits in sending
parameters.
"""

from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import wait as wait_for_connections
from typing import Any, NamedTuple

import numpy as np

from lsp.config import ExecutorsConfig
from lsp.executors.async_workers import Fleet
from lsp.executors.collector import Actor, Collector
from lsp.executors.executor import Executor
from lsp.executors.inproc import InProcess
from lsp.executors.process import Mailbox, ProcessWorker
from lsp.packing import Layout
from lsp.types import EnvSpec, Episode, Haul

ARRAYS = ("rows", "returns", "priorities", "origins")


class Note(NamedTuple):
    """A haul's small part, and the slot where the arrays are."""

    slot: int
    version: int
    episodes: Sequence[Episode]


class FleetWorker(ProcessWorker):
    """The learner's end of an asynchronous worker process."""

    def receive(self) -> Any:
        """The answer; its arrays are the taker's own."""
        answer = super().receive()
        if not isinstance(answer, Note):
            return answer
        arrays = {name: self.views[name][answer.slot].copy() for name in ARRAYS}
        return Haul(version=answer.version, episodes=answer.episodes, **arrays)


class Collecting:
    """Collects with a group of executors when ordered."""

    def __init__(
        self,
        make_executor: Callable[[int, int], Executor],
        make_actor: Callable[[EnvSpec, range, int], Actor],
        part: range,
        incarnation: int,
        steps: int,
    ) -> None:
        """Make executors and policy. Raises ConfigError."""
        executors = InProcess(lambda i: make_executor(i, incarnation), len(part), part.start, incarnation)
        self._collector = Collector(executors, make_actor(executors.spec, part, incarnation), steps)
        self._hauls = 0

    def answer(self, views: dict[str, np.ndarray], request: str, argument: Any) -> Any:
        """What the collector's method of that name returns; of a haul, the arrays into the next slot of `views`."""
        answer = getattr(self._collector, request)(*([] if argument is None else [argument]))
        if request != "collect":
            return answer
        slot = self._hauls % len(views["returns"])
        self._hauls += 1
        for name in ARRAYS:
            views[name][slot] = getattr(answer, name)
        return Note(slot, answer.version, answer.episodes)

    def close(self) -> None:
        """Close every environment."""
        self._collector.close()


def make_fleet(
    executors: ExecutorsConfig,
    make_executor: Callable[[int, int], Executor],
    make_actor: Callable[[EnvSpec, range, int], Actor],
    spec: EnvSpec,
    workers: int,
) -> Fleet:
    """The executors of a configuration in `workers` asynchronous processes."""

    def launch(part: range, incarnation: int) -> FleetWorker:
        slots, rows = executors.in_flight, len(part) * executors.chunk
        shapes = {"rows": (slots, rows, Layout.of(spec).width), "returns": (slots, rows), "priorities": (slots, rows)}
        mailbox = Mailbox(shapes | {"origins": (slots, rows, 3)})
        service = partial(Collecting, make_executor, make_actor, part, incarnation, executors.chunk)
        return FleetWorker(service, mailbox, f"lsp-{part.start}", executors.timeout)

    return Fleet(launch, wait, spec, executors.count, workers, executors.in_flight, timeout=executors.timeout)


def wait(workers: Sequence[Any], timeout: float) -> list[int]:
    """Which workers have an answer, or died."""
    ready = wait_for_connections([worker.connection for worker in workers], timeout)
    return [i for i, worker in enumerate(workers) if worker.connection in ready]
