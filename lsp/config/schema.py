"""Dataclasses as flat dictionaries: fields by dotted name, their values read from text or JSON and checked.

A field's type says what it may hold: a `Literal` one of its choices, a `Count` a whole number from 1, a `Positive` a
number above 0. The command line, `config.json` and dataclasses built by hand are all read by `convert`.
"""

import dataclasses
import difflib
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")
PROGRAM = "python -m lsp.run"


class ConfigError(ValueError):
    """A configuration that cannot run. The message is one line that names the field and its value."""


class Fault(RuntimeError):
    """Something that went wrong on the way and that a person can mend. The message is one line."""


class Rule(NamedTuple):
    """What a value must be: in words, and as a test of the converted value."""

    text: str
    holds: Callable[[Any], bool]


# Steps and rows are counted in int32 on the device.
Count = Annotated[int, Rule("a whole number from 1 to 2147483647", lambda value: 1 <= value < 2**31)]
AtLeastTwo = Annotated[int, Rule("a whole number from 2 to 2147483647", lambda value: 2 <= value < 2**31)]
Natural = Annotated[int, Rule("a whole number from 0 to 2147483647", lambda value: 0 <= value < 2**31)]
Positive = Annotated[float, Rule("a finite number above 0", lambda value: 0 < value < math.inf)]
PositiveOrInf = Annotated[float, Rule("a number above 0, or inf", lambda value: value > 0)]
Extended = Annotated[float, Rule("a number, inf or -inf", lambda value: not math.isnan(value))]
NonNegative = Annotated[float, Rule("a finite number, 0 or more", lambda value: 0 <= value < math.inf)]
AtLeastOne = Annotated[float, Rule("a finite number, 1 or more", lambda value: 1 <= value < math.inf)]
UpToOne = Annotated[float, Rule("a number in [0, 1]", lambda value: 0 <= value <= 1)]
BelowOne = Annotated[float, Rule("a number in [0, 1)", lambda value: 0 <= value < 1)]
Fraction = Annotated[float, Rule("a number in (0, 1]", lambda value: 0 < value <= 1)]

_PLAIN = {
    int: Rule("a whole number", lambda _: True),
    float: Rule("a finite number", math.isfinite),
    str: Rule("text", lambda _: True),
}
_BOOLEANS = {"true": True, "false": False}
_POWERS = {"k": 3, "m": 6}
_SCALED = re.compile(r"(?P<number>[+-]?\d+(_\d+)*(\.\d+)?)(e\+?(?P<power>\d{1,2})|(?P<suffix>[km]))", re.IGNORECASE)


def kinds(record: type, prefix: str = "") -> dict[str, Any]:
    """Dotted name to type of every field of a dataclass, those of dataclasses inside it included."""
    found: dict[str, Any] = {}
    for name, kind in get_type_hints(record, include_extras=True).items():
        found |= kinds(kind, f"{prefix}{name}.") if _is_group(kind) else {f"{prefix}{name}": kind}
    return found


def _is_group(kind: Any) -> bool:
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def flatten(record: Any) -> dict[str, Any]:
    """Dotted name to value of every field of a dataclass."""
    return {name: operator.attrgetter(name)(record) for name in kinds(type(record))}


def build(record: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """Inverse of `flatten`, from values that `convert` can read. Raises ConfigError."""

    def read(name: str, kind: Any) -> Any:
        return build(kind, values, f"{name}.") if _is_group(kind) else convert(name, values[name], kind)

    hints = get_type_hints(record, include_extras=True)
    return record(**{name: read(f"{prefix}{name}", kind) for name, kind in hints.items()})


def convert(name: str, value: Any, kind: Any) -> Any:
    """`value`, JSON or text (a tuple's with commas), as the type `kind` of the field `name`. Raises ConfigError."""
    base, *rules = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    if get_origin(base) is tuple:
        items = value if isinstance(value, list | tuple) else str(value).split(",")
        if not items:
            raise ConfigError(f"{flag(name)} is empty: must be one or more values, separated by commas")
        return tuple(convert(name, item, get_args(base)[0]) for item in items)
    text = to_text(value)
    if base is bool:
        return choose(name, text.lower(), _BOOLEANS)
    if get_origin(base) is Literal:
        return choose(name, text, {choice: choice for choice in get_args(base)})
    rule = rules[0] if rules else _PLAIN[base]
    try:
        converted = whole(text) if base is int else base(text)
        holds = rule.holds(converted)
    except ValueError:
        holds = False
    if not holds:
        remedy = "; write it without commas" if base is int and re.fullmatch(r"[\d,]*\d", text) and "," in text else ""
        raise ConfigError(f"{flag(name)}={text}: must be {rule.text}{remedy}")
    return converted


def describe(kind: Any) -> str:
    """What a field of the type `kind` may hold, in words: what `convert` accepts."""
    base, *rules = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    if get_origin(base) is tuple:
        return f"one or more, separated by commas, each {describe(get_args(base)[0])}"
    choices = tuple(_BOOLEANS) if base is bool else get_args(base)
    return one_of(choices) if choices else (rules[0] if rules else _PLAIN[base]).text


def whole(text: str) -> int:
    """The whole number that `text` writes: 1000000, 1_000_000, 1e6, 1000k or 1M.

    Only exactly: 1.5k is 1500, and 1.5 no whole number. Raises ValueError.
    """
    scaled = _SCALED.fullmatch(text.strip())
    if scaled is None:
        return int(text)
    power = int(scaled["power"] or 0) or _POWERS.get((scaled["suffix"] or "").lower(), 0)
    number = Decimal(scaled["number"]).scaleb(power)
    if number != number.to_integral_value():
        raise ValueError(f"{text} is not a whole number")
    return int(number)


def choose(name: str, text: str, choices: Mapping[str, T]) -> T:
    """The choice that `text` names. Raises ConfigError with all of them and the nearest."""
    if text in choices:
        return choices[text]
    near = nearest(text, choices)
    remedy = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(f"{flag(name)}={text}: must be {one_of(choices)}{remedy}")


def nearest(text: str, options: Iterable[str]) -> list[str]:
    """The option spelled most like `text`; none where nothing comes near."""
    return difflib.get_close_matches(text, options, n=1, cutoff=0.6)


def one_of(options: Iterable[str]) -> str:
    """`a, b or c`."""
    *most, last = options
    return f"{', '.join(most)} or {last}" if most else last


def flag(name: str) -> str:
    """The command-line flag of a field."""
    return f"--{name.replace('_', '-')}"


def to_text(value: Any) -> str:
    """`value` as one would type it after its flag; inverse of `convert`."""
    if isinstance(value, list | tuple):
        return ",".join(map(to_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
