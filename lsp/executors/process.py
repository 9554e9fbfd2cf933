"""Executors in worker processes on this machine, a group in each, over shared memory.

Actions and rows lie in memory without a name, which the system frees with the last process that maps it; a pipe carries
the requests and, of the answers, what is small. A worker ends when its pipe closes or its parent dies, so that nothing
is left behind however the learner ends.
"""

import contextlib
import ctypes
import math
import multiprocessing
import os
import select
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from multiprocessing import resource_tracker, util
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np

from lsp.config import ConfigError
from lsp.envs import EnvironmentFault
from lsp.executors.executor import Executor
from lsp.executors.inproc import InProcess
from lsp.executors.worker_pool import Groups, WorkerDied, WorkerHung
from lsp.packing import Layout
from lsp.types import ActionSample, Chunk, EnvSpec

SPAWN = multiprocessing.get_context("spawn")  # a fork would copy the locks of JAX's threads
PR_SET_PDEATHSIG = 1  # of Linux's prctl
PATIENCE = 2.0  # seconds that a worker has to close its environments


class Mailbox:
    """Memory that two processes share: float32 arrays by name, and int64 `origins`."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Zeros of the given shapes."""
        self._shapes = shapes
        self._memory = {
            name: SPAWN.RawArray("q" if name == "origins" else "f", math.prod(shape)) for name, shape in shapes.items()
        }

    def views(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        return {
            name: np.frombuffer(memory, np.int64 if name == "origins" else np.float32).reshape(self._shapes[name])
            for name, memory in self._memory.items()
        }


class Service(Protocol):
    """What a worker does."""

    def answer(self, views: dict[str, np.ndarray], request: str, argument: Any) -> Any:
        """The answer to a request. Raises EnvironmentFault, ConfigError."""

    def close(self) -> None:
        """Close every environment."""


class ProcessWorker:
    """The learner's end of a worker process."""

    def __init__(
        self, make_service: Callable[[], Service], mailbox: Mailbox, name: str, timeout: float = math.inf
    ) -> None:
        """Start the process, without waiting for it. `make_service`, picklable, is called there.

        A worker that does not read for `timeout` seconds what it is sent counts as dead.
        """
        self.views = mailbox.views()
        self.connection, theirs = SPAWN.Pipe()
        self._timeout, self._hung = timeout, False
        _limit_sends(self.connection, timeout)
        self._arrivals = select.poll()
        self._arrivals.register(self.connection.fileno(), select.POLLIN)
        self.process = SPAWN.Process(target=serve, args=(theirs, make_service, mailbox), daemon=True, name=name)
        with _signals_for_the_learner_alone():
            self.process.start()
        theirs.close()
        # Before the interpreter's own end of daemons, which would wait for a worker that is deaf to SIGTERM.
        self._finalizer = util.Finalize(self, _end, (self.connection, self.process), exitpriority=10)

    def send(self, request: str, argument: Any = None) -> None:
        """Ask for something."""
        if request == "step":
            np.concatenate(argument, axis=1, out=self.views["actions"])
            argument = None
        try:
            self.connection.send((request, argument))
        except BlockingIOError:
            self._hung = True
        except OSError:
            pass  # it is dead

    def ready(self, seconds: float) -> bool:
        """Whether there is an answer within so many seconds, or can be none any more."""
        return self._hung or bool(self._arrivals.poll(1000 * seconds))

    def receive(self) -> Any:
        """The answer; its arrays are the taker's own."""
        if self._hung:
            raise WorkerHung(self._timeout)
        try:
            answer = self.connection.recv()
        except (EOFError, OSError) as error:
            self.process.join(PATIENCE)
            raise WorkerDied(f"died (exit code {self.process.exitcode})") from error
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, Chunk) or not answer.complete:
            return answer
        arrays = [self.views[name].copy() for name in ("rows", "returns", "observations", "origins")]
        return Chunk(arrays[0], arrays[1], arrays[2], True, answer.episodes, arrays[3])

    def close(self) -> None:
        """End the process, by force if it does not hear."""
        self._finalizer()


def _limit_sends(connection: Connection, seconds: float) -> None:
    """Let a send raise BlockingIOError when nobody reads for so many seconds; of inf, wait for ever."""
    if seconds == math.inf:
        return
    seconds /= 2  # for each of two writes: the first may have got rid of a part
    limit = struct.pack("ll", int(seconds), int(1e6 * (seconds % 1)))
    with socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def _end(connection: Connection, process: Any) -> None:
    connection.close()
    process.join(PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()


@contextlib.contextmanager
def _signals_for_the_learner_alone() -> Iterator[None]:
    """What is started here is deaf to Ctrl-C and SIGTERM: the learner still needs its workers for a checkpoint."""
    resource_tracker.ensure_running()  # else the first start would do it, which unblocks both signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(connection: Connection, make_service: Callable[[], Service], mailbox: Mailbox) -> None:
    """Be a worker until the pipe closes: one answer to every request, an exception where it raised a known one."""
    end_with_parent()
    service: Service | None = None
    views = mailbox.views()
    with contextlib.suppress(EOFError, OSError):
        while True:
            request, argument = connection.recv()
            try:
                if service is None:
                    service = make_service()
                answer = service.answer(views, request, argument)
            except (EnvironmentFault, ConfigError) as error:
                answer = error
            connection.send(answer)
    if service is not None:
        service.close()


class LockStep:
    """Steps a group of executors when asked."""

    def __init__(self, make_executor: Callable[[int, int], Executor], part: range, incarnation: int) -> None:
        """Make the executors. Raises ConfigError."""
        self._executors = InProcess(lambda i: make_executor(i, incarnation), len(part), part.start, incarnation)

    def answer(self, views: dict[str, np.ndarray], request: str, argument: Any) -> Any:
        """What the executors' method of that name returns; of a step, the arrays into `views`."""
        if request != "step":
            return getattr(self._executors, request)(*([] if argument is None else [argument]))
        chunk = self._executors.step(ActionSample(*np.split(views["actions"], 2, axis=1)))
        if not chunk.complete:
            return chunk
        for name in ("returns", "observations", "rows", "origins"):
            views[name][:] = getattr(chunk, name)
        nothing = np.zeros(0)
        return Chunk(nothing, nothing, nothing, True, chunk.episodes, nothing)

    def close(self) -> None:
        """Close every environment."""
        self._executors.close()


def end_with_parent() -> None:
    """End this process as soon as its parent has, also in the middle of an environment's step."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    if sys.platform == "linux":  # there the system does it, also where no thread of ours runs any more
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def make_process(
    make_executor: Callable[[int, int], Executor], spec: EnvSpec, count: int, workers: int, timeout: float = math.inf
) -> Groups:
    """`count` executors in `workers` processes, each of which counts as dead if it is silent for `timeout` seconds."""

    def launch(part: range, incarnation: int) -> ProcessWorker:
        n, dim = len(part), spec.observation_dim
        shapes = {"actions": (n, 2 * spec.action_dim), "rows": (n, Layout.of(spec).width), "observations": (n, dim)}
        mailbox = Mailbox(shapes | {"returns": (n,), "origins": (n, 3)})
        service = partial(LockStep, make_executor, part, incarnation)
        return ProcessWorker(service, mailbox, f"lsp-{part.start}", timeout)

    return Groups(launch, spec, count, workers, timeout=timeout)
