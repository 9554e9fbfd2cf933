"""Rewards of a layer's own, in place of the environment's: `lsp.config.reward_terms` reads their text. No JAX here.

Observations are f32[S] as the environment gives them (of tasks with goals: with the goal at the end), the action is
f32[A] in [-1, 1], and `info` is the environment's. A function among the terms must not change what it gets.
"""

import importlib
import math
from collections.abc import Callable, Mapping
from typing import Any

from lsp.config.reward_terms import FORM, OWN, parse
from lsp.config.schema import ConfigError, nearest

Function = Callable[[Any, Any, Any, Mapping[str, Any]], float]


class RewardFault(ValueError):
    """A reward that cannot be computed. The message is one line."""


class LayerReward:
    """A reward as a function of what a step of an environment gives."""

    def __init__(self, text: str) -> None:
        """Read `text` and import its functions. Raises ConfigError."""
        self.text = text
        try:
            terms = parse(text)
        except ValueError as error:
            raise ConfigError(f"--layer-rewards: {error}: must be {FORM}") from error
        self._terms = [(weight, name, _import(name) if ":" in name else None) for weight, name in terms]

    def __call__(
        self, env_reward: float, observation: Any, action: Any, next_observation: Any, info: Mapping[str, Any]
    ) -> float:
        """The reward of a step; `env_reward` is the environment's own. Raises RewardFault."""
        total = 0.0
        for weight, name, function in self._terms:
            if name == OWN:
                value: Any = env_reward
            elif function is None:
                value = _look_up(name, info)
            else:
                value = _call(name, function, observation, action, next_observation, info)
            try:
                total += weight * float(value)
            except (TypeError, ValueError) as error:
                raise RewardFault(f"{name} is {str(value)[:60]!r}, which is no number") from error
        if not math.isfinite(total):
            raise RewardFault(f"it is {total}, which is not finite")
        return total


def make(text: str) -> LayerReward | None:
    """The reward that `text` names; None of the environment's own. Raises ConfigError."""
    reward = LayerReward(text)
    return None if parse(text) == parse(OWN) else reward


def _look_up(name: str, info: Mapping[str, Any]) -> Any:
    if name in info:
        return info[name]
    near = nearest(name, info)
    remedy = f"did you mean {near[0]}?" if near else f"it has {', '.join(map(str, info)) or 'nothing'}"
    raise RewardFault(f"the environment's info has no {name!r}; {remedy}")


def _import(name: str) -> Function:
    module_name, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"--layer-rewards: cannot import {name} ({reason})") from error
    if not callable(function):
        raise ConfigError(f"--layer-rewards: {name} is {str(function)[:60]!r}, which is no function")
    return function


def _call(name: str, function: Function, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:
        raise RewardFault(" ".join(f"{name} raised {type(error).__name__}: {error}".split())) from error
