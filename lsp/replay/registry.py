"""Replay memories by name: `--replay.kind`. A kind is one file of this package and one line in `lsp.config.registries`.

And the memory that a configuration asks for as a whole, with hindsight around it.
"""

import importlib
from typing import Protocol, cast

from lsp.config import Config, ConfigError
from lsp.config.registries import REPLAYS as REPLAYS
from lsp.replay import hindsight
from lsp.types import EnvSpec, Replay


class ReplayKind(Protocol):
    """What the module of a kind must have."""

    def make(self, config: Config) -> Replay:
        """The replay memory that a configuration asks for."""


def find(kind: str) -> ReplayKind:
    """The module of a kind. Raises KeyError of an unknown name, which `lsp.config.validate` refuses before."""
    return cast(ReplayKind, importlib.import_module(REPLAYS[kind]))


def make_replay(config: Config, spec: EnvSpec) -> Replay:
    """The replay memory that a configuration asks for, of its kind, and relabelled as `--goals` says.

    Raises:
      ConfigError: hindsight for an environment without goals.
    """
    memory, goals = find(config.replay.kind).make(config), config.goals
    if goals.kind == "none":
        return memory
    if spec.goals is None:
        remedy = "choose one that has, such as lsp/Reacher2D-v0, or --goals.kind=none"
        raise ConfigError(f"--goals.kind={goals.kind}: environment {config.env} has no goals: {remedy}")
    return hindsight.wrap(memory, hindsight.Relabelling(spec.goals, config.gamma, config.executors.count, goals))
