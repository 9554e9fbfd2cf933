"""The runs of a grid: every combination of the flags on its command line, or the arms of a programme."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lsp import cli
from lsp.config import ConfigError
from lsp.grid import programme

SUFFIX = ".toml"  # of a programme


class GridRun(NamedTuple):
    """A run of the grid: one combination of flags."""

    name: str  # of its folder; of a seed of an arm ARM/seed_SEED
    flags: list[str]
    steps: int


class Grid(NamedTuple):
    """What a command line asks for."""

    folder: Path
    runs: list[GridRun]  # in the order in which they are due; one may come again later, with more steps
    own: dict[str, str]  # the values of the grid's own flags

    @property
    def arms(self) -> list[str]:
        """Folders that hold runs that are compared, in the order in which they are given."""
        return list(dict.fromkeys(run.name.partition("/")[0] for run in self.runs))


def plan(arguments: Sequence[str], own: Mapping[str, str]) -> Grid:
    """The grid of a command line, every run of it checked.

    Args:
      arguments: flags of `lsp.run` as --FLAG=VALUE, varied where given several times; @FILE stands for those in a file.
        Or, first, a programme (`lsp.grid.programme`); flags then stand in place of its own.
      own: the grid's own flags and their defaults.

    Raises ConfigError.
    """
    files = [argument for argument in arguments if argument.endswith(SUFFIX) and argument[0] not in "-@"]
    texts = _by_flag(itertools.chain.from_iterable(_expand(each) for each in arguments if each not in files))
    if "--resume" in texts:
        raise ConfigError("--resume: the same command again, with the same --name, resumes a grid")
    if len(files) > 1:
        raise ConfigError(f"one programme at a time: {files[1]} is a second one")
    mine = {flag: _own(texts.pop(flag, []), default) for flag, default in own.items()}
    name, runs_dir = (_once(texts.pop(flag, [])) for flag in ("--name", "--runs-dir"))
    name = name or (Path(files[0]).stem if files else "")
    if not name:
        raise ConfigError("a grid needs --name=NAME, which also resumes it")
    runs = _of_programme(programme.read(Path(files[0])), texts) if files else _of_flags(texts)
    return Grid(Path(runs_dir or "runs") / name, runs, mine)


def _by_flag(arguments: Iterator[str] | Sequence[str]) -> dict[str, list[str]]:
    """The arguments that give each flag."""
    texts: dict[str, list[str]] = {}
    for argument in arguments:
        if not argument.startswith("--"):
            raise ConfigError(f"unexpected {argument!r}: write flags as --FLAG=VALUE; see --help")
        texts.setdefault(argument.partition("=")[0], []).append(argument)
    return texts


def _of_flags(texts: Mapping[str, list[str]]) -> list[GridRun]:
    return [GridRun(label or "run", flags, cli.parse(flags).config.steps) for label, flags in _combinations(texts)]


def _combinations(texts: Mapping[str, list[str]]) -> list[tuple[str, list[str]]]:
    """Every combination of flags, and what to call it: the flags that are given several times."""
    varied = {flag for flag, given in texts.items() if len(given) > 1}
    found = []
    for flags in map(list, itertools.product(*texts.values())):
        label = [flag.removeprefix("--") for flag in flags if flag.partition("=")[0] in varied]
        found.append(("__".join(label).replace("/", "-"), flags))
    if len({label for label, _ in found}) < len(found):
        raise ConfigError(f"a value is given twice to one of {', '.join(sorted(varied))}")
    return found


def _of_programme(arms: Sequence[programme.Arm], texts: Mapping[str, list[str]]) -> list[GridRun]:
    """The runs of all arms, with the flags of a command line in place of their own.

    Up to the first number of steps, one seed of every arm, and then the next: cut short, a programme has the same of
    each arm.
    """
    given = list(itertools.chain.from_iterable(texts.values()))
    due = [each for arm in arms for each in _of_arm(arm, given)]
    return [run for _, run in sorted(due, key=lambda each: each[0])]


def _of_arm(arm: programme.Arm, given: list[str]) -> Iterator[tuple[tuple[int, int], GridRun]]:
    """Its runs, each with when it is due: the number of steps, and the seed, both counted from 0."""
    flags = programme.replaced(arm.flags, given)
    parts = [f"--steps={steps}" for steps in arm.steps] if "--steps" not in map(programme.flag_of, given) else []
    for part, steps in enumerate(parts or [""]):
        for label, combination in _combinations(_by_flag([*flags, steps] if steps else flags)):
            name = f"{arm.name}__{label}" if label else arm.name
            for number, run in enumerate(_of_seeds(arm, name, combination)):
                yield (part, number), run


def _of_seeds(arm: programme.Arm, name: str, flags: list[str]) -> Iterator[GridRun]:
    try:
        command = cli.parse(flags)
    except ConfigError as error:
        raise ConfigError(f"arm {arm.name}: {error}") from error
    if arm.together or not command.seeds:
        yield GridRun(name, flags, command.config.steps)
        return
    shared = programme.without(flags, {"--seed", "--seeds"})
    for seed in command.seeds:
        yield GridRun(f"{name}/seed_{seed}", [*shared, f"--seed={seed}"], command.config.steps)


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


def _own(arguments: Sequence[str], default: str) -> str:
    """The value of one of the grid's flags; of a switch that is given, its name."""
    return _once(arguments) or (arguments[0] if arguments else default)
