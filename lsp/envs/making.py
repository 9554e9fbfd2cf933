"""Making an environment from its name, and saying in one line why it cannot be made."""

import difflib
import importlib
import warnings
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces

from lsp.config import ConfigError
from lsp.envs.box import BoxEnv

if TYPE_CHECKING:
    from lsp.types import EnvSpec

AnyEnv = gymnasium.Env[Any, Any]


def make(name: str, /, **kwargs: Any) -> BoxEnv:
    """Make the environment `name`: observation f32[S], action f32[A] in [-1, 1].

    `name` is a Gymnasium id (`HalfCheetah-v5`), `module:id`, where the module registers the id, or `module:Class`.
    `kwargs` go to its constructor; `max_episode_steps` sets the time limit. Raises ConfigError.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gymnasium's advice on versions and precision; real trouble raises
        env = _make_raw(name, kwargs)
    try:
        _check_spaces(name, env)
    except ConfigError:
        env.close()
        raise
    return BoxEnv(env, name)


def spec_of(env: AnyEnv) -> "EnvSpec":
    """Sizes of an environment that `make` made."""
    from lsp.types import EnvSpec  # imports JAX, which an executor's process can do without

    observation, action = env.observation_space.shape, env.action_space.shape
    assert observation is not None
    assert action is not None
    return EnvSpec(observation_dim=observation[0], action_dim=action[0])


def _make_raw(name: str, kwargs: dict[str, Any]) -> AnyEnv:
    module_name, colon, item = name.rpartition(":")
    module = _import(module_name, name) if colon else None
    try:
        if module is not None and hasattr(module, item):
            return _instantiate(getattr(module, item), name, kwargs)
        return gymnasium.make(item, disable_env_checker=True, **kwargs)
    except ConfigError:
        raise
    except gymnasium.error.UnregisteredEnv as error:
        raise ConfigError(_unknown(name, item)) from error
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        raise ConfigError(f"environment {name!r} needs a package that is not installed: {_one_line(error)}") from error
    except Exception as error:
        arguments = ", ".join(f"{key}={value!r}" for key, value in kwargs.items()) or "its defaults"
        reason = f"{type(error).__name__}: {_one_line(error)}"
        raise ConfigError(f"environment {name!r} cannot be made with {arguments}: {reason}") from error


def _import(module_name: str, name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except Exception as error:
        reason = f"{type(error).__name__}: {_one_line(error)}"
        raise ConfigError(f"environment {name!r}: cannot import module {module_name!r} ({reason})") from error


def _instantiate(item: Any, name: str, kwargs: dict[str, Any]) -> AnyEnv:
    if not (isinstance(item, type) and issubclass(item, gymnasium.Env)):
        raise ConfigError(f"environment {name!r}: {item!r} is not a subclass of gymnasium.Env")
    arguments = dict(kwargs)
    limit = arguments.pop("max_episode_steps", None)
    env = item(**arguments)
    return env if limit is None else gymnasium.wrappers.TimeLimit(env, limit)


def _unknown(name: str, item: str) -> str:
    by_version = sorted(gymnasium.registry.values(), key=lambda spec: spec.version or 0)
    newest = {(spec.namespace, spec.name): spec.id for spec in by_version}
    near = difflib.get_close_matches(item, newest.values(), n=3, cutoff=0.5)
    remedy = f"did you mean {' or '.join(near)}?" if near else "give a Gymnasium id, module:id or module:Class"
    return f"unknown environment {name!r}: {remedy}"


def _check_spaces(name: str, env: AnyEnv) -> None:
    for problem in (_observation_problem(env.observation_space), _action_problem(env.action_space)):
        if problem:
            raise ConfigError(f"environment {name!r}: {problem}")


def _observation_problem(space: spaces.Space[Any]) -> str | None:
    if isinstance(space, spaces.Dict):
        return "Dict observations (goal environments) are not supported by this agent; choose one with a vector"
    if not isinstance(space, spaces.Box):
        return f"{type(space).__name__} observations are not supported; a Box of numbers is needed"
    if len(space.shape) == 3 or (len(space.shape) > 1 and space.dtype == np.uint8):
        return f"image observations {space.shape} are not supported; choose an environment with a vector of numbers"
    return None


def _action_problem(space: spaces.Space[Any]) -> str | None:
    if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating):
        return f"actions {space} are not supported; this agent needs continuous ones (a Box of floats)"
    if len(space.shape) != 1:
        return f"actions of shape {space.shape} are not supported; a vector is needed"
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        return "unbounded actions are not supported; give the Box finite bounds"
    return None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
