"""Critics by name: `--critic.kind`. A kind is one file of this package and one line in `lsp.config.registries`."""

import importlib
from typing import Protocol, cast

from lsp.agents.critics.protocol import Critics
from lsp.config import StageConfig
from lsp.config.registries import CRITICS as CRITICS


class CriticKind(Protocol):
    """What the module of a kind must have."""

    def make(self, config: StageConfig) -> Critics:
        """The critics that a configuration asks for."""


def find(kind: str) -> CriticKind:
    """The module of a kind. Raises KeyError of an unknown name, which `lsp.config.validate` refuses before."""
    return cast(CriticKind, importlib.import_module(CRITICS[kind]))


def make_critics(config: StageConfig) -> Critics:
    """The critics that a configuration asks for, of its kind."""
    return find(config.critic.kind).make(config)
