"""What constructors and `reset` of somebody's environment take, so that each gets the arguments that are its own."""

import contextlib
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium

from lsp.envs.wrappers import AnyEnv


def split_limit(maker: Callable[..., Any], kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """What a class or function is called with, and the time limit to set around what it makes.

    `max_episode_steps` is both where it is a parameter. `render_mode` is None for one that needs it and was not told.
    """
    arguments, limit = dict(kwargs), kwargs.get("max_episode_steps")
    render_mode = parameter(maker, "render_mode")
    if render_mode is not None and render_mode.default is render_mode.empty:
        arguments.setdefault("render_mode", None)
    if parameter(maker, "max_episode_steps") is None:
        arguments.pop("max_episode_steps", None)
    elif not (isinstance(limit, int) and limit > 0):
        limit = None  # whatever it means there
    return arguments, limit


def construct(cls: Any, arguments: Mapping[str, Any], kwargs: Mapping[str, Any]) -> AnyEnv:
    """Call a constructor with `arguments`, or with the time limit, too, if its `**kwargs` turn out to go to one for it.

    As those of a wrapper may, that makes what it wraps.
    """
    left_out = "max_episode_steps" in kwargs.keys() - arguments.keys()
    if left_out and cls.__init__ is not object.__init__ and _takes_anything(_parameters(cls.__init__)):
        with contextlib.suppress(TypeError):  # nobody takes it; what else is wrong comes up again
            return cls(**arguments, max_episode_steps=kwargs["max_episode_steps"])
    return cls(**arguments)


def parameter(maker: Callable[..., Any], name: str) -> inspect.Parameter | None:
    """The parameter of this name of a class or function; `**kwargs` are taken to go to the classes above."""
    if not isinstance(maker, type):
        return _parameters(maker).get(name)
    for cls in maker.__mro__:
        if "__init__" in vars(cls):
            parameters = _parameters(vars(cls)["__init__"])
            if name in parameters:
                return parameters[name]
            if not _takes_anything(parameters):
                return None
    return None


def _takes_anything(parameters: Mapping[str, inspect.Parameter]) -> bool:
    return any(each.kind is each.VAR_KEYWORD for each in parameters.values())


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # written in C
        return {}


class OwnReset(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Gives a `reset` those of Gymnasium's arguments that it takes."""

    def __init__(self, env: AnyEnv, name: str) -> None:
        """Wrap `env`; `name` is for messages."""
        super().__init__(env)
        self.name = name
        parameters = _parameters(env.reset)
        self._takes_seed = "seed" in parameters
        options = parameters.get("options")
        self._takes_options = options is not None
        self._needs_options = options is not None and options.default is inspect.Parameter.empty

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode."""
        arguments: dict[str, Any] = {}
        if self._takes_seed:
            arguments["seed"] = seed
        elif seed is not None:
            self._seed_otherwise(seed)
        if self._needs_options or (self._takes_options and options is not None):
            arguments["options"] = options or {}
        return self.env.reset(**arguments)

    def _seed_otherwise(self, seed: int) -> None:
        base: Any = self.env.unwrapped
        if callable(getattr(base, "seed", None)):  # as before Gym 0.26
            base.seed(seed)
        else:
            repeated = "--seed repeats what it draws from self.np_random and the global generators, nothing else"
            say_once(f"the reset of environment {self.name} takes no seed: {repeated}")


def with_own_resets(env: AnyEnv, name: str) -> AnyEnv:
    """`env`, where each `reset` in it that does not take what Gymnasium's does has an `OwnReset` above it."""
    if isinstance(env, gymnasium.Wrapper):
        inside = with_own_resets(env.env, name)
        if inside is not env.env:
            env.env = inside
    return env if _is_usual(env.reset) else OwnReset(env, name)


def _is_usual(reset: Callable[..., Any]) -> bool:
    parameters = _parameters(reset)
    if _takes_anything(parameters):
        return True
    options = parameters.get("options")
    return "seed" in parameters and options is not None and options.default is None


_said: set[str] = set()


def say_once(text: str) -> None:
    """Print a line for people, once in a process."""
    if text not in _said:
        _said.add(text)
        print(f"lsp: {text}", file=sys.stderr)
