"""Runs that differ by their seed alone, and what to call them."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsp.config import ConfigError
from lsp.report.runs import RunResults

# What changes no policy.
BOOKKEEPING = {"name", "seed", "log_every", "checkpoint_every", "milestone_every", "track"}
BOOKKEEPING |= {"evaluation.max_episode_steps"}
MAX_LABEL_FIELDS = 3


class SeedGroup(NamedTuple):
    """Runs that differ by their seed alone."""

    env: str
    label: str
    runs: list[RunResults]

    @property
    def scores(self) -> NDArray[np.float64]:
        """Final score of every seed, [N]."""
        return np.array([run.final(run.returns) for run in self.runs])


def group_by_seed(runs: Sequence[RunResults]) -> list[SeedGroup]:
    """Runs by configuration, in order of appearance, those of an environment together.

    Raises:
        ConfigError: two runs share configuration and seed, so that they are no two samples.
    """
    members: dict[str, list[RunResults]] = {}
    for run in runs:
        members.setdefault(json.dumps(_settings(run), sort_keys=True), []).append(run)
    for same in members.values():
        _check_seeds(same)
    firsts = [same[0] for same in members.values()]
    groups = [SeedGroup(str(same[0].config["env"]), _label(same[0], firsts), same) for same in members.values()]
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


def _label(run: RunResults, firsts: Sequence[RunResults]) -> str:
    """The agent, the preset where presets differ, and what else tells runs of this agent and preset apart."""
    presets = {first.config["preset"] for first in firsts}
    head = [run.config["agent"]] + [run.config["preset"]] * (len(presets) > 1)
    peers = [first for first in firsts if _kind(first) == _kind(run)]
    names = sorted(set(_differing(peers)))
    if len(names) > MAX_LABEL_FIELDS:
        return ", ".join([*head, run.folder.name])
    return ", ".join(head + [f"{name}={_text(run.config.get(name, 'unset'))}" for name in names])


def _kind(run: RunResults) -> tuple[Any, Any]:
    return run.config["agent"], run.config["preset"]


def _differing(peers: Sequence[RunResults]) -> Iterator[str]:
    """Fields that differ between runs in the same environment."""
    for env in {peer.config["env"] for peer in peers}:
        settings = [_settings(peer) for peer in peers if peer.config["env"] == env]
        for name in {name for each in settings for name in each}:
            if len({_text(each.get(name, "unset")) for each in settings}) > 1:
                yield name


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)
