"""Executors in worker processes on this machine, a group in each, over shared memory.

Actions and transitions lie in memory without a name, which the system frees with the last process that maps it; a pipe
carries the requests and, of the answers, what is small, so that a worker never waits in sending one while the learner
waits in sending parameters. A worker ends when its pipe closes or its parent dies, and what its environments have
started ends with it (`lsp.executors.janitor`), so that nothing is left behind however the learner ends.
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
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from multiprocessing import resource_tracker, util
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_connections
from typing import Any, NamedTuple

import numpy as np

from lsp.config import ExecutorsConfig
from lsp.executors.async_workers import PolicyMaker, make_pool, make_server_maker
from lsp.executors.executor import Executor
from lsp.executors.janitor import Janitor
from lsp.executors.worker_pool import Service, WorkerDied, WorkerFault, WorkerHung, WorkerPool, as_fault
from lsp.packing import Layout
from lsp.types import ActionSample, Chunk, EnvSpec, Rollout

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


class RolloutHeader(NamedTuple):
    """What goes through the pipe of a rollout, or of a step of one: all but its arrays, and where those are."""

    rollout: Rollout | Chunk  # without the arrays that the mailbox has
    slot: int


def _post(answer: Rollout | Chunk, views: Mapping[str, np.ndarray], slot: int) -> RolloutHeader:
    """Put the arrays of an answer into a slot of the mailbox."""
    names = [name for name in answer._fields if name in views]
    for name in names:
        views[name][slot] = getattr(answer, name)
    elsewhere: dict[str, Any] = dict.fromkeys(names)
    return RolloutHeader(answer._replace(**elsewhere), slot)


def _collect(header: RolloutHeader, views: Mapping[str, np.ndarray]) -> Rollout | Chunk:
    """The answer whose arrays are in the mailbox; they are the taker's own."""
    names = [name for name in header.rollout._fields if name in views]
    return header.rollout._replace(**{name: views[name][header.slot].copy() for name in names})


class ProcessWorker:
    """The learner's end of a worker process."""

    def __init__(self, make: Callable[[], Any], mailbox: Mailbox, name: str, timeout: float, janitor: Janitor) -> None:
        """Start the process, without waiting for it. It serves what `make`, picklable, makes there.

        A worker that does not read for `timeout` seconds what it is sent counts as dead. `janitor` cleans up after it.
        """
        self.views, self._janitor, self._answered = mailbox.views(), janitor, False
        self.connection, theirs = SPAWN.Pipe()
        self._timeout, self._hung = timeout, False
        _limit_sends(self.connection, timeout)
        self._arrivals = select.poll()
        self._arrivals.register(self.connection.fileno(), select.POLLIN)
        # No daemon: those may not start processes, as environments do.
        self.process = SPAWN.Process(target=serve, args=(theirs, make, mailbox), daemon=False, name=name)
        with _signals_for_the_learner_alone():
            self.process.start()
        assert self.process.pid is not None
        janitor.watch(self.process.pid)
        theirs.close()
        # Before the interpreter's own end, which would wait for a worker for ever.
        self._finalizer = util.Finalize(self, _end, (self.connection, self.process, janitor), exitpriority=10)

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
            raise WorkerDied(self._death()) from error
        except Exception as error:
            raise WorkerFault(f"gave an answer that cannot be read: {type(error).__name__}: {error}") from error
        self._answered = True
        if isinstance(answer, Exception):
            raise answer
        return _collect(answer, self.views) if isinstance(answer, RolloutHeader) else answer

    def _death(self) -> str:
        _bury(self.process, self._janitor)
        text = f"died (exit code {self.process.exitcode})"
        if self.process.exitcode in (1, 2) and not self._answered:
            text += ' before it began; a script that trains has to do so below `if __name__ == "__main__":`'
        return text

    def close(self) -> None:
        """End the process, by force if it does not hear."""
        self._finalizer()


def _limit_sends(connection: Connection, seconds: float) -> None:
    """Let a send raise BlockingIOError when nobody reads for so many seconds."""
    seconds /= 2  # for each of two writes: the first may have got rid of a part
    limit = struct.pack("ll", int(seconds), int(1e6 * (seconds % 1)))
    with socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def _end(connection: Connection, process: Any, janitor: Janitor) -> None:
    connection.close()
    _bury(process, janitor)


