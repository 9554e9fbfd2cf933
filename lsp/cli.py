"""Reading the command line of `lsp.run`: flags over a preset, and the help page.

The agent and the preset are read first, and everything else with their values as defaults, so that `--help` shows what
would run. That page comes from the dataclasses and their docstrings. Values are read by `lsp.config.schema`, as those
of `config.json` are, so that bad input ends in one line with the nearest right name.
"""

import ast
import inspect
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, is_dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from lsp.agents import AGENTS, presets
from lsp.config import Config, ConfigError, from_dict, habits, schema, shorten, stages, to_dict, validate
from lsp.config.schema import PROGRAM as PROGRAM

COUNTS = "whole numbers may be written 1_000_000, 1e6, 1000k or 1M"


@dataclass(frozen=True)
class RunOptions:
    """What the command line says beside the configuration."""

    name: str = ""
    """Name of the run's folder; where it is empty, ENV__AGENT__sSEED__DATE-TIME."""
    runs_dir: str = "runs"
    """Folder of all runs."""
    seeds: str = ""
    """Train many seeds at once, in one process, into a folder each: 8 (seeds --seed to --seed + 7), 0:64 (0 to 63) or
    3,5,7. Each is its single run, up to rounding."""
    resume: str = ""
    """Folder of a run, or of many seeds, to continue from its newest checkpoint. No other flag is needed;
    --steps, --log-every, --checkpoint-every, --milestone-every, --evaluation.every and .max-episode-steps, --track and
    --executors.engine, .workers, .address and .timeout may change, and what comes later: --layers, --layer-steps and,
    while the first layer trains, --growth."""
    dry_run: bool = False
    """Print the whole configuration and the memory that replay needs, and end."""
    version: bool = False
    """Print the version, and end."""


class Command(NamedTuple):
    """A command line."""

    options: RunOptions
    config: Config  # of a new run: the preset with the flags
    given: dict[str, Any]  # the configuration's fields that have a flag, by dotted name
    seeds: Sequence[int] = ()  # of `--seeds`


def parse(arguments: Sequence[str]) -> Command:
    """Read the command line (without the program's name).

    Raises:
      ConfigError: in one line, the flag or value that cannot be and the nearest that can.
      SystemExit: help was asked for, and printed.
    """
    texts = stages.with_steps(_read([argument for argument in arguments if argument not in ("-h", "--help")]))
    preset = presets(texts.get("agent", Config.agent), texts.get("preset", Config.preset))
    if len(texts) < len(arguments) and {"-h", "--help"} & set(arguments):
        _print_help(preset)
        sys.exit()
    option_texts = {name: texts.pop(name) for name in schema.kinds(RunOptions) if name in texts}
    options = schema.build(RunOptions, schema.flatten(RunOptions()) | option_texts)
    config = from_dict(to_dict(preset) | texts)
    if "resume" in option_texts:
        _check_resume(option_texts)
    else:
        validate(config)
    config = shorten.for_tests(config, resumed="resume" in option_texts)
    values = schema.flatten(config)
    given = {name: values[name] for name in texts}
    return Command(options, config, given, _seeds(options.seeds, config.seed))


def _check_resume(option_texts: dict[str, str]) -> None:
    if not option_texts["resume"]:
        raise ConfigError("--resume is empty: give the folder of a run, such as --resume=runs/NAME")
    for name in ("name", "runs_dir", "dry_run", "seeds"):
        if name in option_texts:
            raise ConfigError(f"{schema.flag(name)} cannot go with --resume: the run and its folder exist already")


def _seeds(text: str, first: int) -> Sequence[int]:
    """Seeds that `--seeds` names: a count from `first`, a range START:STOP, or a list. Raises ConfigError."""
    if not text:
        return ()
    rule = "a count such as 8, a range such as 0:64, or different seeds such as 3,5,7"
    try:
        numbers = [schema.whole(word) for word in text.replace(":", ",").split(",")]
    except ValueError:
        raise ConfigError(f"--seeds={text}: must be {rule}") from None
    if ":" in text:
        named = list(range(*numbers)) if len(numbers) == 2 and "," not in text else []
    else:
        named = list(range(first, first + numbers[0])) if len(numbers) == 1 else numbers
    if not named or len(set(named)) < len(named) or min(named) < 0 or max(named) >= 2**31:
        raise ConfigError(f"--seeds={text}: must be {rule}")
    return named


def _read(arguments: Sequence[str]) -> dict[str, str]:
    """The text given for each field. A flag given twice counts once, the last time."""
    kinds = schema.kinds(RunOptions) | schema.kinds(Config)
    given: dict[str, list[str]] = {}
    name = ""
    for argument in arguments:
        if argument.startswith("--"):
            spelled, equals, text = argument.removeprefix("--").partition("=")
            name, negated = _find(spelled, kinds)
            given[name] = ["false"] * negated + [text] * bool(equals)
        elif name:
            given[name].append(argument)
        else:
            raise ConfigError(f"unexpected {argument!r}: {_meant(argument, kinds)}")
    return {name: _join(name, words, kinds) for name, words in given.items()}


