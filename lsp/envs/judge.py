"""Goals evaluated by an environment's own functions, on the host: `compute_reward` and `compute_terminated`.

Whoever wrote them need not have thought of batches. What they cannot do is found out before anything learns.
"""

import contextlib
import sys
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from lsp.config import ConfigError
from lsp.envs.checks import told
from lsp.envs.wrappers import unwrap

GOALS = ("achieved_goal", "desired_goal")
ASIDE = "choose another, make it do so, or do without hindsight (--goals.kind=none)"
ALPHAS = np.linspace(0.0, 1.0, 257)
"""How far, on the way from an achieved goal to the desired one, those lie whose rewards are watched."""


class Judge:
    """An environment as the judge of goals. It must not be closed while there is anything to evaluate.

    Goals are given flat, with any leading axes. The environment gets copies, in its own shapes and types.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], name: str, *, one_by_one: bool = False) -> None:
        """Judge by the functions of `env`, or of what it wraps; `name` is for messages.

        `one_by_one`: call `compute_reward` with one goal after the other, and not with a batch.
        """
        self._env, self._name, self.one_by_one = env, name, one_by_one
        space: Any = env.observation_space
        self._spaces = [space[key] for key in GOALS]  # of achieved and desired goals
        self._reward, self._terminated = (method(env, f"compute_{what}") for what in ("reward", "terminated"))
        self._takes_one = one_by_one  # whether compute_reward takes a single goal
        self._takes_dict = False  # whether it wants one info for a batch, and not one for each goal
        self._watched: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self._said = False

    @property
    def ends_goals(self) -> bool:
        """Whether the environment says which goals end an episode."""
        return self._terminated is not None

    def reward(self, achieved: Any, goal: Any, env_reward: Any) -> np.ndarray:
        """Rewards f32[...] of goals [..., G]; NaN where the environment gives none. Never raises."""
        shape = np.shape(env_reward)
        try:
            found = self._rewards(achieved, goal)
        except Exception as error:
            self._say(f"compute_reward raised {told(error)}")
            return np.full(shape, np.nan, np.float32)
        with np.errstate(over="ignore"):
            rewards = found.astype(np.float32)
        if not np.isfinite(rewards).all():
            self._say(f"compute_reward gave {found[~np.isfinite(rewards)][0]}, which float32 does not hold")
        return rewards.reshape(shape)

    def terminated(self, achieved: Any, goal: Any) -> np.ndarray:
        """Whether goals [..., G] end an episode, bool[...]; none does if the environment does not say. Never raises."""
        shape = np.shape(goal)[:-1]
        if self._terminated is None:
            return np.zeros(shape, bool)
        try:
            # One by one: gymnasium-robotics's functions reduce a batch to one truth value, or ignore it.
            pairs = zip(*self._shaped(achieved, goal), strict=True)
            return np.array([bool(self._terminated(*pair, {})) for pair in pairs], bool).reshape(shape)
        except Exception as error:
            self._say(f"compute_terminated raised {told(error)}", "such goals count as ending nothing")
            return np.zeros(shape, bool)

    def of_step(self, achieved: Any, goal: Any, info: dict[str, Any]) -> float:
        """The reward of one goal [G], as a step with `info` computes it. Raises whatever the environment does."""
        return float(self._each(achieved, goal, info)[0] if self._takes_one else self._batch(achieved, goal, info)[0])

    def check(self) -> None:
        """Raise ConfigError, in one line, where the environment cannot evaluate other goals than those it asks for."""
        if self._reward is None:
            raise self._refusal("it has no compute_reward, by which other goals could be evaluated")
        pairs = self._examples()
        problem = self._problem(*pairs)
        if problem:  # some can evaluate goals only in an episode
            with contextlib.suppress(Exception):
                self._env.reset(seed=0)
            problem = self._problem(*pairs)
        if problem:
            raise self._refusal(problem)
        self._check_terminated(*pairs)

    def changed(self, achieved: Any, goal: Any) -> str:
        """How rewards differ from those at the first call, for the same goals; nothing where they do not.

        `achieved` [G] and `goal` [G] of the first call say which goals are compared: those between the two.
        """
        if self._watched is None:
            achieved, goal = np.asarray(achieved, np.float64).ravel(), np.asarray(goal, np.float64).ravel()
            between = achieved + ALPHAS[:, None] * (goal - achieved)
            goals = np.broadcast_to(goal, between.shape)
            self._watched = between, goals, self._rewards(between, goals)
            return self.changed(achieved, goal)  # the same at once, unless it is random
        between, goals, before = self._watched
        now = self._rewards(between, goals)
        if _same(now, before):
            return ""
        at = np.argmax(np.abs(now - before))
        gave, gives = (float(rewards[at]) + 0.0 for rewards in (before, now))  # 0, not -0
        return f"compute_reward gives {gives:g} where it gave {gave:g} for the same goals"

    def seconds(self, count: int = 1000) -> float:
        """How long evaluating `count` goals takes."""
        achieved, goal = (np.repeat(part, -(-count // len(part)), axis=0)[:count] for part in self._examples())
        began = time.perf_counter()
        self.reward(achieved, goal, np.zeros(count))
        return time.perf_counter() - began

    def _rewards(self, achieved: Any, goal: Any) -> np.ndarray:
        return self._each(achieved, goal, {}) if self.one_by_one else self._batch(achieved, goal, {})

    def _each(self, achieved: Any, goal: Any, info: dict[str, Any]) -> np.ndarray:
        """Rewards f64[n] by n calls."""
        assert self._reward is not None
        pairs = zip(*self._shaped(achieved, goal), strict=True)
        return np.array([_sized(self._reward(*pair, dict(info)), 1)[0] for pair in pairs])

    def _batch(self, achieved: Any, goal: Any, info: dict[str, Any]) -> np.ndarray:
        """Rewards f64[n] by one call."""
        assert self._reward is not None
        achieved, goal = self._shaped(achieved, goal)
        infos: Any = dict(info) if self._takes_dict else [dict(info) for _ in goal]
        return _sized(self._reward(achieved, goal, infos), len(goal))

    def _shaped(self, *goals: Any) -> list[np.ndarray]:
        """Copies of achieved and desired goals [..., G] as the environment has them, [n, ...]."""
        shaped = []
        for values, space in zip(goals, self._spaces, strict=True):
            numbers = np.asarray(values)
            whole = not np.issubdtype(space.dtype, np.floating) and np.issubdtype(numbers.dtype, np.floating)
            shaped.append((np.rint(numbers) if whole else numbers).astype(space.dtype).reshape(-1, *space.shape))
        return shaped

    def _examples(self) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of goals [n, G], with an n that is not the size of a goal; nothing of the environment is drawn from."""
        spaces = self._spaces
        rng, count = np.random.default_rng(0), 5 if 5 not in spaces[0].shape else 7
        lows = [np.clip(-2.0, space.low, space.high).ravel() for space in spaces]
        highs = [np.minimum(low + 4.0, space.high.ravel()) for low, space in zip(lows, spaces, strict=True)]
        achieved, goal = (rng.uniform(low, high, (count, low.size)) for low, high in zip(lows, highs, strict=True))
        return achieved, goal

    def _problem(self, achieved: np.ndarray, goal: np.ndarray) -> str:
        """What is wrong with compute_reward; nothing where it can be used."""
        one, reason = _attempt(lambda: self._each(achieved, goal, {}))
        self._takes_one = one is not None
        if self.one_by_one:
            return reason and f"its compute_reward cannot evaluate a goal with an empty info ({reason})"
        batch, reason = _attempt(lambda: self._batch(achieved, goal, {}))
        if batch is None:
            self._takes_dict = True
            batch, _ = _attempt(lambda: self._batch(achieved, goal, {}))
            self._takes_dict = batch is not None
        if batch is not None and one is not None and not _same(batch, one):
            again, _ = _attempt(lambda: self._each(achieved, goal, {}))
            if again is None or not _same(again, one):
                return "its compute_reward gives other rewards for the same goals when it is called again"
            reason = f"a goal alone is worth {one[0]:g}, and {batch[0]:g} as the first of {len(goal)}"
            batch = None
        if batch is not None:
            return ""
        problem = f"its compute_reward cannot evaluate a batch of goals f{list(goal.shape)} with empty infos ({reason})"
        if one is None:
            return problem
        began = time.perf_counter()
        _attempt(lambda: self._each(achieved, goal, {}))
        cost = 1e6 * (time.perf_counter() - began) / len(goal)
        return f"{problem}; --goals.one-by-one calls it with one goal after the other, some {cost:.0f} ms for 1,000"

    def _check_terminated(self, achieved: np.ndarray, goal: np.ndarray) -> None:
        """Do without a compute_terminated that is only declared. Raises ConfigError."""
        if self._terminated is None:
            return
        try:
            for pair in zip(*self._shaped(achieved, goal), strict=True):
                bool(self._terminated(*pair, {}))
        except NotImplementedError:
            self._terminated = None
        except Exception as error:
            reason = told(error)
            problem = f"its compute_terminated cannot evaluate a goal with an empty info ({reason})"
            raise self._refusal(problem) from error

    def _refusal(self, problem: str) -> ConfigError:
        return ConfigError(f"environment {self._name!r}: {problem}; {ASIDE}")

    def _say(self, what: str, then: str = "such transitions keep their own goals") -> None:
        """Warn, once: in the middle of training there is nobody to raise to."""
        if not self._said:
            warn(f"environment {self._name}: {what}; {then}")
        self._said = True


def method(env: Any, name: str) -> Callable[..., Any] | None:
    """The method of that name of an environment or, where it has none, of what it wraps; None where nothing has it."""
    wrappers, base = unwrap(env)
    return next(filter(callable, (getattr(each, name, None) for each in (*wrappers, base))), None)


def warn(line: str) -> None:
    """Tell a person, on the way."""
    print(f"lsp: warning: {line}", file=sys.stderr)


def _same(some: np.ndarray, others: np.ndarray) -> bool:
    return np.allclose(some, others, rtol=1e-6, atol=1e-9, equal_nan=True)


def _sized(rewards: Any, count: int) -> np.ndarray:
    """Rewards as f64[n]. Raises ValueError."""
    found = np.asarray(rewards, np.float64)
    if found.size != count:
        raise ValueError(f"it returned {found.size} numbers, of shape {found.shape}, for {count} goals")
    return found.ravel()


def _attempt(evaluate: Callable[[], np.ndarray]) -> tuple[np.ndarray | None, str]:
    """What `evaluate` gives, or why it gives nothing."""
    try:
        return evaluate(), ""
    except Exception as error:
        return None, told(error)
