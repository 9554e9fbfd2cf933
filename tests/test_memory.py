"""A replay that does not fit is refused in advance, with numbers that are true."""

import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import pytest

from lsp import memory
from lsp.config import Config, ConfigError, ReplayConfig
from lsp.dispatch import example_transition
from lsp.replay import make_uniform
from lsp.types import EnvSpec, GoalTask

ANT = EnvSpec(observation_dim=125, action_dim=8)


def config_of(capacity: int) -> Config:
    return dataclasses.replace(Config(), replay=ReplayConfig(capacity=capacity))


GOALS = GoalTask(2, lambda *goals: goals, lambda *goals: goals)


@pytest.mark.parametrize("spec", [ANT, EnvSpec(3, 1), EnvSpec(5, 1, GOALS)])
def test_replay_bytes_are_those_allocated(spec: EnvSpec) -> None:
    state = jax.eval_shape(lambda: make_uniform(1000, 8).init(example_transition(spec)))
    allocated = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    counters = 8
    assert memory.replay_bytes(config_of(1000), spec) == allocated - counters


def test_the_boundary(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth stays free. As many rows as the refusal says do fit, and not one more."""
    monkeypatch.setattr(memory, "available_bytes", lambda: 10_000_000)
    with pytest.raises(ConfigError, match=r"^--replay\.capacity=1000000 needs 1\.04 GB .* and 0\.01 GB are") as caught:
        memory.check(config_of(1_000_000), ANT)
    found = re.search(r"at most (\d+) rows fit$", str(caught.value))
    assert found is not None
    fits = int(found[1])
    assert memory.replay_bytes(config_of(fits), ANT) <= 9_000_000 < memory.replay_bytes(config_of(fits + 1), ANT)
    memory.check(config_of(fits), ANT)
    with pytest.raises(ConfigError):
        memory.check(config_of(fits + 1), ANT)


def test_where_nobody_says_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    memory.check(config_of(2**31 - 1), ANT)


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="Linux says how much memory is free")
def test_free_memory_of_this_machine() -> None:
    available = memory.available_bytes()
    assert available is not None
    total = int(re.findall(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())[0]) * 1024
    assert 0.001 * total < available <= total


@pytest.mark.parametrize(
    ("stats", "free"),
    [({"bytes_limit": 100, "bytes_in_use": 30, "pool": 1}, 70), ({"bytes_in_use": 30}, None), (None, None)],
)
def test_free_memory_of_an_accelerator(stats: Any, free: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    device = SimpleNamespace(platform="gpu", memory_stats=lambda: stats)
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert memory.available_bytes() == free


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({"memory.max": "1000\n", "memory.current": "300\n"}, 700),
        ({"memory.max": "max\n", "memory.current": "300\n"}, None),
        ({"memory/memory.limit_in_bytes": "1000", "memory/memory.usage_in_bytes": "1"}, 999),
        ({}, None),
    ],
)
def test_free_memory_of_a_container(files: dict[str, str], free: int | None, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory._container_bytes(tmp_path) == free