def _find(spelled: str, kinds: dict[str, Any]) -> tuple[str, bool]:
    """The field that a flag means, and whether it is the `--no-` form of a boolean."""
    name = spelled.replace("-", "_")
    if name in kinds:
        return name, False
    positive = re.sub(r"(^|\.)no_", r"\1", name, count=1)
    if kinds.get(positive) is bool:
        return positive, True
    raise ConfigError(f"unknown flag --{spelled}: {_remedy(name, kinds)}")


def _remedy(name: str, kinds: dict[str, Any]) -> str:
    """What may be meant by a flag that there is none of."""
    if hint := habits.hint(name):
        return hint
    leaf = name.rpartition(".")[2]
    same_leaf = [known for known in kinds if leaf and (known == leaf or known.endswith(f".{leaf}"))]
    nearest = schema.nearest(name, kinds)
    near = [schema.flag(known) for known in ((nearest or same_leaf) if "." in name else (same_leaf or nearest))]
    return f"did you mean {schema.one_of(near)}?" if near else "see --help"


def _meant(word: str, kinds: dict[str, Any]) -> str:
    """What may be meant by a word that is neither a flag nor a value."""
    if word.startswith("-"):
        return "flags begin with -- and have whole names, such as --seed=3; see --help"
    if word in AGENTS:
        return f"did you mean --agent={word}?"
    spelled, equals, text = word.lstrip("+~").partition("=")  # as Hydra has it
    name = spelled.replace("-", "_")
    if equals and name in kinds:
        return f"flags begin with --: did you mean {schema.flag(name)}={text}?"
    if equals:
        return f"flags begin with --; and --{spelled}: {_remedy(name, kinds)}"
    if re.search(r"-v\d+$", word):
        return f"did you mean --env={word}?"
    return "flags begin with --; see --help"


def _join(name: str, words: Sequence[str], kinds: dict[str, Any]) -> str:
    kind = kinds[name]
    if not words and kind is not bool:
        choices = [choice for choice in _choices(kind) if choice != "none"]
        which = f": {schema.one_of(choices)}" if choices else ""
        raise ConfigError(f"{schema.flag(name)} needs a value{which}; see --help")
    if len(words) > 1 and get_origin(kind) is not tuple:
        unexpected = f"unexpected {words[1]!r} after {schema.flag(name)}={words[0]}"
        raise ConfigError(f"{unexpected}: {_meant(words[1], kinds)}")
    return ",".join(words) if words else "true"


def _choices(kind: Any) -> Sequence[str]:
    """What a field, or each value of it, may be where it is one of a few words."""
    if get_origin(kind) is tuple:
        return _choices(get_args(kind)[0])
    return get_args(kind) if get_origin(kind) is Literal else ()


def _print_help(preset: Config) -> None:
    width = min(shutil.get_terminal_size().columns, 120)
    print(f"usage: {PROGRAM} [-h] [--FLAG=VALUE ...]\n")
    switches = "a switch is --x, --no-x or --x=false"
    print(_fill(f"Train an agent: {schema.one_of(AGENTS)}. Lists have commas (256,256); {switches}; {COUNTS}.", width))
    print(f"\nDefaults shown are those of --agent={preset.agent} --preset={preset.preset}.\n")
    print(*_describe(RunOptions(), "", width), *_describe(preset, "", width), sep="\n")


def _describe(record: Any, prefix: str, width: int) -> Iterator[str]:
    """Lines for people on every field of a dataclass, and then on those of the dataclasses inside it."""
    docs, inside = docs_of(type(record)), []
    for name, kind in get_type_hints(type(record), include_extras=True).items():
        value = getattr(record, name)
        if is_dataclass(value):
            inside.append((name, value))
            continue
        yield f"  {schema.flag(prefix + name)} {_metavar(kind)}"
        yield _fill(f"{docs[name]} (default: {schema.to_text(value) or repr('')})", width, " " * 6)
    for name, value in inside:
        yield f"\n{_fill(f'{prefix}{name}: {type(value).__doc__}', width)}"
        yield from _describe(value, f"{prefix}{name}.", width)


def docs_of(record: type) -> dict[str, str]:
    """The docstring of every field of a dataclass: the text below it in the source."""
    found = {}
    for definition in (ast.parse(inspect.getsource(each)).body[0] for each in record.__mro__ if each is not object):
        assert isinstance(definition, ast.ClassDef)
        for pair in pairwise(definition.body):
            match pair:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = text
    return found


def _fill(text: str, width: int, indent: str = "") -> str:
    return textwrap.fill(
        " ".join(text.split()), width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def _metavar(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        return _metavar(get_args(kind)[0])
    if get_origin(kind) is tuple:
        return f"{_metavar(get_args(kind)[0])},..."
    choices = ("true", "false") if kind is bool else get_args(kind)
    return f"{{{','.join(choices)}}}" if choices else kind.__name__.upper()
