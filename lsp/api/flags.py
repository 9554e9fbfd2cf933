"""Python values as the command line has them, so that one reader checks both and says the same of both. No JAX here."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from lsp.config import ConfigError
from lsp.config.schema import flag, to_text

ELSEWHERE = {
    "resume": "lsp.load(FOLDER).resume() continues a run",
    "dry_run": "python -m lsp.run --dry-run prints the configuration of a run",
    "version": "python -m lsp.run --version prints it",
}
"""Flags that are no arguments."""


def arguments(values: Mapping[str, Any]) -> list[str]:
    """The command line of fields by dotted name, `critic.tau` or `critic.learning-rate`; None: not given.

    Raises ConfigError of what is a flag only, and of arguments of environments that are no JSON.
    """
    for name, instead in ELSEWHERE.items():
        if name in values:
            raise ConfigError(f"{name} is no argument here: {instead}")
    return [f"{flag(name)}={_text(name, value)}" for name, value in values.items() if value is not None]


def _text(name: str, value: Any) -> str:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        try:
            return json.dumps(dict(value))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{flag(name)}={value}: must be what JSON can hold ({error})") from error
    if isinstance(value, range):
        value = list(value)
    return to_text(int(value) if isinstance(value, float) and value.is_integer() else value)
