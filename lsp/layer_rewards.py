"""Rewards of a layer's own, in place of the environment's: what `--layer-rewards` means. No JAX here.

A reward is a sum of terms with weights, such as `reward_forward+0.5*reward_ctrl`. A term is one of

    env               the environment's own reward
    NAME              a number that the environment puts into `info` under this name
    MODULE:FUNCTION   function(observation, action, next_observation, info) -> float

where observations are f32[S] as the environment gives them (of tasks with goals: with the goal at the end), the action
is f32[A] in [-1, 1], and `info` is the environment's. Such a function must not change what it gets.
"""

import importlib
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lsp.fields import ConfigError, nearest

OWN = "env"
FORM = "env, or terms with weights such as reward_forward+0.5*reward_ctrl, where a term may also be module:function"
_TERM = re.compile(
    r"\s*(?P<sign>[+-]?)\s*"
    r"((?P<weight>(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)\s*\*\s*)?"
    r"(?P<name>[A-Za-z_][\w./]*(:[A-Za-z_]\w*)?)\s*"
)

Function = Callable[[Any, Any, Any, Mapping[str, Any]], float]


class Term(NamedTuple):
    """One term of a reward."""

    weight: float
    name: str


class RewardFault(ValueError):
    """A reward that cannot be computed. The message is one line."""


def parse(text: str) -> tuple[Term, ...]:
    """The terms that `text` names; an empty one names the environment's own. Raises ValueError."""
    terms: list[Term] = []
    position = 0
    while position < len(text.rstrip()):
        found = _TERM.match(text, position)
        if found is None or (terms and not found["sign"]):
            raise ValueError(f"{text!r} cannot be read from {text[position:].strip()!r} on")
        weight = float(found["weight"] or 1.0)
        terms.append(Term(-weight if found["sign"] == "-" else weight, found["name"]))
        position = found.end()
    return tuple(terms) or (Term(1.0, OWN),)


def readable(text: str) -> bool:
    """Whether `parse` can read `text`."""
    try:
        parse(text)
    except ValueError:
        return False
    return True


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
