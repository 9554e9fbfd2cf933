"""Making an environment from its name, and saying in one line why it cannot be made."""

import contextlib
import copy
import difflib
import importlib
import itertools
import json
import multiprocessing
import warnings
import weakref
import zlib
from collections.abc import Callable
from contextlib import closing
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator

from lsp.config import Config, ConfigError, GoalsConfig, packaging
from lsp.envs import given, goal_probe, robotics, supported
from lsp.envs.box import BoxEnv
from lsp.envs.checks import shown, told
from lsp.envs.goal_box import GoalBoxEnv
from lsp.envs.guest import Guest, folder, go_to
from lsp.envs.signatures import construct, say_once, split_limit, with_own_resets
from lsp.envs.state import can_restore
from lsp.envs.wrappers import AnyEnv, unwrap
from lsp.types import EnvSpec, GoalTask

NORMALIZERS = {"NormalizeObservation", "NormalizeReward", "VecNormalize", "RunningMeanStd"}
STATISTICS = {"obs_rms", "ret_rms", "return_rms", "rew_rms", "reward_rms", "running_mean_std"}
"""Attributes that hold running statistics, in Gymnasium's wrappers and in many that were copied from them."""
ROBOTICS = ("Fetch", "PointMaze", "AntMaze")
"""How the names of tasks begin that gymnasium-robotics registers."""


HINDSIGHT = GoalsConfig("hindsight")
_numbers = itertools.count()  # of the environments made in this process
_folders: dict[str, str | None] = {}  # by module: where importing it led, for it is imported once


def make(name: str, /, **kwargs: Any) -> BoxEnv:
    """Make the environment `name`: observation f32[S], action f32[A] in [-1, 1]. One with goals: a `GoalBoxEnv`.

    `name` is a Gymnasium id (`HalfCheetah-v5`), `module:id`, where the module registers the id, or `module:Class`.
    `kwargs` go to its constructor; `max_episode_steps` sets the time limit, and goes there too where it is a parameter.
    Raises ConfigError.
    """
    return _make(name, kwargs, HINDSIGHT)


def make_env(config: Config, **kwargs: Any) -> BoxEnv:
    """Make the environment of a configuration; `kwargs` go to its constructor beside `--env-kwargs`.

    Raises ConfigError.
    """
    return _make(config.env, json.loads(config.env_kwargs) | kwargs, config.goals)


def make_seeded(config: Config, seed: int) -> BoxEnv:
    """The same, where what its constructor draws from the global generators comes from `seed`. Raises ConfigError."""
    return _make(config.env, json.loads(config.env_kwargs), config.goals, seed)


def wrap(env: AnyEnv, name: str, relabelling: GoalsConfig = HINDSIGHT) -> BoxEnv:
    """Wrap an environment that was made elsewhere; `name` is for errors. Raises ConfigError.

    `relabelling`: what its goals are for, where it has any.
    """
    supported.check_spaces(name, env)
    env = with_own_resets(env, name)
    has_goals = supported.has_goals(env.observation_space)
    return GoalBoxEnv(env, name, relabelling) if has_goals else BoxEnv(env, name)


