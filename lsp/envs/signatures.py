"""What constructors and `reset` of somebody's environment take, so that each gets the arguments that are its own."""

import inspect
import sys
from collections.abc import Callable
from typing import Any

import gymnasium

AnyEnv = gymnasium.Env[Any, Any]


def takes(maker: Callable[..., Any], name: str) -> bool:
    """Whether a class or function has a parameter of this name; `**kwargs` pass it on to the classes above."""
    if not isinstance(maker, type):
        return name in _parameters(maker)
    for cls in maker.__mro__:
        if "__init__" in vars(cls):
            parameters = _parameters(vars(cls)["__init__"])
            if name in parameters:
                return True
            if not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
                return False
    return False


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
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return True
    options = parameters.get("options")
    return "seed" in parameters and options is not None and options.default is None


_said: set[str] = set()


def say_once(text: str) -> None:
    """Print a line for people, once in a process."""
    if text not in _said:
        _said.add(text)
        print(f"lsp: {text}", file=sys.stderr)
