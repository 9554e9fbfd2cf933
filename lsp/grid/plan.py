"""The runs of a grid: every combination of the flags on its command line."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lsp import cli
from lsp.config import ConfigError


class GridRun(NamedTuple):
    """A run of the grid: one combination of flags."""

    name: str  # of its folder
    flags: list[str]
    steps: int


class Grid(NamedTuple):
    """What a command line asks for."""

    folder: Path
    runs: list[GridRun]
    own: dict[str, str]  # the values of the grid's own flags


def plan(arguments: Sequence[str], own: Mapping[str, str]) -> Grid:
    """The grid of a command line, every run of it checked.

    Args:
      arguments: flags of `lsp.run` as --FLAG=VALUE, varied where given several times; @FILE stands for those in a file.
      own: the grid's own flags and their defaults.

    Raises ConfigError.
    """
    texts: dict[str, list[str]] = {}
    for argument in itertools.chain.from_iterable(map(_expand, arguments)):
        if not argument.startswith("--"):
            raise ConfigError(f"unexpected {argument!r}: write flags as --FLAG=VALUE; see --help")
        texts.setdefault(argument.partition("=")[0], []).append(argument)
    if "--resume" in texts:
        raise ConfigError("--resume: the same command again, with the same --name, resumes a grid")
    mine = {flag: _once(texts.pop(flag, [])) or default for flag, default in own.items()}
    name, runs_dir = (_once(texts.pop(flag, [])) for flag in ("--name", "--runs-dir"))
    if not name:
        raise ConfigError("a grid needs --name=NAME, which also resumes it")
    varied = {flag for flag, given in texts.items() if len(given) > 1}
    runs = []
    for flags in map(list, itertools.product(*texts.values())):
        label = [flag.removeprefix("--") for flag in flags if flag.partition("=")[0] in varied]
        runs.append(GridRun("__".join(label).replace("/", "-") or "run", flags, cli.parse(flags).config.steps))
    if len({run.name for run in runs}) < len(runs):
        raise ConfigError(f"a value is given twice to one of {', '.join(sorted(varied))}")
    return Grid(Path(runs_dir or "runs") / name, runs, mine)


def _expand(argument: str) -> list[str]:
    if not argument.startswith("@"):
        return [argument]
    try:
        lines = [line.strip() for line in Path(argument[1:]).read_text().splitlines()]
    except OSError as error:
        raise ConfigError(f"{argument}: {error.strerror}") from error
    return [line for line in lines if line and not line.startswith("#")]


def _once(arguments: Sequence[str]) -> str:
    """The value of a flag that cannot be varied; empty where it is not given."""
    if len(arguments) > 1:
        raise ConfigError(f"{arguments[0].partition('=')[0]} is given {len(arguments)} times: it cannot be varied")
    return arguments[0].partition("=")[2] if arguments else ""
