"""Values of every kind: the number or truth in them, or one line that says what is wrong."""

import re
from collections import UserDict
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from lsp.envs import checks
from lsp.envs.checks import Misfit
from tests.support.lying_env import Nameless, Scalar


class Wordy:
    def __repr__(self) -> str:
        return "many\nlines " * 100


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    "value",
    [
        2,
        2.0,
        np.float32(2),
        np.int8(2),
        np.array(2),
        np.array([[[2.0]]]),
        [2],
        [[np.array([2])]],
        (2.0,),
        Scalar(2),
        Scalar(np.array([2.0])),
        Decimal(2),
        Fraction(4, 2),
    ],
    ids=repr,
)
def test_one_number(value: Any) -> None:
    found = checks.number("reward", value)
    assert found == 2.0
    assert type(found) is float


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "reward None"),
        ([1, 2], "reward [1, 2]"),
        ([[]], "reward [[]]"),
        ("2", "reward '2'"),
        (["2"], "reward ['2']"),
        (b"2", "reward b'2'"),
        (np.array("2"), "reward array('2'"),
        (2j, "reward 2j"),
        (np.complex64(2), "reward np.complex64(2+0j)"),
        (np.datetime64("2020-01-01"), "reward np.datetime64('2020-01-01')"),
        ({1: 2}, "reward {1: 2}"),
        (np.array([None]), "reward array([None]"),
        (Wordy(), "reward many lines many lines"),
        (Mute(), "reward an object of Mute"),
    ],
    ids=checks.shown,
)
def test_no_number(value: Any, message: str) -> None:
    with pytest.raises(Misfit) as caught:
        checks.number("reward", value)
    assert caught.value.what.startswith(message)
    assert len(caught.value.what) < 100
    assert "\n" not in caught.value.what
    assert caught.value.wanted == "it must be one number"


@pytest.mark.parametrize("value", [3.5e38, -1e39, np.float64(1e300), 10**400, -(10**5000), [1e39]], ids=lambda _: "")
def test_numbers_that_float32_does_not_hold(value: Any) -> None:
    with pytest.raises(Misfit) as caught:
        checks.number("reward", value)
    assert caught.value.wanted.startswith("float32, in which training computes, holds numbers up to 3.4e+38")


def test_the_largest_number_passes() -> None:
    assert checks.number("reward", np.finfo(np.float32).max) == checks.LARGEST


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (np.bool_(False), False), (np.array([True]), True), ([0], False), (1.0, True), (Scalar(0), False)],
    ids=repr,
)
def test_one_truth(value: Any, expected: bool) -> None:
    assert checks.truth("terminated", value) is expected


@pytest.mark.parametrize("value", [None, "no", np.nan, [True, False], [], {}, 1j], ids=repr)
def test_no_truth(value: Any) -> None:
    with pytest.raises(Misfit, match=r"terminated ") as caught:
        checks.truth("terminated", value)
    assert caught.value.wanted == "it must be True or False"


def test_info() -> None:
    assert checks.info(None) == {}
    assert checks.info(UserDict(a=1)) == {"a": 1}
    assert checks.info({1: "number", "1": "text", None: 2, Wordy(): 3}).keys() >= {"1", "None"}
    assert checks.info({1: "number", "1": "text"}) == {"1": "text"}
    assert all(type(key) is str for key in checks.info({Mute(): 1, 2.5: 2, ("a", 1): 3}))
    with pytest.raises(Misfit, match=re.escape("info [1]")):
        checks.info([1])


@pytest.mark.parametrize(
    ("result", "what", "wanted"),
    [
        ((1, 2.0, False, {}), "four values", "gym before 0.26"),
        ([1, 2.0, False, {}], "four values", "return observation, reward, terminated, truncated, info"),
        ((1, 2.0), "2 values", "return observation, reward"),
        (None, "None", "return observation, reward"),
        (np.zeros(5), "array([0., 0., 0., 0., 0.])", "return observation, reward"),
    ],
    ids=repr,
)
def test_results_of_a_step(result: Any, what: str, wanted: str) -> None:
    with pytest.raises(Misfit) as caught:
        checks.step_result(result)
    assert caught.value.what == what
    assert wanted in caught.value.wanted
    assert checks.step_result([1, 2, 3, 4, 5]) == (1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("result", "what", "old"),
    [
        (np.zeros(3), "the observation alone", True),
        (np.zeros(2), "the observation alone", True),
        ([1.0, 2.0], "the observation alone", True),
        ({"observation": 1}, "the observation alone", True),
        (0.5, "the observation alone", True),
        (None, "None", False),
        ((1, 2, {}), "3 values", False),
        ((np.zeros(3), "fine"), "info 'fine'", False),
    ],
    ids=repr,
)
def test_results_of_a_reset(result: Any, what: str, old: bool) -> None:
    with pytest.raises(Misfit) as caught:
        checks.reset_result(result)
    assert caught.value.what == what
    assert ("gym before 0.26" in caught.value.wanted) == old
    assert "return observation, info" in caught.value.wanted
    assert checks.reset_result([1, None]) == (1, None)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("two\n\tlines"), "ValueError: two lines"),
        (SystemExit(), "SystemExit (test_checks.py, line "),
        (AssertionError(), "AssertionError (test_checks.py, line "),
        (Nameless(), "Nameless (test_checks.py, line "),
        (ExceptionGroup("several", [KeyError(1)]), "ExceptionGroup: several (1 sub-exception)"),
        (RuntimeError("x" * 9000), "RuntimeError: xxx"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_in_one_line(error: BaseException, text: str) -> None:
    try:
        raise error
    except BaseException as caught:
        told = checks.told(caught)
    assert told.startswith(text)
    assert len(told) < 600
    assert checks.told(type(error)("a", [error]) if isinstance(error, ExceptionGroup) else AssertionError())


def test_what_an_error_is_about() -> None:
    options = None
    with pytest.raises(AssertionError) as caught:
        assert options is not None
    assert checks.is_about(caught.value, "options")
    assert not checks.is_about(caught.value, "weather")
    assert not checks.is_about(SystemExit("options"), "options")
