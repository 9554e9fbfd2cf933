"""Fields by dotted name: text and JSON come in as their types, or not at all."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from lsp.config import schema
from lsp.config.schema import BelowOne, ConfigError, Count, Fraction, Natural, NonNegative, Positive, PositiveOrInf


@dataclass(frozen=True)
class Inner:
    rate: Positive = 0.5
    sizes: tuple[Count, ...] = (3, 4)


@dataclass(frozen=True)
class Outer:
    title: str = "x"
    on: bool = False
    inner: Inner = field(default_factory=Inner)
    color: Literal["red", "green"] = "red"


def test_kinds_are_in_the_order_of_declaration() -> None:
    assert list(schema.kinds(Outer)) == ["title", "on", "inner.rate", "inner.sizes", "color"]


def test_build_inverts_flatten() -> None:
    record = Outer("a,b", True, Inner(1e-300, (7,)), "green")
    assert schema.build(Outer, schema.flatten(record)) == record
    assert schema.flatten(record)["inner.sizes"] == (7,)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("1_000_000", Count, 1_000_000),
        ("1e5", Count, 100_000),
        ("1E+05", Count, 100_000),
        ("300k", Count, 300_000),
        ("1.5M", Count, 1_500_000),
        ("0k", Natural, 0),
        ("-2_0k", int, -20_000),
        ("300k,1e0", tuple[Count, ...], (300_000, 1)),
        (5, Natural, 5),
        ("0", Natural, 0),
        (2, Positive, 2.0),
        ("1e-3", Positive, 0.001),
        ("inf", PositiveOrInf, math.inf),
        ("0", NonNegative, 0.0),
        ("0", BelowOne, 0.0),
        ("1", Fraction, 1.0),
        ("-0.5", float, -0.5),
        ("-7", int, -7),
        ("false", bool, False),
        ("True", bool, True),
        (True, bool, True),
        ("red", Literal["red", "green"], "red"),
        ("256,128", tuple[Count, ...], (256, 128)),
        ([256, 128], tuple[Count, ...], (256, 128)),
        ("256", tuple[Count, ...], (256,)),
        (5, tuple[Count, ...], (5,)),
        ("red,green", tuple[Literal["red", "green"], ...], ("red", "green")),
        ("any, text", str, "any, text"),
    ],
)
def test_convert(value: Any, kind: Any, expected: Any) -> None:
    converted = schema.convert("x", value, kind)
    assert converted == expected
    assert type(converted) is type(expected)
    assert schema.convert("x", schema.to_text(converted), kind) == converted


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("0", Count, "--a.b-c=0: must be a whole number from 1 to 2147483647"),
        (2**31, Count, "--a.b-c=2147483648: must be a whole number from 1 to 2147483647"),
        ("1.5", Count, "--a.b-c=1.5: must be a whole number from 1 to 2147483647"),
        (1.5, Count, "--a.b-c=1.5: must be a whole number from 1 to 2147483647"),
        (True, Count, "--a.b-c=true: must be a whole number from 1 to 2147483647"),
        (None, Count, "--a.b-c=None: must be a whole number from 1 to 2147483647"),
        ("1.2345k", Count, "--a.b-c=1.2345k: must be a whole number from 1 to 2147483647"),
        ("1e-3", Count, "--a.b-c=1e-3: must be a whole number from 1 to 2147483647"),
        ("1__0k", Count, "--a.b-c=1__0k: must be a whole number from 1 to 2147483647"),
        ("3G", Count, "--a.b-c=3G: must be a whole number from 1 to 2147483647"),
        ("3000M", Count, "--a.b-c=3000M: must be a whole number from 1 to 2147483647"),
        (100_000.0, Count, "--a.b-c=100000.0: must be a whole number from 1 to 2147483647"),
        ("1,000", Count, "--a.b-c=1,000: must be a whole number from 1 to 2147483647; write it without commas"),
        ("-1", Natural, "--a.b-c=-1: must be a whole number from 0 to 2147483647"),
        ("x", int, "--a.b-c=x: must be a whole number"),
        ("nan", float, "--a.b-c=nan: must be a finite number"),
        ("inf", Positive, "--a.b-c=inf: must be a finite number above 0"),
        ("0", Positive, "--a.b-c=0: must be a finite number above 0"),
        ("0", PositiveOrInf, "--a.b-c=0: must be a number above 0, or inf"),
        ("-1e-9", NonNegative, "--a.b-c=-1e-9: must be a finite number, 0 or more"),
        ("1", BelowOne, "--a.b-c=1: must be a number in [0, 1)"),
        ("0", Fraction, "--a.b-c=0: must be a number in (0, 1]"),
        ("", Positive, "--a.b-c=: must be a finite number above 0"),
        ("yes", bool, "--a.b-c=yes: must be true or false"),
        ("gren", Literal["red", "green"], "--a.b-c=gren: must be red or green; did you mean green?"),
        ("xyz", Literal["red", "green"], "--a.b-c=xyz: must be red or green"),
        ("3,x", tuple[Count, ...], "--a.b-c=x: must be a whole number from 1 to 2147483647"),
        ([], tuple[Count, ...], "--a.b-c is empty: must be one or more values, separated by commas"),
        ("", tuple[Count, ...], "--a.b-c=: must be a whole number from 1 to 2147483647"),
    ],
)
def test_convert_refuses(value: Any, kind: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        schema.convert("a.b_c", value, kind)
    assert str(caught.value) == message


@pytest.mark.parametrize("kind", [Positive, PositiveOrInf, NonNegative, BelowOne, Fraction, float])
def test_no_number_may_be_nan(kind: Any) -> None:
    with pytest.raises(ConfigError, match="=nan: must be"):
        schema.convert("x", math.nan, kind)


def test_choose_names_the_nearest() -> None:
    assert schema.choose("agent", "b", {"a": 1, "b": 2}) == 2
    with pytest.raises(ConfigError, match=r"^--agent=prioritised: must be sac_lsp or prioritized; did you mean prior"):
        schema.choose("agent", "prioritised", {"sac_lsp": 1, "prioritized": 2})


def test_one_of() -> None:
    assert [schema.one_of(options) for options in ("a", "ab", "abc")] == ["a", "a or b", "a, b or c"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Count, "a whole number from 1 to 2147483647"),
        (float, "a finite number"),
        (str, "text"),
        (bool, "true or false"),
        (Literal["red", "green", "blue"], "red, green or blue"),
        (tuple[Fraction, ...], "one or more, separated by commas, each a number in (0, 1]"),
        (tuple[Literal["red", "green"], ...], "one or more, separated by commas, each red or green"),
    ],
)
def test_what_a_field_may_hold(kind: Any, words: str) -> None:
    assert schema.describe(kind) == words
