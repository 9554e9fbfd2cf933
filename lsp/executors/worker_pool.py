"""Executors in groups, each group in a worker that may die: what the engines of more than one process share.

A worker that dies, or does not answer for too long, is started again, and its executors begin new episodes. The step
that it was in, and the transitions that waited in it for their n-step returns, are lost with it before they were data.
What it had handed over was data once, and the transitions of its successor have another incarnation in their `origins`,
so that nothing counts twice.

An exception is no death: it would be raised again by a successor. It is told to the learner, in one line, and ends the
run. So does a worker that dies again and again before it has given a transition.
"""

import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from itertools import count, pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lsp.config import ConfigError, ExecutorsConfig
from lsp.envs import EnvironmentFault
from lsp.executors.inproc import new_episodes
from lsp.types import ActionSample, Choose, Chunk, EnvSpec, Episode, Executors, Rollout

MAX_REVIVALS = 3
"""How often in a row a worker is started again without a transition of its own in between."""
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


class WorkerFault(EnvironmentFault):
    """A worker raised something that nobody foresaw. The message says what, after a subject such as "the worker"."""


class Worker(Protocol):
    """A group of executors somewhere else. Requests are the methods of `Executors`, by name."""

    def send(self, request: str, argument: Any = None) -> None:
        """Ask for something; never raises, because a dead worker is found out by `receive`."""

    def ready(self, seconds: float) -> bool:
        """Whether `receive` has something to say within so many seconds, if only that the worker died."""

    def receive(self) -> Any:
        """The answer. Raises WorkerDied, or what `Service` made of what the method raised."""

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
        """What the method of that name returns, or what it raised as an EnvironmentFault or a ConfigError.

        Whatever it raised, the end of the process asked for with `sys.exit` included.
        """
        try:
            if self._made is None:
                self._made = self._make()
            return getattr(self._made, request)(*([] if argument is None else [argument]))
        except BaseException as error:
            return as_fault(error, f"when asked to {request}")

    def close(self) -> None:
        """Close every environment."""
        if self._made is not None:
            self._made.close()


