"""Making an environment from its name, and saying in one line why it cannot be made."""

import difflib
import importlib
import json
import warnings
from contextlib import closing
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from lsp.config import Config, ConfigError, packaging
from lsp.envs import robotics
from lsp.envs.box import BoxEnv
from lsp.envs.goal_box import KEYS, GoalBoxEnv
from lsp.types import EnvSpec, GoalTask

AnyEnv = gymnasium.Env[Any, Any]
ROBOTICS = ("Fetch", "PointMaze", "AntMaze")
"""How the names of tasks begin that gymnasium-robotics registers."""


def make(name: str, /, **kwargs: Any) -> BoxEnv:
    """Make the environment `name`: observation f32[S], action f32[A] in [-1, 1]. One with goals: a `GoalBoxEnv`.

    `name` is a Gymnasium id (`HalfCheetah-v5`), `module:id`, where the module registers the id, or `module:Class`.
    `kwargs` go to its constructor; `max_episode_steps` sets the time limit. Raises ConfigError.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gymnasium's advice on versions and precision; real trouble raises
        env = _make_raw(name, kwargs)
    try:
        _check_spaces(name, env)
        return GoalBoxEnv(env, name) if isinstance(env.observation_space, spaces.Dict) else BoxEnv(env, name)
    except ConfigError:
        env.close()
        raise


def make_env(config: Config, **kwargs: Any) -> BoxEnv:
    """Make the environment of a configuration; `kwargs` go to its constructor beside `--env-kwargs`.

    Raises ConfigError.
    """
    return make(config.env, **(json.loads(config.env_kwargs) | kwargs))


def env_spec(config: Config) -> EnvSpec:
    """Sizes, and the goals if there are any, of the environment of a configuration. Raises ConfigError."""
    with closing(make_env(config)) as env:
        return spec_of(env)


def spec_of(env: AnyEnv) -> EnvSpec:
    """Sizes, and the goals if there are any, of an environment that `make` made."""
    observation, action = env.observation_space.shape, env.action_space.shape
    assert observation is not None
    assert action is not None
    task = None
    if isinstance(env, GoalBoxEnv):
        task = GoalTask(env.goal_dim, *env.rules, max_episode_steps=_time_limit(env))
    return EnvSpec(observation_dim=observation[0], action_dim=action[0], goals=task)


def _time_limit(env: AnyEnv) -> int | None:
    """Steps after which the innermost time limit of `env` ends an episode; None where there is none."""
    limits = []
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, gymnasium.wrappers.TimeLimit):
            limits.append(env._max_episode_steps)  # Gymnasium has no public way to ask
        env = env.env
    return min(limits, default=None)


def _make_raw(name: str, kwargs: dict[str, Any]) -> AnyEnv:
    module_name, colon, item = name.rpartition(":")
    module = _import(module_name, name) if colon else None
    try:
        if module is not None and hasattr(module, item):
            return _instantiate(getattr(module, item), name, kwargs)
        return _make_registered(name, item, kwargs)
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


def _make_registered(name: str, item: str, kwargs: dict[str, Any]) -> AnyEnv:
    """Gymnasium's `make`; the goal tasks of gymnasium-robotics need not be imported first."""
    if item.startswith(ROBOTICS) and item not in gymnasium.registry:
        try:
            importlib.import_module("gymnasium_robotics")
        except ModuleNotFoundError as error:
            remedy = packaging.install("robotics")
            raise ConfigError(f"environment {name!r} needs gymnasium-robotics, an extra of lsp: {remedy}") from error
    if item.startswith("Fetch"):
        robotics.check_mujoco(name)
    return gymnasium.make(item, disable_env_checker=True, **kwargs)


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
        return _goal_problem(space)
    if not isinstance(space, spaces.Box):
        return f"{type(space).__name__} observations are not supported; a Box of numbers is needed"
    if len(space.shape) == 3 or (len(space.shape) > 1 and space.dtype == np.uint8):
        return f"image observations {space.shape} are not supported; choose an environment with a vector of numbers"
    return None


def _goal_problem(space: spaces.Dict) -> str | None:
    if not set(KEYS) <= space.keys():
        has, needs = ", ".join(space.keys()), ", ".join(KEYS)
        return f"Dict observations ({has}) are supported of goal environments only, which have {needs}"
    for key in KEYS:
        problem = None if isinstance(space[key], spaces.Dict) else _observation_problem(space[key])
        if problem or isinstance(space[key], spaces.Dict):
            return f"{key}: {problem or 'a Dict inside a Dict is not supported'}"
    achieved, desired = space["achieved_goal"].shape, space["desired_goal"].shape
    if achieved != desired:
        return f"goals of shape {desired} are compared with achieved ones of shape {achieved}; they must be the same"
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
