"""The distributed agents are others' parts put together: what they change, and nothing else."""

import dataclasses
import math
from typing import Any

import pytest

from lsp.agents import presets
from lsp.config import schema

MODERN: dict[str, Any] = {"executors.count": 8, "block": 1, "utd": 0.125}
MODERN |= {f"{part}.learning_rate": 1e-3 for part in ("critic", "policy", "temperature")}
STUDY = {"executors.count": 8, "utd": 0.125, "learning_starts": 10_000}  # 3.4: lock-step; a queue that fills first
RANKED = {"replay.initial": "td"}  # 3.4: executors rank what they send


def changes(agent: str, base: str, preset: str) -> dict[str, Any]:
    """Fields in which an agent differs from another, and its values."""
    ours, theirs = (schema.flatten(presets(name, preset)) for name in (agent, base))
    return {name: value for name, value in ours.items() if value != theirs[name] and name != "agent"}


@pytest.mark.parametrize(
    ("agent", "base", "preset", "expected"),
    [
        ("distributed", "sac_lsp", "modern", MODERN),
        ("distributed", "sac_lsp", "dissertation", STUDY),
        ("distributed_prioritized", "prioritized", "modern", MODERN | RANKED),
        ("distributed_prioritized", "prioritized", "dissertation", STUDY | RANKED),
    ],
)
def test_what_an_agent_changes(agent: str, base: str, preset: str, expected: dict[str, Any]) -> None:
    assert changes(agent, base, preset) == expected


@pytest.mark.parametrize("agent", ["distributed", "distributed_prioritized"])
def test_updates_of_a_step(agent: str) -> None:
    """One for each step of all executors."""
    for preset in ("modern", "dissertation"):
        config = presets(agent, preset)
        assert math.ceil(config.utd * config.block * config.executors.count) == 1
        assert config.block * config.executors.count <= 8  # transitions that parameters may be old


def test_agents_keep_what_was_chosen_before() -> None:
    from lsp.agents import distributed

    config = presets("sac_lsp")
    chosen = dataclasses.replace(config, seed=3, executors=dataclasses.replace(config.executors, engine="process"))
    assert distributed.configure(chosen).executors.engine == "process"
    assert distributed.configure_prioritized(chosen).seed == 3
