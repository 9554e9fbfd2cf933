"""A programme of runs as a TOML file: arms that are compared, each with its flags, and the seeds of all.

    flags = "--agent=sac_lsp --steps=300_000"
    seeds = "1:6"

    [arms]
    mse = ""
    huber = "--critic.loss=huber"
    grown = {flags = "--layers=2 --layer-steps=200_000,100_000", seeds = 3}

What stands above `[arms]` is of every arm that does not say otherwise. `python -m lsp.grid --help` explains the keys.
"""

import re
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lsp.config import ConfigError, schema

KEYS = {"flags": str, "seeds": (int, str), "steps": (int, list), "together": bool}
RULES = {
    "flags": "flags of lsp.run in one text",
    "seeds": 'a count such as 5, or a text such as "1:6" or "3,5,7"',
    "steps": "a number of environment steps, or a list of such numbers, each above the one before",
    "together": "true or false",
}
NAME = re.compile(r"[\w.,=+-]*\w[\w.,=+-]*")
FORM = "letters, digits and - _ . , = + make the name of its folder"


class Arm(NamedTuple):
    """Runs that differ by their seed alone, or by flags that are given several times."""

    name: str
    flags: list[str]  # each as --FLAG or --FLAG=VALUE; `seeds` among them
    steps: tuple[int, ...]  # up to which all runs are brought in turn; empty: what the flags say
    together: bool  # whether the seeds train in one process


def read(path: Path) -> list[Arm]:
    """The arms of a programme, in order. Raises ConfigError."""
    try:
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValueError as error:  # of TOML, or of its encoding
        raise ConfigError(f"{path} is not TOML: {error}") from error
    arms = table.pop("arms", {})
    _check(f"{path}", table, ["arms", *KEYS])
    if not isinstance(arms, dict) or not arms:
        raise ConfigError(f'{path} has no arms: write a line such as huber = "--critic.loss=huber" below [arms]')
    return [_arm(f"{path}: arm {name}", name, table, each) for name, each in arms.items()]


def _arm(where: str, name: str, shared: Mapping[str, Any], given: Any) -> Arm:
    if not NAME.fullmatch(name):
        raise ConfigError(f"{where}: {FORM}")
    own = {"flags": given} if isinstance(given, str) else given
    if not isinstance(own, dict):
        raise ConfigError(f"{where}: must be {RULES['flags']}, or a table of {schema.one_of(KEYS)}")
    _check(where, own, list(KEYS))
    flags = replaced(_split(where, shared.get("flags", "")), _split(where, own.get("flags", "")))
    seeds, steps, together = (own.get(key, shared.get(key)) for key in ("seeds", "steps", "together"))
    for key, value in (("seeds", seeds), ("steps", steps)):
        if value is not None and f"--{key}" in map(flag_of, flags):
            raise ConfigError(f"{where}: {key} is given twice, as {key} = ... and as --{key} among the flags")
    if seeds is not None:
        flags.append(f"--seeds={seeds}")
    parts: list[int] = steps if isinstance(steps, list) else [steps] if steps else []
    return Arm(name, flags, tuple(parts), bool(together))


def _check(where: str, table: Mapping[str, Any], known: list[str]) -> None:
    for key, value in table.items():
        if key not in known:
            near = schema.nearest(key, known)
            remedy = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"{where}: unknown key {key}: {remedy}")
        if not _fits(key, value):
            raise ConfigError(f"{where}: {key} must be {RULES[key]}")


def _fits(key: str, value: Any) -> bool:
    if not isinstance(value, KEYS[key]) or (isinstance(value, bool) and key != "together"):  # type: ignore[arg-type]
        return False
    if key != "steps":
        return True
    steps = value if isinstance(value, list) else [value]
    numbers = bool(steps) and all(type(each) is int and each > 0 for each in steps)
    return numbers and steps == sorted(set(steps))


def _split(where: str, text: str) -> list[str]:
    """The flags of a text, as a shell would split it; comments are left out."""
    try:
        words = shlex.split(text, comments=True)
    except ValueError as error:
        raise ConfigError(f"{where}: flags cannot be read: {error}") from error
    for word in words:
        if not word.startswith("--"):
            raise ConfigError(f"{where}: unexpected {word!r} among the flags: write --FLAG=VALUE")
    return words


def flag_of(argument: str) -> str:
    """The flag without its value, spelled one way; a switch and its `--no-` form are one flag."""
    return re.sub(r"(--|\.)no-", r"\1", argument.partition("=")[0].replace("_", "-"), count=1)


def replaced(flags: list[str], by: list[str]) -> list[str]:
    """`flags` without those that are in `by`, too, and then these."""
    return [*without(flags, {flag_of(flag) for flag in by}), *by]


def without(flags: list[str], names: set[str]) -> list[str]:
    """`flags` but those of these names."""
    return [flag for flag in flags if flag_of(flag) not in names]
