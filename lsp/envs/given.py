"""Environments that somebody hands over as Python objects: `lsp.train(env=...)`.

A configuration names one `given:NAME`, which says what it was but not how to make it: that can be done only where the
object itself is lent, in this process and within `lend`.
"""

import functools
import json
import re
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import gymnasium

from lsp.config import ConfigError
from lsp.envs.checks import shown
from lsp.envs.signatures import split_limit
from lsp.envs.wrappers import AnyEnv

PREFIX = "given:"


class Given(NamedTuple):
    """What was given for an environment."""

    name: str  # for `--env`
    make: Callable[..., Any] | None = None  # None: the name says it all
    kwargs: Mapping[str, Any] = {}  # of its constructor, where the name was found out
    single: bool = False  # whether there is one only, already made


class Lent(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Somebody's own environment: whoever uses it may not close it."""

    def __init__(self, env: AnyEnv, scope: "_Scope") -> None:
        """Wrap `env`, which is in use until this is closed."""
        super().__init__(env)
        self._scope = scope
        scope.in_use = True

    def close(self) -> None:
        """Leave it open; somebody else may use it now."""
        self._scope.in_use = False


class _Scope:
    """Within one `lend`."""

    def __init__(self, given: Given) -> None:
        self.given, self.in_use = given, False
        self._made: list[weakref.ref[Any]] = []

    def make(self, kwargs: Mapping[str, Any]) -> AnyEnv:
        name, maker = self.given.name, self.given.make
        assert maker is not None
        if self.given.single and self.in_use:
            raise ConfigError(f"environment {name} is a single one, and one more is needed: {callable_instead(name)}")
        arguments, limit = split_limit(maker, kwargs)
        env = maker(**arguments)
        if not isinstance(env, gymnasium.Env):
            raise ConfigError(f"environment {name}: what was given returned {shown(env)}, which is no gymnasium.Env")
        if not self.given.single and any(other() is env for other in self._made):
            raise ConfigError(f"environment {name}: what was given returned the same one twice; it must make new ones")
        self._made.append(weakref.ref(env))
        env = Lent(env, self) if self.given.single else env
        return env if limit is None else gymnasium.wrappers.TimeLimit(env, limit)


_lent: ContextVar[_Scope | None] = ContextVar("lent", default=None)


@contextmanager
def lend(given: Given | None) -> Iterator[None]:
    """Let `make` find what was given, in this thread, for as long as this is entered."""
    token = _lent.set(None if given is None or given.make is None else _Scope(given))
    try:
        yield
    finally:
        _lent.reset(token)


def make(name: str, kwargs: Mapping[str, Any]) -> AnyEnv:
    """The environment `given:NAME`, where it is lent. Raises ConfigError, or what making it does."""
    scope = _lent.get()
    if scope is None or scope.given.name != name:
        again = "give it again in Python, lsp.load(FOLDER, env=...), and then resume, evaluate, film or export"
        raise ConfigError(f"environment {name} was a Python object, and a name cannot bring it back: {again}")
    return scope.make(kwargs)


def read(env: Any) -> Given:
    """What an argument `env` means: a name, an environment, or a callable (a class, too) that makes one.

    An environment that Gymnasium made from an id alone is that id, one whose `spec` says how to make it is made again,
    and any other one is used itself. Raises ConfigError.
    """
    if isinstance(env, str):
        return Given(env)
    if isinstance(env, gymnasium.Env):
        return _of_instance(env)
    if callable(env):
        return Given(_named(env), env)
    vector = " (one at a time: not a vector of them)" if isinstance(env, gymnasium.vector.VectorEnv) else ""
    rule = "must be a name, a gymnasium environment, or a callable that returns one"
    raise ConfigError(f"env={shown(env)}: {rule}{vector}")


def callable_instead(name: str) -> str:
    """What to do where one environment is not enough."""
    maker = name.removeprefix(PREFIX)
    return f"give a callable that returns a new one each time, such as env={maker} or env=lambda: {maker}(...)"


def _of_instance(env: AnyEnv) -> Given:
    try:
        spec = env.spec
    except Exception:  # of a wrapper that cannot say how it was made
        spec = None
    name = _named(type(env.unwrapped))
    if spec is None or any(wrapper.kwargs is None for wrapper in spec.additional_wrappers):
        return Given(name, lambda: env, single=True)
    if (kwargs := _beside_the_id(spec)) is not None:
        return Given(spec.id, kwargs=kwargs)
    made = functools.partial(gymnasium.make, spec, disable_env_checker=True)
    return Given(name, lambda **kwargs: made(**kwargs))


def _beside_the_id(spec: Any) -> dict[str, Any] | None:
    """Arguments with which the id alone makes the environment of `spec`; None where that is another one."""
    registered = gymnasium.registry.get(spec.id)
    if registered is None or registered.entry_point != spec.entry_point or spec.additional_wrappers:
        return None
    known, own = registered.kwargs, {key: value for key, value in spec.kwargs.items() if key != "render_mode"}
    try:
        kwargs = {key: value for key, value in own.items() if key not in known or known[key] != value}
        if spec.max_episode_steps != registered.max_episode_steps:
            kwargs["max_episode_steps"] = spec.max_episode_steps
        return kwargs if json.loads(json.dumps(kwargs)) == kwargs else None
    except (TypeError, ValueError):  # no JSON, or arrays, which have no one truth value
        return None


def _named(maker: Any) -> str:
    while isinstance(maker, functools.partial):
        maker = maker.func
    name = getattr(maker, "__name__", type(maker).__name__)
    return PREFIX + (re.sub(r"\W", "", name) or "environment")
