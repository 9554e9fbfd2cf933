"""Which spaces agents can serve: continuous bounded actions, observations that are numbers."""

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from lsp.config import ConfigError
from lsp.envs import flatten
from lsp.envs.checks import LARGEST, shown, told
from lsp.envs.goal_box import KEYS


def check_spaces(name: str, env: gymnasium.Env[Any, Any]) -> None:
    """Raise ConfigError if agents cannot serve the observations or actions of `env`, or it does not declare them."""
    for kind, problem_of in (("observation_space", _observation_problem), ("action_space", _action_problem)):
        try:
            space = getattr(env, kind)
        except Exception as error:
            reason = "" if isinstance(error, AttributeError) else f" ({told(error)})"
            raise ConfigError(f"environment {name!r} has no {kind}{reason}: its constructor must set one") from error
        if not isinstance(space, spaces.Space):
            where = f"{type(space).__module__}.{type(space).__name__}"
            raise ConfigError(f"environment {name!r}: its {kind} is {where}, which is no space of gymnasium.spaces")
        if problem := problem_of(space):
            raise ConfigError(f"environment {name!r}: {problem}")


def _observation_problem(space: spaces.Space[Any]) -> str | None:
    if isinstance(space, spaces.Dict) and space.keys() & {"achieved_goal", "desired_goal"}:
        return _goal_problem(space)
    return flatten.problem(space)


def has_goals(space: spaces.Space[Any]) -> bool:
    """Whether observations of `space` say which goal is wanted and which is achieved."""
    return isinstance(space, spaces.Dict) and set(KEYS) <= space.keys()


def _goal_problem(space: spaces.Dict) -> str | None:
    if not has_goals(space):
        has, needs = ", ".join(space.keys()), ", ".join(KEYS)
        return (
            f"Dict observations ({has}) are supported of goal environments only, which have {needs}, or without goals"
        )
    for key in KEYS:
        inside = space[key]
        if not isinstance(inside, spaces.Box):
            return f"{key}: a {type(inside).__name__} inside a Dict is not supported beside goals"
        if problem := flatten.problem(inside):
            return f"{key}: {problem}"
    achieved, desired = space["achieved_goal"].shape, space["desired_goal"].shape
    if achieved != desired:
        return f"goals of shape {desired} are compared with achieved ones of shape {achieved}; they must be the same"
    return None


def _action_problem(space: spaces.Space[Any]) -> str | None:
    if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating):
        return f"actions {shown(space, 200)} are not supported; this agent needs continuous ones (a Box of floats)"
    if math.prod(space.shape) == 0:
        return f"actions of shape {space.shape} have no number to choose"
    low, high = (bound.astype(np.float64).ravel() for bound in (space.low, space.high))
    limit = LARGEST / 2  # below it neither sums nor differences overflow
    for bad, problem in (
        (np.isnan(low) | np.isnan(high), "bounds of actions must be numbers"),
        (low > high, "lower bounds of actions must not be above the upper ones"),
        (~(np.isfinite(low) & np.isfinite(high)), "unbounded actions are not supported; give the Box finite bounds"),
        (np.maximum(-low, high) > limit, f"actions with bounds beyond {limit:.2g}, half of what float32 holds, are as "
         "good as unbounded, which is not supported; give the Box smaller ones"),
    ):  # fmt: skip
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            return f"{problem} (those of action {first}: {low[first]:g} and {high[first]:g})"
    return None
