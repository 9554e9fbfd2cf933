"""Runs written by earlier versions of `lsp`, read under today's names."""

from collections.abc import Mapping
from typing import Any

OLD_NAMES = {
    # fields of config.json
    "critic.law": "critic.distribution_target",
    # keys of metrics.jsonl and eval.jsonl
    "falls": "terminated",
    "law_std": "return_std",
    "law_kl": "distribution_kl",
    "law_entropy": "distribution_entropy",
    "hauls_in_flight": "rollouts_in_flight",
}
"""Every name that a field or a key of a run's files once had, and its name now."""


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` in their order, each under its name of today."""
    return {OLD_NAMES.get(name, name): value for name, value in values.items()}
