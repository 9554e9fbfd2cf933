"""The process as an environment sees it: what is the whole process's is lent to it, a call at a time.

An environment may draw from NumPy's and Python's global generators, or change the working folder. Each has generators
of its own here, seeded with its first state, so that a run can be repeated whatever else draws in the process, and
evaluation changes nothing in training; and each finds the folder it went to, while everyone else's paths stay.
"""

import contextlib
import os
import random
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import seeding

TRIAL = 1000
"""Calls after which an environment that has not drawn from Python's generator is taken not to: swapping it is slow."""

_shared: Any = np.random  # whose functions for the global generator NumPy declares without types


class Guest:
    """What one environment has of the process."""

    def __init__(self, seed: int) -> None:
        """Begin with generators of this seed, and in the folder where the process is."""
        self._folder: str | None = None  # where it went, if it went
        self._errors: Any = None  # what NumPy does about overflows and the like, where it said so
        self._draws, self._calls = False, 0
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Seed both generators."""
        self._numpy: Any = np.random.MT19937(seed)
        self._python = random.Random(seed).getstate()

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """What `function` returns, or raises."""
        home, errors, generator = folder(), np.geterr(), _shared.get_bit_generator()
        self._calls += 1
        outside = random.getstate() if self._draws or self._calls <= TRIAL else None
        self._enter(outside is not None)
        try:
            return function(*arguments, **named)
        finally:
            here, now = folder(), np.geterr()
            self._folder = None if here == home else here
            self._errors = None if now == errors else now
            self._numpy = _shared.get_bit_generator()
            _shared.set_bit_generator(generator)
            if here != home:
                go_to(home)
            if now != errors:
                np.seterr(**errors)
            if outside is not None:
                self._leave(outside)

    def _enter(self, swaps_python: bool) -> None:
        _shared.set_bit_generator(self._numpy)
        if swaps_python:
            random.setstate(self._python)
        if self._folder is not None:
            go_to(self._folder)
        if self._errors is not None:
            np.seterr(**self._errors)

    def _leave(self, outside: Any) -> None:
        after = random.getstate()
        self._draws |= after != self._python
        self._python = after
        if self._draws or self._calls < TRIAL:  # else what draws later after all finds a seeded state
            random.setstate(outside)


def seed_generators(env: gymnasium.Env[Any, Any], seed: int) -> None:
    """Seed what an environment has by Gymnasium's own convention, in case that its `reset` does not."""
    base = env.unwrapped
    with contextlib.suppress(Exception):
        base.np_random = seeding.np_random(seed)[0]
    for space in ("observation_space", "action_space"):
        with contextlib.suppress(Exception):
            getattr(base, space).seed(seed)


def folder() -> str | None:
    """Where the process is; None where somebody removed that folder."""
    try:
        return os.getcwd()
    except OSError:
        return None


def go_to(place: str | None) -> None:
    """Let the process be there, if there is such a folder."""
    if place is not None:
        with contextlib.suppress(OSError):
            os.chdir(place)
