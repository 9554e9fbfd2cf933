"""Runs that differ by their seed alone, and what to call them."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsp.config import ConfigError
from lsp.report.prefixes import align
from lsp.report.runs import BOOKKEEPING, RunResults

MAX_LABEL_FIELDS = 3
UNSET = "unset"  # a field that the version which wrote a run did not have
SEED_FOLDER = re.compile(r"seed_\d+")
SEED_ENDING = re.compile(r"[-_.]?(s|seed)?[-_.]?$")  # of what names that end in a seed's number share
PATH = re.compile(r"""(?<![^\s"'=:,([{])(?:~|[A-Za-z]:)?[\\/][^\s"',:;)\]}]+""")  # an absolute one inside a value


class SeedGroup(NamedTuple):
    """Runs that differ by their seed alone."""

    env: str
    parts: tuple[str, ...]  # of the label: the agent, the preset or nothing, what else tells it from others
    runs: list[RunResults]

    @property
    def label(self) -> str:
        """What to call it; no two groups of an environment are called the same."""
        return ", ".join(self.parts)

    @property
    def scores(self) -> NDArray[np.float64]:
        """Final score of every seed, [N]."""
        return np.array([run.score for run in self.runs])


def group_by_seed(runs: Sequence[RunResults], score_from: int | None = None) -> list[SeedGroup]:
    """Runs by configuration, in order of appearance, those of an environment together; aligned, as `align` says.

    Raises:
        ConfigError: two runs share configuration and seed, so that they are no two samples; or of `align`.
    """
    members: dict[str, list[RunResults]] = {}
    for run in align(runs, score_from):
        members.setdefault(json.dumps(_settings(run), sort_keys=True), []).append(run)
    for same in members.values():
        _check_seeds(same)
    labels = _labels(list(members.values()))
    groups = [
        SeedGroup(str(same[0].config["env"]), label, same) for label, same in zip(labels, members.values(), strict=True)
    ]
    envs = list(dict.fromkeys(group.env for group in groups))
    return sorted(groups, key=lambda group: envs.index(group.env))


def _settings(run: RunResults) -> dict[str, Any]:
    return {name: value for name, value in run.config.items() if name not in BOOKKEEPING}


def _check_seeds(runs: Sequence[RunResults]) -> None:
    seen: dict[Any, Path] = {}
    for run in runs:
        seed = run.config.get("seed")
        if seed in seen:
            raise ConfigError(
                f"{seen[seed]} and {run.folder} are the same configuration with the same seed {seed}, which are no two "
                "samples: leave one out"
            )
        seen[seed] = run.folder


def short_names(folders: Sequence[Path]) -> list[str]:
    """For each folder the shortest end of its path that no other one has, which says little of where it is."""
    paths = [Path(os.path.abspath(folder)).parts for folder in folders]

    def name(path: tuple[str, ...]) -> str:
        lengths = range(1, len(path) + 1)
        ends = (path[-length:] for length in lengths if sum(other[-length:] == path[-length:] for other in paths) == 1)
        return "/".join(next(ends, path[-1:]))

    return [name(path) for path in paths]


def _labels(members: Sequence[Sequence[RunResults]]) -> list[tuple[str, ...]]:
    """What to call each group, in parts; no two of an environment are called the same."""
    firsts = [same[0] for same in members]
    names = _names(members)
    labels = [_label(run, name, firsts) for run, name in zip(firsts, names, strict=True)]
    called = [(run.config["env"], label) for run, label in zip(firsts, labels, strict=True)]
    return [
        (*label, name) if called.count(each) > 1 else label
        for each, label, name in zip(called, labels, names, strict=True)
    ]


def _names(members: Sequence[Sequence[RunResults]]) -> list[str]:
    """A name for each group by where it is: what the names of its folders have in common, where no other has that."""
    firsts = [same[0] for same in members]
    own = short_names(_places(firsts))
    stems = [_stem([run.folder.name for run in same]) or name for same, name in zip(members, own, strict=True)]
    return [stem if stems.count(stem) == 1 else name for stem, name in zip(stems, own, strict=True)]


def _stem(names: Sequence[str]) -> str:
    """Of names such as ant_s1 and ant_s2 that which they share, ant; nothing of one name, or where they share none."""
    shared = os.path.commonprefix(names)  # noqa: RUF071  # characters, not folders
    return SEED_ENDING.sub("", shared) if len(names) > 1 else ""


def _places(firsts: Sequence[RunResults]) -> list[Path]:
    """The folder that stands for each group: of many seeds that which holds them, where they are all of one group."""
    holders = [run.folder.resolve().parent for run in firsts]
    return [
        holder if SEED_FOLDER.fullmatch(run.folder.name) and holders.count(holder) == 1 else run.folder.resolve()
        for run, holder in zip(firsts, holders, strict=True)
    ]


def _label(run: RunResults, name: str, firsts: Sequence[RunResults]) -> tuple[str, ...]:
    """The agent, the preset where presets differ, and what else tells runs of this agent and preset apart."""
    presets = {first.config["preset"] for first in firsts}
    head = [run.config["agent"]] + [run.config["preset"]] * (len(presets) > 1)
    peers = [first for first in firsts if _kind(first) == _kind(run)]
    fields = sorted(set(_differing(peers)))
    if len(fields) > MAX_LABEL_FIELDS:
        return (*head, name)
    return (*head, *(f"{field}={_shown(run, field, peers)}" for field in fields))


def _kind(run: RunResults) -> tuple[Any, Any]:
    return run.config["agent"], run.config["preset"]


def _differing(peers: Sequence[RunResults]) -> Iterator[str]:
    """Fields that differ between runs in the same environment."""
    for env in {peer.config["env"] for peer in peers}:
        settings = [_settings(peer) for peer in peers if peer.config["env"] == env]
        for name in {name for each in settings for name in each}:
            if len({_text(each.get(name, UNSET)) for each in settings}) > 1:
                yield name


def _shown(run: RunResults, field: str, peers: Sequence[RunResults]) -> str:
    """The value of a field, with as little of the paths in it as tells it from the other values."""
    texts = {_text(peer.config.get(field, UNSET)) for peer in peers}
    own = _text(run.config.get(field, UNSET))
    longest = max(text.count("/") + text.count("\\") for text in texts)
    shorter = (partial(_cut_paths, kept=kept) for kept in range(1, longest + 1))
    cut = next((cut for cut in shorter if len(set(map(cut, texts))) == len(texts)), str)
    return cut(own) or "none"


def _cut_paths(text: str, kept: int) -> str:
    """`text` with the last `kept` parts of every absolute path in it."""
    return PATH.sub(lambda found: "/".join(re.split(r"[\\/]+", found[0])[-kept:]), text)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else str(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
