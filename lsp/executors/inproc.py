"""Executors in the learner's own process: the default, the reference for other engines, and what their workers run."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lsp.executors.executor import Executor, new_episode
from lsp.types import ActionSample, Choose, Chunk, EnvSpec, Executors


class InProcess(Executors):
    """Steps `count` executors one after the other."""

    def __init__(
        self, make_executor: Callable[[int], Executor], count: int, first: int = 0, incarnation: int = 0
    ) -> None:
        """Make executors `first` to `first + count - 1`; `incarnation` counts what had their numbers before them."""
        numbers = np.arange(first, first + count)
        self._executors: list[Executor] = []
        try:
            for number in numbers:
                self._executors.append(make_executor(int(number)))
        except BaseException:
            self.close()
            raise
        self.spec = self._executors[0].spec
        self._origins = np.stack([numbers, np.full(count, incarnation), np.zeros(count, int)], axis=1)  # of the next

    def set_chooser(self, choose: Choose) -> None:
        """Nothing: every episode here begins in a step, or where the caller says so."""

    def reset(self) -> np.ndarray:
        """Start every environment, f32[E, S]."""
        return np.stack([executor.reset() for executor in self._executors])

    def step(self, actions: ActionSample) -> Chunk:
        """Step every environment once."""
        pairs = zip(actions.env_action, actions.layer_action, strict=True)
        steps = [executor.step(*pair) for executor, pair in zip(self._executors, pairs, strict=True)]
        packed = [step.packed for step in steps if step.packed is not None]
        origins = self._origins[: len(packed)].copy()
        self._origins[: len(packed), 2] += 1
        return Chunk(
            packed=np.array(packed, np.float32),
            returns=np.array([step.discounted_return for step in steps], np.float32),
            observations=np.stack([executor.observation for executor in self._executors]),
            complete=bool(packed),
            episodes=[step.episode for step in steps if step.episode is not None],
            origins=origins,
        )

    def set_reward(self, reward: str) -> None:
        """Reward steps in this way from now on."""
        for executor in self._executors:
            executor.set_reward(reward)

    def stats(self) -> dict[str, int]:
        """Nothing: executors here live and die with the learner."""
        return {}

    def get_state(self) -> dict[str, Any]:
        """The state of every executor."""
        return {"executors": [executor.get_state() for executor in self._executors], "origins": self._origins.copy()}

    def new_episodes(self, step: int) -> dict[str, Any]:
        """A state of new episodes."""
        return new_episodes(self.spec, self._origins[:, 1] + 1, step)

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `get_state`'s result, of whatever engine."""
        for executor, saved in zip(self._executors, state["executors"], strict=True):
            executor.set_state(saved)
        self._origins = np.array(state["origins"])
        if len({executor.held for executor in self._executors}) > 1:  # a worker died when asked for its part
            for executor in self._executors:
                executor.drop_held()

    def close(self) -> None:
        """Close every environment."""
        for executor in self._executors:
            executor.env.close()


def new_episodes(spec: EnvSpec, incarnations: np.ndarray, step: int) -> dict[str, Any]:
    """A state in which executors [E], in these incarnations, begin episodes that nobody has seen, at this step."""
    count = len(incarnations)
    executors = [new_episode(spec, int(number) << 32 | step // count) for number in incarnations]
    origins = np.stack([np.arange(count), incarnations, np.zeros(count, int)], axis=1)
    return {"executors": executors, "origins": origins}


def make_group(make_executor: Callable[[int, int], Executor], part: range, incarnation: int) -> InProcess:
    """The executors `part`, each made from its number and their incarnation. Raises ConfigError."""
    return InProcess(lambda i: make_executor(i, incarnation), len(part), part.start, incarnation)
