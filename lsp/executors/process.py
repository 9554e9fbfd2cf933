"""Executors in worker processes on this machine, a group in each, over shared memory.

Actions and rows lie in memory without a name, which the system frees with the last process that maps it; a pipe carries
the requests and, of the answers, what is small. A worker ends when its pipe closes or its parent dies, so that nothing
is left behind however the learner ends.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker, util
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from lsp.config import ConfigError
from lsp.envs import EnvironmentFault
from lsp.executors.executor import Executor
from lsp.executors.groups import Groups, WorkerDied
from lsp.executors.inproc import InProcess
from lsp.rows import width
from lsp.types import ActionSample, Chunk, EnvSpec

SPAWN = multiprocessing.get_context("spawn")  # a fork would copy the locks of JAX's threads
PATIENCE = 2.0  # seconds that a worker has to close its environments


class Mailbox:
    """Memory that two processes share: the arrays of one step of n executors."""

    def __init__(self, n: int, spec: EnvSpec) -> None:
        """Zeros for `n` executors."""
        columns = {"actions": 2 * spec.action_dim, "rows": width(*spec), "observations": spec.observation_dim}
        self._shapes = {name: (n, size) for name, size in columns.items()} | {"returns": (n,), "origins": (n, 3)}
        self._memory = {
            name: SPAWN.RawArray("q" if name == "origins" else "f", int(np.prod(shape)))
            for name, shape in self._shapes.items()
        }

    def views(self) -> dict[str, np.ndarray]:
        """The arrays by name: f32, and i64 of `origins`."""
        return {
            name: np.frombuffer(memory, np.int64 if name == "origins" else np.float32).reshape(self._shapes[name])
            for name, memory in self._memory.items()
        }


class ProcessWorker:
    """The learner's end of a worker process."""

    def __init__(
        self, make_executor: Callable[[int, int], Executor], part: range, incarnation: int, spec: EnvSpec
    ) -> None:
        """Start the process, without waiting for it. `make_executor(index, incarnation)` must be picklable."""
        mailbox = Mailbox(len(part), spec)
        self._views = mailbox.views()
        self._connection, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(
            target=serve, args=(theirs, make_executor, part, incarnation, mailbox), daemon=True, name=f"lsp-{part[0]}"
        )
        with _signals_for_the_learner_alone():
            self.process.start()
        theirs.close()
        # Before the interpreter's own end of daemons, which would wait for a worker that is deaf to SIGTERM.
        self._finalizer = util.Finalize(self, _end, (self._connection, self.process), exitpriority=10)

    def send(self, request: str, argument: Any = None) -> None:
        """Ask for something."""
        if request == "step":
            np.concatenate(argument, axis=1, out=self._views["actions"])
            argument = None
        with contextlib.suppress(OSError):
            self._connection.send((request, argument))

    def receive(self) -> Any:
        """The answer; its arrays are the taker's own."""
        try:
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            self.process.join(PATIENCE)
            raise WorkerDied(f"died (exit code {self.process.exitcode})") from error
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, Chunk):
            return answer
        if not answer.complete:
            return answer
        arrays = [self._views[name].copy() for name in ("rows", "returns", "observations", "origins")]
        return Chunk(arrays[0], arrays[1], arrays[2], True, answer.episodes, arrays[3])

    def close(self) -> None:
        """End the process, by force if it does not hear."""
        self._finalizer()


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


def serve(
    connection: Connection,
    make_executor: Callable[[int, int], Executor],
    part: range,
    incarnation: int,
    mailbox: Mailbox,
) -> None:
    """Be a worker until the pipe closes: one answer to every request, an exception where it raised a known one."""
    end_with_parent()
    executors: InProcess | None = None
    views = mailbox.views()
    with contextlib.suppress(EOFError, OSError):
        while True:
            request, argument = connection.recv()
            try:
                if executors is None:
                    executors = InProcess(lambda i: make_executor(i, incarnation), len(part), part.start, incarnation)
                answer = _answer(executors, views, request, argument)
            except (EnvironmentFault, ConfigError) as error:
                answer = error
            connection.send(answer)
    if executors is not None:
        executors.close()


def _answer(executors: InProcess, views: dict[str, np.ndarray], request: str, argument: Any) -> Any:
    if request != "step":
        return getattr(executors, request)(*([] if argument is None else [argument]))
    chunk = executors.step(ActionSample(*np.split(views["actions"], 2, axis=1)))
    if not chunk.complete:
        return chunk
    for name in ("returns", "observations", "rows", "origins"):
        views[name][:] = getattr(chunk, name)
    nothing = np.zeros(0)
    return Chunk(nothing, nothing, nothing, True, chunk.episodes, nothing)


def end_with_parent() -> None:
    """End this process as soon as its parent has, also in the middle of an environment's step."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def make_process(make_executor: Callable[[int, int], Executor], spec: EnvSpec, count: int, workers: int) -> Groups:
    """`count` executors in `workers` processes."""

    def launch(part: range, incarnation: int) -> ProcessWorker:
        return ProcessWorker(make_executor, part, incarnation, spec)

    return Groups(launch, spec, count, workers)