def _bury(process: Any, janitor: Janitor) -> None:
    """Wait a moment for the end of a process, which may be over, or enforce it, and end whatever it has started."""
    end = time.monotonic() + PATIENCE
    while not _is_over(process) and time.monotonic() < end:
        time.sleep(0.005)
    janitor.end(process.pid)  # before it is joined: until then nobody else can have its number
    process.kill()  # if it was too young to lead a group
    process.join()


def _is_over(process: Any) -> bool:
    """Whether a process has ended; it is not joined. Its sentinel does not tell while what it has started lives."""
    if not hasattr(os, "waitid"):
        return bool(wait_for_connections([process.sentinel], 0.0))
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # it has been joined
        return True


DEAF_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that ask a learner to stop, and that its workers survive: it needs them for a checkpoint."""


@contextlib.contextmanager
def _signals_for_the_learner_alone() -> Iterator[None]:
    """What is started here blocks the signals of `DEAF_TO`, until it handles them."""
    resource_tracker.ensure_running()  # else the first start would do it, which unblocks signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, DEAF_TO)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stand_apart(connection: Connection) -> None:
    """Be deaf to the signals of `DEAF_TO`, in a process group of our own, with a `connection` of our own.

    What environments start hears those signals: blocked or ignored here they would be so there, and an environment that
    terminates its simulator would wait for ever. And it does not keep the connection open when this process is dead.
    """
    os.setpgid(0, 0)  # a terminal signals the learner's; and all of this one can be ended at once
    for number in DEAF_TO:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, DEAF_TO)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # a terminal may stop those of another group that print

    for descriptor in map(int, os.listdir("/dev/fd")):
        with contextlib.suppress(OSError):  # that of the listing itself
            os.set_inheritable(descriptor, descriptor <= 2)

    def be_another() -> None:
        connection.close()
        for number in DEAF_TO:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    os.register_at_fork(after_in_child=be_another)  # a program that is executed begins like this anyway


def serve(connection: Connection, make: Callable[[], Any], mailbox: Mailbox) -> None:
    """Be a worker until the pipe closes: one answer to every request."""
    stand_apart(connection)
    end_with_parent()
    service, views, posted = Service(make), mailbox.views(), 0
    with contextlib.suppress(EOFError, OSError):
        while True:
            request, argument = connection.recv()
            if request == "step":
                argument = ActionSample(*np.split(views["actions"], 2, axis=1))
            answer = service.answer(request, argument)
            if isinstance(answer, Rollout | Chunk) and answer.packed.size:
                answer = _post(answer, views, posted % len(views["packed"]))
                posted += 1
            _send(connection, answer, f"in handing over its answer to {request}")
    service.close()


def _send(connection: Connection, answer: Any, doing: str) -> None:
    try:
        connection.send(answer)
    except OSError:
        raise
    except Exception as error:  # it cannot be pickled, which comes before anything is written
        connection.send(as_fault(error, doing))


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
    config: ExecutorsConfig,
    make_executor: Callable[[int, int], Executor],
    make_policy: PolicyMaker | None,
    spec: EnvSpec,
) -> WorkerPool:
    """The executors of a configuration in processes, of which there is one a core where it does not say."""
    make, janitor = make_server_maker(config, make_executor, make_policy), Janitor()

    def launch(part: range, incarnation: int) -> ProcessWorker:
        mailbox, name = Mailbox(_shapes(config, spec, len(part))), f"lsp-{part.start}"
        return ProcessWorker(partial(make, part, incarnation), mailbox, name, config.timeout, janitor)

    return make_pool(config, launch, wait, spec, config.workers or min(config.count, cores()), janitor.close)


def _shapes(config: ExecutorsConfig, spec: EnvSpec, n: int) -> dict[str, tuple[int, ...]]:
    """Of a mailbox's arrays for `n` executors: their first axis is that of slots, one for each request in flight."""
    if config.mode == "async":
        first: tuple[int, ...] = (config.in_flight, n * config.chunk)
        others: dict[str, tuple[int, ...]] = {"priorities": first}
    else:
        first = (1, n)
        others = {"actions": (n, 2 * spec.action_dim), "observations": (*first, spec.observation_dim)}
    return {"packed": (*first, Layout.of(spec).width), "returns": first, "origins": (*first, 3)} | others


def cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def wait(workers: Sequence[Any], timeout: float) -> list[int]:
    """Which workers have an answer, or died."""
    ready = wait_for_connections([worker.connection for worker in workers], timeout)
    return [i for i, worker in enumerate(workers) if worker.connection in ready]
