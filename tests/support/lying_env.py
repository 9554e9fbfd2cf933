"""An environment that lies on command: `--env=tests.support.lying_env:Lying --env-kwargs='{"what": "reward is None"}'`.

`WRONG` are the lies that must end in one line, each with words of that line; `RIGHT` those that must be used: the run
goes on as if the honest thing had been returned. Importing this imports no JAX, so that worker processes start fast.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box

OBSERVATION_DIM, ACTION_DIM = 125, 8  # the ant's, so that functions compiled for it serve here too


class Nameless(Exception):
    """Somebody's exception, whose text fails."""

    def __str__(self) -> str:
        raise ZeroDivisionError("no text")


class Unforeseen(BaseException):
    """Of a type that `except Exception` lets pass."""


class Lie(NamedTuple):
    """What is returned in place of the honest result of a call; or raised."""

    tell: Callable[[list[Any]], Any]  # [observation, reward, terminated, truncated, info], or [observation, info]
    says: tuple[str, ...] = ()  # words that the one line of error must have
    call: str = "step"


class Scalar:
    """A number of some other library: no NumPy, but `item` and `float`."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:  # test ids must not have addresses in them
        return f"Scalar({self.value!r})"

    def item(self) -> Any:
        return self.value

    def __float__(self) -> float:
        return float(self.value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.value, dtype)


def part(index: int, value: Callable[[Any], Any]) -> Callable[[list[Any]], tuple[Any, ...]]:
    """The honest result with one part replaced by a function of it; -1 is info, 0 the observation, in reset as well."""

    def tell(result: list[Any]) -> tuple[Any, ...]:
        result[index] = value(result[index])
        return tuple(result)

    return tell


def raising(error: Callable[[], BaseException]) -> Callable[[Any], Any]:
    def tell(result: Any) -> Any:
        raise error()

    return tell


def entry(index: int, value: Any, dtype: Any = None) -> Callable[[np.ndarray], np.ndarray]:
    """An observation with one entry replaced."""

    def changed(observation: np.ndarray) -> np.ndarray:
        copy = observation.astype(observation.dtype if dtype is None else dtype)
        copy[index] = value
        return copy

    return changed


OBSERVATIONS: dict[str, Lie] = {
    "observation is longer": Lie(part(0, lambda x: np.append(x, 0.0)), ("observation", "126", "125")),
    "observation is shorter": Lie(part(0, lambda x: x[:1]), ("observation", "125")),
    "observation is two rows": Lie(part(0, lambda x: np.stack([x, x])), ("observation", "(2, 125)", "125")),
    "observation is one number": Lie(part(0, lambda x: 0.5), ("observation", "125")),
    "observation is empty": Lie(part(0, lambda x: np.zeros(0)), ("observation", "125")),
    "observation is None": Lie(part(0, lambda x: None), ("observation", "None", "125")),
    "observation is text": Lie(part(0, lambda x: "far away"), ("observation", "far away", "125")),
    "observation is numbers as text": Lie(part(0, lambda x: x.astype(str)), ("observation", "125")),
    "observation is ragged": Lie(part(0, lambda x: [[1.0, 2.0], [3.0]]), ("observation", "125")),
    "observation is objects": Lie(part(0, entry(7, None, object)), ("observation", "7", "None")),
    "observation is a dict": Lie(part(0, lambda x: {"position": x}), ("observation", "125")),
    "observation is complex": Lie(part(0, lambda x: x * 1j), ("observation", "complex")),
    "observation has NaN": Lie(part(0, entry(7, np.nan)), ("observation", "entry 7", "nan")),
    "observation has infinity": Lie(part(0, entry(7, -np.inf)), ("observation", "entry 7", "-inf")),
    "observation is beyond float32": Lie(
        part(0, entry(7, 1e39, np.float64)), ("observation", "entry 7", "1e+39", "float32")
    ),
}
WRONG: dict[str, Lie] = {
    "reward is None": Lie(part(1, lambda r: None), ("reward", "None", "number")),
    "reward is two numbers": Lie(part(1, lambda r: np.array([r, r])), ("reward", "number")),
    "reward is an empty list": Lie(part(1, lambda r: []), ("reward", "[]", "number")),
    "reward is complex": Lie(part(1, lambda r: complex(r, 1.0)), ("reward", "number")),
    "reward is text": Lie(part(1, lambda r: "much"), ("reward", "much", "number")),
    "reward is a number as text": Lie(part(1, lambda r: "1.5"), ("reward", "1.5", "number")),
    "reward is a dict": Lie(part(1, lambda r: {"speed": r}), ("reward", "speed", "number")),
    "reward is an object": Lie(part(1, lambda r: object()), ("reward", "object", "number")),
    "reward is NaN": Lie(part(1, lambda r: np.float32("nan")), ("reward", "nan")),
    "reward is infinite": Lie(part(1, lambda r: -np.inf), ("reward", "-inf")),
    "reward is beyond float32": Lie(part(1, lambda r: -1e39), ("reward", "-1e+39", "float32")),
    "reward is beyond float64": Lie(part(1, lambda r: 10**400), ("reward", "float32")),
    "terminated is NaN": Lie(part(2, lambda _: np.nan), ("terminated", "nan")),
    "terminated is None": Lie(part(2, lambda _: None), ("terminated", "None")),
    "truncated is text": Lie(part(3, lambda _: "no"), ("truncated", "no")),
    "truncated is two": Lie(part(3, lambda _: np.zeros(2, bool)), ("truncated",)),
    **OBSERVATIONS,
    **{f"first {name}": lie._replace(call="reset") for name, lie in OBSERVATIONS.items()},
    "info is a list": Lie(part(-1, lambda _: [1.0]), ("info",)),
    "info is text": Lie(part(-1, lambda _: "fine"), ("info", "fine")),
    "step returns four values": Lie(lambda step: (step[0], step[1], False, {}), ("gym before 0.26",)),
    "step returns six values": Lie(lambda step: (*step, 0), ("6", "observation, reward, terminated, truncated, info")),
    "step returns None": Lie(lambda step: None, ("None", "observation, reward, terminated, truncated, info")),
    "reset returns the observation": Lie(lambda reset: reset[0], ("gym before 0.26", "reset"), "reset"),
    "reset returns None": Lie(lambda reset: None, ("None", "reset"), "reset"),
    "reset returns three values": Lie(lambda reset: (*reset, 0), ("reset", "observation, info"), "reset"),
    "raises": Lie(raising(lambda: RuntimeError("lost\nthe simulator")), ("RuntimeError", "lost the simulator")),
    "raises without a text": Lie(raising(lambda: AssertionError()), ("AssertionError", "lying_env.py")),
    "raises a text that fails": Lie(raising(Nameless), ("Nameless",)),
    "raises an unforeseen type": Lie(raising(lambda: Unforeseen("strange")), ("Unforeseen", "strange")),
    "exits": Lie(raising(lambda: SystemExit(3)), ("SystemExit", "3")),
    "stops iterating": Lie(raising(StopIteration), ("StopIteration",)),
    "exits in reset": Lie(raising(lambda: SystemExit("bye")), ("SystemExit", "bye", "reset"), "reset"),
    "raises in reset": Lie(raising(lambda: OSError(5, "no route")), ("no route", "reset"), "reset"),
    "raises in its constructor": Lie(raising(lambda: KeyError("assets")), ("KeyError", "assets"), "__init__"),
    "exits in its constructor": Lie(raising(lambda: SystemExit(4)), ("SystemExit", "4"), "__init__"),
}
RIGHT: dict[str, Lie] = {
    "honest": Lie(tuple),
    "reward is an array of one": Lie(part(1, lambda r: np.array([r]))),
    "reward is an array of shape (1, 1)": Lie(part(1, lambda r: np.array([[r]], np.float32))),
    "reward is a list of one": Lie(part(1, lambda r: [r])),
    "reward is a NumPy scalar": Lie(part(1, np.float16)),
    "reward is a whole number": Lie(part(1, lambda r: 1)),
    "reward is a truth value": Lie(part(1, lambda r: np.bool_(True))),
    "reward is another library's": Lie(part(1, Scalar)),
    "terminated is NumPy's": Lie(part(2, np.bool_)),
    "terminated is an array of one": Lie(part(2, lambda ended: np.array([ended]))),
    "truncated is 0 or 1": Lie(part(3, int)),
    "truncated is a list of one": Lie(part(3, lambda ended: [ended])),
    "observation is float64": Lie(part(0, lambda x: x.astype(np.float64))),
    "observation is a list": Lie(part(0, np.ndarray.tolist)),
    "observation is a column": Lie(part(0, lambda x: x[:, None])),
    "observation is a row": Lie(part(0, lambda x: x[None])),
    "observation is numbers as objects": Lie(part(0, lambda x: x.astype(object))),
    "observation is another library's": Lie(part(0, Scalar)),
    "step returns a list": Lie(list),
    "reset returns a list": Lie(list, call="reset"),
    "info is None": Lie(part(-1, lambda _: None)),
    "first info is None": Lie(part(-1, lambda _: None), call="reset"),
    "info is another mapping": Lie(part(-1, lambda _: MappingProxyType({"speed": 0.5}))),
    "info has numbers for keys": Lie(part(-1, lambda _: {0: 1.5, None: 2.5, (1, 2): 3.5})),
    "info has keys with a dollar": Lie(part(-1, lambda _: {"$profit": 1.5, "$array": 2.5, "$$": 3.5, "": 4.5})),
    "info has no numbers": Lie(part(-1, lambda _: {"a": None, "b": "text", "c": {"d": 1.0}, "e": object(), "f": [1]})),
    "success is None": Lie(part(-1, lambda _: {"is_success": None})),
    "success is an array of one": Lie(part(-1, lambda _: {"is_success": np.array([True])})),
    "success is text": Lie(part(-1, lambda _: {"is_success": "yes"})),
    "success is nested": Lie(part(-1, lambda _: {"is_success": {"goal": True}})),
    "success is an array of two": Lie(part(-1, lambda _: {"is_success": np.array([True, False])})),
    "close raises": Lie(raising(lambda: RuntimeError("already gone")), call="close"),
    "close exits": Lie(raising(lambda: SystemExit(5)), call="close"),
}
"""Lies of `close` are said in a line and do no harm."""


class Lying(gymnasium.Env[Any, Any]):
    """From the call number `at` on, it does what `what` says; before that it is an honest toy of `limit` steps.

    Calls are counted over all episodes, from 1, those of `step` and of `reset` each by themselves. So in the first
    episode `at=1` is the first step, and `at=limit` the last. `what` of another call than `step` is told there. `only`
    is the number of the one that lies among those that a process makes, from 0 and since `made` was last put back.
    """

    made: ClassVar[int] = 0

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}
    observation_space = Box(-np.inf, np.inf, (OBSERVATION_DIM,), np.float32)
    action_space = Box(-1.0, 1.0, (ACTION_DIM,), np.float32)

    def __init__(
        self,
        what: str = "honest",
        at: int = 1,
        limit: int = 20,
        only: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.lie = (WRONG | RIGHT)[what if only in (None, Lying.made) else "honest"]
        Lying.made += 1
        self.at, self.limit, self.render_mode = at, limit, render_mode
        self.calls = {"__init__": at - 1, "reset": 0, "step": 0, "close": at - 1}
        self.steps = 0  # in this episode
        self.state = np.zeros(OBSERVATION_DIM)
        self._say("__init__", [])

    def _say(self, call: str, result: list[Any]) -> Any:
        self.calls[call] += 1
        return self.lie.tell(result) if self.lie.call == call and self.calls[call] >= self.at else tuple(result)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps, self.state = 0, self.np_random.uniform(-1.0, 1.0, OBSERVATION_DIM)
        return self._say("reset", [self.state.astype(np.float32), {}])

    def step(self, action: np.ndarray) -> Any:
        assert action in self.action_space
        self.steps += 1
        self.state = 0.9 * self.state + 0.1 * float(np.mean(action))
        reward = -float(np.mean(self.state**2))
        result = [self.state.astype(np.float32), reward, False, self.steps >= self.limit, {"speed": 0.5}]
        return self._say("step", result)

    def render(self) -> np.ndarray:
        return np.zeros((64, 64, 3), np.uint8)

    def close(self) -> None:
        self._say("close", [])
