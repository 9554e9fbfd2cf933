"""Environments given as Python objects: what is made again, what is used itself, and where."""

import functools
import threading
from typing import Any

import gymnasium
import numpy as np
import pytest

from lsp import envs
from lsp.config import ConfigError
from lsp.envs import given
from tests.support.environments import Countdown

NAME = "given:Countdown"


class Sized(Countdown):
    """Takes arguments, and says when it is closed."""

    def __init__(self, size: int = 1, render_mode: str | None = None) -> None:
        super().__init__()
        self.size, self.render_mode, self.closed = size, render_mode, False

    def close(self) -> None:
        self.closed = True


class Odd(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Does not say how it is made."""


def function() -> Countdown:
    return Countdown()


@pytest.mark.parametrize(
    ("maker", "name"),
    [
        (Countdown, NAME),
        (function, "given:function"),
        (lambda: Countdown(), "given:lambda"),
        (functools.partial(Sized, size=3), "given:Sized"),
    ],
    ids=["class", "function", "lambda", "partial"],
)
def test_a_callable_makes_as_many_as_are_needed(maker: Any, name: str) -> None:
    read = given.read(maker)
    assert (read.name, read.single) == (name, False)
    with given.lend(read):
        one, other = envs.make(name), envs.make(name)
    assert one.unwrapped is not other.unwrapped
    assert isinstance(one.unwrapped, Countdown)


def test_arguments_reach_a_callable() -> None:
    with given.lend(given.read(Sized)):
        env = envs.make("given:Sized", size=2, render_mode="rgb_array", max_episode_steps=4)
    assert (env.unwrapped.size, env.unwrapped.render_mode) == (2, "rgb_array")
    env.reset(seed=0)
    ends = [env.step(np.zeros(1))[2:4] for _ in range(4)]  # its third step terminates, and nobody has reset it
    assert ends[3] == (False, True)


def test_a_single_one_is_used_itself_and_stays_open() -> None:
    own = Sized()
    read = given.read(own)
    assert (read.name, read.single) == ("given:Sized", True)
    with given.lend(read):
        env = envs.make("given:Sized")
        assert env.unwrapped is own
        with pytest.raises(ConfigError, match=r"single one, and one more is needed: give a callable .*env=Sized or"):
            envs.make("given:Sized")
        env.close()
        assert not own.closed
        assert envs.make("given:Sized").unwrapped is own


@pytest.mark.parametrize("arguments", [{}, {"g": 9.5}, {"max_episode_steps": 7}, {"render_mode": "rgb_array"}])
def test_what_an_id_says_is_that_id(arguments: dict[str, Any]) -> None:
    read = given.read(gymnasium.make("Pendulum-v1", **arguments))
    arguments.pop("render_mode", None)
    assert read == given.Given("Pendulum-v1", kwargs=arguments)
    assert given.read("Pendulum-v1") == given.Given("Pendulum-v1")


def test_what_its_spec_says_is_made_again() -> None:
    env = gymnasium.wrappers.RescaleAction(gymnasium.make("Pendulum-v1"), np.float32(-1), np.float32(1))
    read = given.read(env)
    assert (read.name, read.single) == ("given:PendulumEnv", False)
    with given.lend(read):
        made = envs.make(read.name, render_mode="rgb_array")
    assert made.unwrapped is not env.unwrapped
    assert made.unwrapped.render_mode == "rgb_array"
    assert [type(each) for each in envs.factory.unwrap(made)[0]].count(gymnasium.wrappers.RescaleAction) == 1


def test_what_no_spec_can_say_is_used_itself() -> None:
    env = Odd(gymnasium.make("Pendulum-v1"))
    read = given.read(env)
    assert read.single
    with given.lend(read):
        assert envs.make(read.name).unwrapped is env.unwrapped


def test_only_where_it_is_lent() -> None:
    with pytest.raises(ConfigError, match=r"was a Python object, .*give it again in Python, lsp.load\(FOLDER, env="):
        envs.make(NAME)
    errors: list[str] = []

    def elsewhere() -> None:
        try:
            envs.make(NAME)
        except ConfigError as error:
            errors.append(str(error))

    with given.lend(given.read(Countdown)):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        with given.lend(None), pytest.raises(ConfigError, match="was a Python object"):
            envs.make(NAME)
        envs.make(NAME)
    assert len(errors) == 1


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (3, "^env=3: must be a name, a gymnasium environment, or a callable that returns one$"),
        (object(), "^env=<object.*>: must be a name"),
    ],
    ids=["number", "object"],
)
def test_what_is_no_environment(odd: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        given.read(odd)


def test_callables_that_make_none() -> None:
    one = Countdown()
    for maker, message in ((lambda: 3, "returned 3, which is no gymnasium.Env"), (lambda: 1 / 0, "cannot be made")):
        with given.lend(given.read(maker)), pytest.raises(ConfigError, match=message):
            envs.make("given:lambda")
    with given.lend(given.read(lambda: one)):
        envs.make("given:lambda")
        with pytest.raises(ConfigError, match="the same one twice"):
            envs.make("given:lambda")