def _make(name: str, kwargs: dict[str, Any], relabelling: GoalsConfig, seed: int | None = None) -> BoxEnv:
    guest = Guest(zlib.crc32(f"{name} {next(_numbers)}".encode()) if seed is None else seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gymnasium's advice on versions and precision; real trouble raises
        env = guest.call(_make_raw, name, kwargs)
    try:
        made = wrap(env, name, relabelling)
    except ConfigError:
        with contextlib.suppress(Exception):
            env.close()
        raise
    if not can_restore(made):
        made.guest = guest
    _say_if_normalized(name, env)
    return made


def env_spec(config: Config) -> EnvSpec:
    """Sizes, and the goals if there are any, of the environment of a configuration. Raises ConfigError."""
    with closing(make_env(config)) as env:
        return spec_of(env)


def learner_spec(config: Config, note: Callable[[str], None]) -> EnvSpec:
    """`env_spec` of what will be learned from: its goals are tried out, and `note` is told what is assumed of them.

    An environment that evaluates goals itself stays open for as long as the spec can ask it to.

    Raises:
      ConfigError: an environment that cannot be made, or whose goals hindsight cannot evaluate.
      EnvironmentFault: one that fails in its first steps.
    """
    env = make_env(config)
    try:
        for line in goal_probe.probe(env):
            note(line)
    except BaseException:
        env.close()
        raise
    spec = spec_of(env)
    if isinstance(env, GoalBoxEnv) and env.relabels and env.rules.on_host:
        weakref.finalize(env.judge, _close, env.env)
    else:
        env.close()
    return spec


def _close(env: AnyEnv) -> None:
    with contextlib.suppress(Exception):  # nobody is left to be told
        env.close()


def spec_of(env: AnyEnv) -> EnvSpec:
    """Sizes, and the goals if there are any, of an environment that `make` made."""
    observation, action = env.observation_space.shape, env.action_space.shape
    assert observation is not None
    assert action is not None
    task = None
    if isinstance(env, GoalBoxEnv):
        limit, beside = _time_limit(env), env.has_beside
        task = GoalTask(env.goal_dim, **env.rules._asdict(), max_episode_steps=limit, beside=beside)
    return EnvSpec(observation_dim=observation[0], action_dim=action[0], goals=task)


def _time_limit(env: AnyEnv) -> int | None:
    """Steps after which the innermost time limit of `env` ends an episode; None where there is none."""
    limits = [wrapper for wrapper in unwrap(env)[0] if isinstance(wrapper, gymnasium.wrappers.TimeLimit)]
    return min((limit._max_episode_steps for limit in limits), default=None)  # Gymnasium has no public way to ask


def _make_raw(name: str, kwargs: dict[str, Any]) -> AnyEnv:
    module_name, colon, item = name.rpartition(":")
    lent = name.startswith(given.PREFIX)
    module = _import(module_name, name) if colon and not lent else None
    try:
        if lent:
            return given.make(name, kwargs)
        if module is not None and hasattr(module, item):
            return _instantiate(getattr(module, item), name, kwargs)
        return _make_registered(name, item, kwargs)
    except ConfigError:
        raise
    except gymnasium.error.UnregisteredEnv as error:
        raise ConfigError(_unknown(name, item)) from error
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        raise ConfigError(f"environment {name!r} needs a package that is not installed: {told(error)}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        arguments = ", ".join(f"{key}={value!r}" for key, value in kwargs.items()) or "its defaults"
        raise ConfigError(f"environment {name!r} cannot be made with {arguments}: {told(error)}") from error


def _make_registered(name: str, item: str, kwargs: dict[str, Any]) -> AnyEnv:
    """Gymnasium's `make`; the goal tasks of gymnasium-robotics need not be imported first."""
    if item.startswith(ROBOTICS) and item not in gymnasium.registry:
        try:
            importlib.import_module("gymnasium_robotics")
        except ModuleNotFoundError as error:
            remedy = packaging.install("robotics")
            raise ConfigError(f"environment {name!r} needs gymnasium-robotics, an extra of lsp: {remedy}") from error
    if item.startswith("dm_control/") and item not in gymnasium.registry:
        try:
            importlib.import_module("shimmy")
        except ModuleNotFoundError as error:
            remedy = "pip install 'shimmy[dm-control]'"
            raise ConfigError(f"environment {name!r} needs shimmy, which brings dm_control: {remedy}") from error
    if item.startswith("Fetch"):
        robotics.check_mujoco(name)
    spec = copy.copy(gymnasium.registry.get(item))
    if spec is None:  # without a version, or unknown, of which it says which
        return gymnasium.make(item, disable_env_checker=True, **kwargs)
    # By way of `spec`, for `gymnasium.make` would keep arguments that have the names of its own.
    creator = spec.entry_point if callable(spec.entry_point) else load_env_creator(str(spec.entry_point))
    arguments, limit = split_limit(creator, kwargs)
    spec.kwargs = copy.deepcopy(spec.kwargs) | arguments
    return gymnasium.make(spec, max_episode_steps=limit, disable_env_checker=True)


def _import(module_name: str, name: str) -> Any:
    before = folder()
    try:
        module = importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ConfigError(f"environment {name!r}: cannot import module {module_name!r} ({told(error)})") from error
    if folder() != before:
        _folders[module_name] = folder()
    go_to(_folders.get(module_name))
    return module


def _instantiate(item: Any, name: str, kwargs: dict[str, Any]) -> AnyEnv:
    if not (isinstance(item, type) and issubclass(item, gymnasium.Env)):
        old = any(base.__module__.split(".")[0] == "gym" for base in getattr(item, "__mro__", ()))
        remedy = "; it is one of gym, Gymnasium's predecessor: import gymnasium as gym" if old else ""
        raise ConfigError(f"environment {name!r}: {shown(item)} is not a subclass of gymnasium.Env{remedy}")
    arguments, limit = split_limit(item, kwargs)
    env = construct(item, arguments, kwargs)
    return env if limit is None else gymnasium.wrappers.TimeLimit(env, limit)


def _unknown(name: str, item: str) -> str:
    by_version = sorted(gymnasium.registry.values(), key=lambda spec: spec.version or 0)
    newest = {(spec.namespace, spec.name): spec.id for spec in by_version}
    near = difflib.get_close_matches(item, newest.values(), n=3, cutoff=0.5)
    remedy = f"did you mean {' or '.join(near)}?" if near else "give a Gymnasium id, module:id or module:Class"
    return f"unknown environment {name!r}: {remedy}"


def _say_if_normalized(name: str, env: AnyEnv) -> None:
    """Say that running statistics inside of `env` stay behind; once, and not in every worker."""
    if multiprocessing.parent_process() is not None:
        return
    layer: Any = env
    while True:
        kinds = {cls.__name__ for cls in type(layer).__mro__}
        if kinds & NORMALIZERS or vars(layer).keys() & STATISTICS:
            kind = next(iter(sorted(kinds & NORMALIZERS)), type(layer).__name__)
            flags = (
                "--normalize.observations=true and --normalize.rewards=true do the same with statistics that are kept"
            )
            lost = "evaluation, resume and export will use others than training does"
            say_once(f"environment {name} has {kind} inside, whose running statistics are not saved: {lost}; "
                     f"leave it out, {flags}")  # fmt: skip
        if not isinstance(layer, gymnasium.Wrapper):
            return
        layer = layer.env
