"""What to call groups of runs in pictures: in words where their configurations allow, else as tables do."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from lsp.report.groups import SeedGroup
from lsp.report.runs import BOOKKEEPING

Settings = Mapping[str, Any]  # values by dotted name
WITHOUT_WASTE = ("growth.keep_replay", "growth.keep_critics", "growth.identity")
"""What continues when a layer is added; the study began all of it again."""


class Phrase(NamedTuple):
    """Words for some fields of a configuration."""

    covers: Callable[[str], bool]  # whether a field is told by them
    of: Callable[[Settings], str | None]  # the words; nothing where there is nothing to say, None where there are none


def names(groups: Sequence[SeedGroup]) -> list[str]:
    """A name for each group, by what tells it from the others of its environment; no two of one are called the same."""
    found = []
    for group in groups:
        peers = [other for other in groups if other.env == group.env]
        said = [_words(other, peers) for other in peers]
        own = _words(group, peers)
        found.append(own if own is not None and said.count(own) == 1 else group.label)
    return found


def _words(group: SeedGroup, peers: Sequence[SeedGroup]) -> str | None:
    """The name in words; None where there are no words for some of what it must say."""
    own, others = _settings(group), [_settings(peer) for peer in peers]
    head = [str(own["agent"])] * _differ("agent", others) + [f"{own['preset']} preset"] * _differ("preset", others)
    kin = [each for each in others if all(each[name] == own[name] for name in ("agent", "preset"))]
    fields = {name for each in kin for name in each if _differ(name, kin)} - BOOKKEEPING
    parts = []
    for phrase in PHRASES:
        told = set(filter(phrase.covers, fields))
        parts += [phrase.of(own)] * bool(told)
        fields -= told
    if fields or None in parts:
        return None
    return ", ".join(filter(None, [*head, *parts])) or str(own["agent"])


def _settings(group: SeedGroup) -> Settings:
    return group.runs[0].config


def _differ(name: str, configs: Sequence[Settings]) -> bool:
    return len({repr(config.get(name)) for config in configs}) > 1


def _hindsight(config: Settings) -> str | None:
    return {"hindsight": "with hindsight", "none": "without hindsight"}.get(config.get("goals.kind", ""))


def _below(config: Settings) -> str:
    source = config.get("from_layers")
    return f"on the layers of {PurePath(source).name}" if source else ""


def _growth(config: Settings) -> str | None:
    if config.get("layers", 1) == 1:
        return "flat policy"
    kept = [bool(config.get(name)) for name in WITHOUT_WASTE]
    if all(kept):
        return "growth without waste"
    return None if any(kept) else "growth as the study had it"


def _nothing(config: Settings) -> str:
    del config
    return ""


PHRASES = (
    Phrase(lambda name: name == "goals.kind", _hindsight),
    Phrase(lambda name: name in ("from_layers", "growth.prefix_observation"), _below),
    Phrase(lambda name: name in ("layers", "layer_steps") or name.startswith("growth."), _growth),
    Phrase(lambda name: name == "steps" or name.startswith("evaluation."), _nothing),  # the curve itself shows them
)
