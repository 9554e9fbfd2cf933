"""Executors as actors of a Ray cluster, a group in each: the engine of more than one machine.

Ray brings an actor up wherever there is a free CPU. One that is lost, with its process, its machine or its connection,
is replaced by a new one, as in the other engines; Ray is asked to repeat nothing, so that no transition comes twice.
Importing this module imports Ray.
"""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayActorError, RayTaskError

from lsp.config import ConfigError, ExecutorsConfig
from lsp.executors.async_workers import PolicyMaker, make_pool, make_server_maker
from lsp.executors.executor import Executor
from lsp.executors.worker_pool import Service, WorkerDied, WorkerFault, WorkerPool
from lsp.types import EnvSpec, RolloutRequest

ROOT = Path(__file__).parents[2]


class RayWorker:
    """The learner's end of an actor."""

    def __init__(self, make: Callable[[], Any], share: Callable[[RolloutRequest], Any]) -> None:
        """Start the actor, without waiting for it; `share` puts a request's parameters where all actors find them."""
        self._share = share
        self._actor = _Serving.options(num_cpus=1, max_restarts=0, max_task_retries=0).remote(make)
        self.answers: deque[Any] = deque()

    def send(self, request: str, argument: Any = None) -> None:
        """Ask for something."""
        if isinstance(argument, RolloutRequest) and argument.leaves is not None:
            argument = argument._replace(leaves=self._share(argument))
        self.answers.append(self._actor.answer.remote(request, argument))

    def ready(self, seconds: float) -> bool:
        """Whether there is an answer on this machine within so many seconds, or can be none any more."""
        return bool(ray.wait([self.answers[0]], timeout=seconds)[0])

    def receive(self) -> Any:
        """The answer."""
        try:
            answer = ray.get(self.answers.popleft())
        except (RayActorError, ObjectLostError) as error:  # a lost machine takes answers with it that it had ready
            raise WorkerDied("was lost") from error
        except RayTaskError as error:  # what a method raises is an answer; this is one that cannot be handed over
            cause = f"{type(error.cause).__name__}: {error.cause}"
            raise WorkerFault(f"gave an answer that cannot be read: {' '.join(cause.split())}") from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def process_id(self) -> int:
        """Of the actor, on its machine."""
        return ray.get(self._actor.process_id.remote())

    def close(self) -> None:
        """End the actor."""
        with contextlib.suppress(RayActorError):
            ray.kill(self._actor)


class _SharingService(Service):
    """Fetches the parameters that a request refers to."""

    def answer(self, request: str, argument: Any = None) -> Any:
        if isinstance(argument, RolloutRequest) and isinstance(argument.leaves, ray.ObjectRef):
            argument = argument._replace(leaves=ray.get(argument.leaves))
        return super().answer(request, argument)

    def process_id(self) -> int:
        return os.getpid()


_Serving = ray.remote(_SharingService)


def make_ray(
    config: ExecutorsConfig,
    make_executor: Callable[[int, int], Executor],
    make_policy: PolicyMaker | None,
    spec: EnvSpec,
) -> WorkerPool:
    """The executors of a configuration on the cluster at its address, or on one that lives as long as they do.

    Raises ConfigError: no such cluster, or not enough CPUs in it.
    """
    started = not ray.is_initialized()
    if started:
        _connect(config)
    cpus = int(ray.cluster_resources().get("CPU", 0))
    workers = config.workers or min(config.count, cpus)
    if not 0 < workers <= cpus:
        raise ConfigError(f"--executors.workers={workers}: the cluster has {cpus} CPUs, and a worker takes one")
    make, share = make_server_maker(config, make_executor, make_policy), _Sharing()

    def launch(part: range, incarnation: int) -> RayWorker:
        return RayWorker(partial(make, part, incarnation), share)

    return make_pool(config, launch, wait, spec, workers, ray.shutdown if started else None)


def _connect(config: ExecutorsConfig) -> None:
    if config.address:
        join(config.address, "--executors.address")
    else:
        join("local", "", num_cpus=config.workers or config.count)


def join(address: str, flag: str, **options: Any) -> None:
    """Connect to the cluster at `address`, or start one, "local", on this machine. Raises ConfigError naming `flag`."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    if address == "local":  # without an address Ray would join whatever cluster it finds noted down on this machine
        options["include_dashboard"] = False
    try:
        ray.init(address, runtime_env={"env_vars": {"PYTHONPATH": path}}, logging_level="ERROR", **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"{flag}={address}: no Ray cluster there ({error})") from error


class _Sharing:
    """Puts each version of the parameters into Ray's store once, however many actors are sent it."""

    def __init__(self) -> None:
        self._version, self._reference = -1, None

    def __call__(self, request: RolloutRequest) -> Any:
        if request.version != self._version:
            self._version, self._reference = request.version, ray.put(request.leaves)
        return self._reference


def wait(workers: Sequence[Any], timeout: float) -> list[int]:
    """Which workers have an answer, or died."""
    first = [worker.answers[0] for worker in workers]
    if not first or not ray.wait(first, timeout=timeout, fetch_local=False)[0]:
        return []
    ready, _ = ray.wait(first, num_returns=len(first), timeout=0, fetch_local=False)
    return [i for i, reference in enumerate(first) if reference in ready]
