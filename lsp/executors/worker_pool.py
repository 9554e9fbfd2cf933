"""Executors in groups, each group in a worker that may die: what the engines of more than one process share.

A worker that dies, or does not answer for too long, is started again, and its executors begin new episodes. The step
that it was in, and the transitions that waited in it for their n-step returns, are lost with it before they were data.
What it had handed over was data once, and the transitions of its successor have another incarnation in their `origins`,
so that nothing counts twice.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from lsp.config import ConfigError, ExecutorsConfig
from lsp.envs import EnvironmentFault
from lsp.executors.inproc import new_episodes
from lsp.types import ActionSample, Chunk, EnvSpec, Executors

MAX_DEATHS = 3
"""Deaths in a row after which a worker is not started again."""
LISTEN = 1.0
"""Seconds that a worker owes an answer are counted in steps of so many at most: were the learner suspended or busy for
longer, the worker might have had no chance to give it."""


class WorkerDied(RuntimeError):
    """A worker ended without an answer. The message says how."""


class WorkerHung(WorkerDied):
    """A worker does not answer."""

    def __init__(self, timeout: float) -> None:
        """After `timeout` seconds."""
        super().__init__(f"did not answer within --executors.timeout={timeout:g} seconds")


class Worker(Protocol):
    """A group of executors somewhere else. Requests are the methods of `Executors`, by name."""

    def send(self, request: str, argument: Any = None) -> None:
        """Ask for something; never raises, because a dead worker is found out by `receive`."""

    def ready(self, seconds: float) -> bool:
        """Whether `receive` has something to say within so many seconds, if only that the worker died."""

    def receive(self) -> Any:
        """The answer. Raises WorkerDied, or what the method raised: EnvironmentFault, ConfigError."""

    def close(self) -> None:
        """End the worker, also one that does not answer."""


def split(count: int, groups: int) -> list[range]:
    """Numbers 0 to `count`-1 as consecutive ranges, whose lengths differ by at most one."""
    bounds = [count * i // groups for i in range(groups + 1)]
    return [range(*pair) for pair in pairwise(bounds)]


class Service:
    """The worker's end: answers requests with the methods of what `make` makes at the first of them."""

    def __init__(self, make: Callable[[], Any]) -> None:
        """Make nothing yet: what goes wrong in making is the answer to a request."""
        self._make, self._made = make, None

    def answer(self, request: str, argument: Any = None) -> Any:
        """What the method of that name returns, or the exception that it raised, if that is one to tell the learner."""
        try:
            if self._made is None:
                self._made = self._make()
            return getattr(self._made, request)(*([] if argument is None else [argument]))
        except (EnvironmentFault, ConfigError) as error:
            return error

    def close(self) -> None:
        """Close every environment."""
        if self._made is not None:
            self._made.close()