def as_fault(error: BaseException, doing: str) -> EnvironmentFault | ConfigError:
    """An error as one that any process can read, and of one line; LSP_DEBUG=1 shows its traceback here."""
    if os.environ.get("LSP_DEBUG"):
        traceback.print_exception(error)
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = "it cannot be said what"
    for kind in (EnvironmentFault, ConfigError):
        if isinstance(error, kind) and not isinstance(error, WorkerFault):
            return kind(text)
    where = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-1:]]
    return WorkerFault(f"raised {type(error).__name__}: {text}" + "".join(f" ({each})" for each in where) + f" {doing}")


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
        self._fruitless = [0] * workers  # revivals of each since it has given a transition
        self._reward: str | None = None  # where it is no longer that of `launch`
        self._choose: Choose | None = None
        self._held = 0  # steps since the start of n-step returns in which they gave nothing yet
        self._unseen: dict[int, np.ndarray] = {}  # observations of groups that began new episodes since the last step
        self._episodes: list[Episode] = []  # that ended while new workers caught up
        for part in self._parts:
            self._workers.append(launch(part, 0))

    def set_chooser(self, choose: Choose) -> None:
        """Ask for the actions of new episodes: those of a worker that was started again.

        Without that they repeat actions that were chosen for other observations. Their transitions are then wrong
        above frozen layers, where the action that a latent stands for depends on the observation.
        """
        self._choose = choose

    def reset(self) -> np.ndarray:
        """Start every environment, f32[E, S]."""
        self._held = 0
        self._unseen.clear()
        return np.concatenate(self._ask("reset", [None] * len(self._parts)))

    def step(self, actions: ActionSample) -> Chunk:
        """Step every environment once."""
        shares = [_share(actions, part) for part in self._parts]
        for i, observations in self._unseen.items():
            shares[i] = self._chosen(i, observations, shares[i])
        self._unseen.clear()
        chunks: list[Chunk] = self._ask("step", shares)
        before, self._episodes = self._episodes, []
        self._held += not chunks[0].complete
        return Chunk(
            packed=np.concatenate([chunk.packed for chunk in chunks]),
            returns=np.concatenate([chunk.returns for chunk in chunks]),
            observations=np.concatenate([chunk.observations for chunk in chunks]),
            complete=chunks[0].complete,
            episodes=before + [episode for chunk in chunks for episode in chunk.episodes],
            origins=np.concatenate([chunk.origins for chunk in chunks]),
        )

    def set_reward(self, reward: str) -> None:
        """Reward steps in this way from now on, also in workers that are started again."""
        self._reward, self._held = reward, 0
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
        self._held = sum(map(len, state["executors"][0]["returns"].values()))
        self._unseen.clear()
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
        answers, faults = [], []
        for i, argument in enumerate(arguments):
            try:
                answers.append(self._answer(i, request, argument))
            except (EnvironmentFault, ConfigError) as fault:  # the answers of the others are not for the next request
                faults.append(fault)
        if faults:
            raise faults[0]
        return answers

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
        try:
            answer = self._workers[i].receive()
        except WorkerFault as fault:
            raise EnvironmentFault(f"the worker of executors {self._names(i)} {fault}") from fault
        if isinstance(answer, Chunk | Rollout) and answer.packed.size:
            self._fruitless[i] = 0
        return answer

    def _revive(self, i: int, request: str, argument: Any, reason: WorkerDied) -> Any:
        for attempt in count(1):
            self._replace(i, reason)
            try:
                answer = self._begin_again(i, request, argument)
            except WorkerDied as error:
                reason = error
            except ConfigError as error:  # it could be made before
                raise EnvironmentFault(str(error)) from error
            else:
                self._restarts += attempt * len(self._parts[i])
                return answer
        raise AssertionError

    def _begin_again(self, i: int, request: str, argument: Any) -> Any:
        """The answer of a new worker to what its predecessor was asked."""
        if self._reward is not None:
            self._ask_one(i, "set_reward", self._reward)
        if request not in ("reset", "set_state"):
            at_hand = argument if request == "step" else _share(self._no_actions(), self._parts[i])
            observations = self._catch_up(i, self._ask_one(i, "reset"), at_hand)
            if request == "step":
                argument = self._chosen(i, observations, argument)
            else:
                self._unseen[i] = observations
        return self._ask_one(i, request, self._prepare(i, request, argument))

    def _catch_up(self, i: int, observations: np.ndarray, at_hand: ActionSample) -> np.ndarray:
        """Step a new group until its n-step returns hold back as many transitions as those of the other groups."""
        for _ in range(self._held):
            chunk: Chunk = self._ask_one(i, "step", self._chosen(i, observations, at_hand))
            observations = chunk.observations
            self._episodes += chunk.episodes
        return observations

    def _chosen(self, i: int, observations: np.ndarray, at_hand: ActionSample) -> ActionSample:
        """Actions of a group for observations that the caller has not seen; without a chooser those `at_hand`."""
        if self._choose is None:
            return at_hand
        part, every = self._parts[i], np.zeros((self._parts[-1].stop, self.spec.observation_dim), np.float32)
        every[part.start : part.stop] = observations
        return _share(self._choose(every), part)

    def _no_actions(self) -> ActionSample:
        zeros = np.zeros((self._parts[-1].stop, self.spec.action_dim), np.float32)
        return ActionSample(zeros, zeros)

    def _ask_one(self, i: int, request: str, argument: Any = None) -> Any:
        self._workers[i].send(request, argument)
        return self._receive(i)

    def _prepare(self, i: int, request: str, argument: Any) -> Any:
        """What a new worker is asked in place of its predecessor."""
        del i, request
        return argument

    def _replace(self, i: int, reason: WorkerDied) -> None:
        if self._fruitless[i] == MAX_REVIVALS:
            raise EnvironmentFault(
                f"the worker of executors {self._names(i)} {reason}, {MAX_REVIVALS} times in a row after it was "
                "started again and before it gave a transition: look for the cause with --executors.engine=inproc"
            ) from reason
        self._fruitless[i] += 1
        print(f"the worker of executors {self._names(i)} {reason}: they begin new episodes", file=sys.stderr)
        self._deaths += len(self._parts[i])
        self._incarnations[i] += 1
        self._workers[i].close()
        self._workers[i] = self._launch(self._parts[i], self._incarnations[i])
        self._silence[i] = 0.0

    def _names(self, i: int) -> str:
        first, last = self._parts[i][0], self._parts[i][-1]
        return f"{first}" if first == last else f"{first} to {last}"


def _share(actions: ActionSample, part: range) -> ActionSample:
    """The actions of one group."""
    return ActionSample(*(each[part.start : part.stop] for each in actions))