class WorkerPool(Executors):
    """Steps groups of executors at the same time."""

    def __init__(
        self,
        launch: Callable[[range, int], Worker],
        spec: EnvSpec,
        config: ExecutorsConfig,
        workers: int,
        finish: Callable[[], None] | None = None,
    ) -> None:
        """Start all workers.

        Args:
          launch: starts the worker of some executors in an incarnation, and does not wait for it.
          spec: sizes of the environment.
          config: how many executors there are, and after how many silent seconds a worker counts as dead.
          workers: that share the executors.
          finish: called when all have been closed.
        """
        self.spec = spec
        self._finish = finish
        self._launch = launch
        self._parts = split(config.count, workers)
        self._workers: list[Worker] = []
        self._incarnations = [0] * workers
        self._timeout = config.timeout
        self._silence = [0.0] * workers  # seconds that each has owed an answer
        self._deaths = self._restarts = 0
        self._reward: str | None = None  # where it is no longer that of `launch`
        for part in self._parts:
            self._workers.append(launch(part, 0))

    def reset(self) -> np.ndarray:
        """Start every environment, f32[E, S]."""
        return np.concatenate(self._ask("reset", [None] * len(self._parts)))

    def step(self, actions: ActionSample) -> Chunk:
        """Step every environment once; those of a new worker repeat the action until theirs are complete too."""
        shares = [ActionSample(*(each[part.start : part.stop] for each in actions)) for part in self._parts]
        chunks: list[Chunk] = self._ask("step", shares)
        episodes = [episode for chunk in chunks for episode in chunk.episodes]
        while any(chunk.complete for chunk in chunks) and not all(chunk.complete for chunk in chunks):
            late = [i for i, chunk in enumerate(chunks) if not chunk.complete]
            for i in late:
                self._workers[i].send("step", shares[i])
            for i in late:
                chunks[i] = self._answer(i, "step", shares[i])
                episodes += chunks[i].episodes
        return Chunk(
            packed=np.concatenate([chunk.packed for chunk in chunks]),
            returns=np.concatenate([chunk.returns for chunk in chunks]),
            observations=np.concatenate([chunk.observations for chunk in chunks]),
            complete=chunks[0].complete,
            episodes=episodes,
            origins=np.concatenate([chunk.origins for chunk in chunks]),
        )

    def set_reward(self, reward: str) -> None:
        """Reward steps in this way from now on, also in workers that are started again."""
        self._reward = reward
        self._ask("set_reward", [reward] * len(self._parts))

    def stats(self) -> dict[str, int]:
        """Deaths of executors since the start of this process, and how many of them came back."""
        return {"executor_deaths": self._deaths, "executor_restarts": self._restarts}

    def count_on(self, stats: Mapping[str, int]) -> None:
        """Continue counting from `stats` of workers that these replace."""
        self._deaths, self._restarts = stats["executor_deaths"], stats["executor_restarts"]

    def get_state(self) -> dict[str, Any]:
        """The state of every executor; the same whatever the engine and the number of workers."""
        states = self._ask("get_state", [None] * len(self._parts))
        executors = [executor for state in states for executor in state["executors"]]
        arrays = {name: np.concatenate([state[name] for state in states]) for name in states[0] if name != "executors"}
        return {"executors": executors} | arrays

    def new_episodes(self, step: int) -> dict[str, Any]:
        """A state of new episodes."""
        incarnations = np.repeat(self._incarnations, list(map(len, self._parts))) + 1
        return new_episodes(self.spec, incarnations, step)

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `get_state`'s result, of whatever engine."""
        if len(state["executors"]) != self._parts[-1].stop:
            raise ValueError(f"a state of {len(state['executors'])} executors for {self._parts[-1].stop}")
        shares = [{name: values[part.start : part.stop] for name, values in state.items()} for part in self._parts]
        self._incarnations = [int(np.max(share["origins"][:, 1])) for share in shares]
        self._ask("set_state", shares)

    def close(self) -> None:
        """End every worker."""
        for worker in self._workers:
            worker.close()
        if self._finish is not None:
            self._finish()

    def _ask(self, request: str, arguments: Sequence[Any]) -> list[Any]:
        for worker, argument in zip(self._workers, arguments, strict=True):
            worker.send(request, argument)
        return [self._answer(i, request, argument) for i, argument in enumerate(arguments)]

    def _answer(self, i: int, request: str, argument: Any) -> Any:
        try:
            return self._receive(i)
        except WorkerDied as error:
            return self._revive(i, request, argument, error)

    def _receive(self, i: int) -> Any:
        pause = min(LISTEN, self._timeout)
        while not self._workers[i].ready(pause):
            self._silence[i] += pause
            if self._silence[i] >= self._timeout:
                raise WorkerHung(self._timeout)
        self._silence[i] = 0.0
        return self._workers[i].receive()

    def _revive(self, i: int, request: str, argument: Any, reason: WorkerDied) -> Any:
        for attempt in range(1, MAX_DEATHS):
            self._replace(i, reason)
            try:
                if self._reward is not None:
                    self._workers[i].send("set_reward", self._reward)
                    self._receive(i)
                if request not in ("reset", "set_state"):
                    self._workers[i].send("reset")
                    self._receive(i)
                self._workers[i].send(request, self._prepare(i, request, argument))
                answer = self._receive(i)
            except WorkerDied as error:
                reason = error
            else:
                self._restarts += attempt * len(self._parts[i])
                return answer
        raise EnvironmentFault(f"the worker of executors {self._names(i)} {reason}, {MAX_DEATHS} times in a row")

    def _prepare(self, i: int, request: str, argument: Any) -> Any:
        """What a new worker is asked in place of its predecessor."""
        del i, request
        return argument

    def _replace(self, i: int, reason: WorkerDied) -> None:
        print(f"the worker of executors {self._names(i)} {reason}: they begin new episodes", file=sys.stderr)
        self._deaths += len(self._parts[i])
        self._incarnations[i] += 1
        self._workers[i].close()
        self._workers[i] = self._launch(self._parts[i], self._incarnations[i])
        self._silence[i] = 0.0

    def _names(self, i: int) -> str:
        first, last = self._parts[i][0], self._parts[i][-1]
        return f"{first}" if first == last else f"{first} to {last}"
