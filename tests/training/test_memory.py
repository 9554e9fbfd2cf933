"""A replay that does not fit is refused in advance, with numbers that are true."""

import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import jax
import pytest

from lsp.config import Config, ConfigError, ReplayConfig
from lsp.packing import Layout
from lsp.training import memory
from lsp.types import EnvSpec, GoalTask

ANT = EnvSpec(observation_dim=125, action_dim=8)


def config_of(capacity: int, kind: Literal["uniform", "prioritized"] = "uniform") -> Config:
    return dataclasses.replace(Config(), replay=ReplayConfig(capacity=capacity, kind=kind))


GOALS = GoalTask(2, lambda *goals: goals, lambda *goals: goals)


@pytest.mark.parametrize("spec", [ANT, EnvSpec(3, 1), EnvSpec(5, 1, GOALS)])
def test_replay_bytes_are_those_of_the_rows(spec: EnvSpec) -> None:
    counters = 8
    assert memory.replay_bytes(config_of(1000), spec) == 4 * 1000 * Layout.of(spec).width + counters


def test_priorities_count() -> None:
    """A tree of masses, f32, and flags of what was replayed: a fifteenth more for the nodes above the leaves."""
    uniform, prioritized = (memory.replay_bytes(config_of(1_000_000, kind), ANT) for kind in ("uniform", "prioritized"))
    assert 5_000_000 < prioritized - uniform < 1.2 * 5_000_000


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["uniform", "prioritized"])
def test_the_boundary(kind: Literal["uniform", "prioritized"], monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth stays free. As many rows as the refusal says do fit, and not one more."""
    monkeypatch.setattr(memory, "available_bytes", lambda: 10_000_000)
    with pytest.raises(ConfigError, match=r"^--replay\.capacity=1000000 needs 1\.0[45] GB .* and 0\.01 GB") as caught:
        memory.check(config_of(1_000_000, kind), ANT)
    found = re.search(r"at most (\d+) rows fit$", str(caught.value))
    assert found is not None
    fits = int(found[1])
    most, more = config_of(fits, kind), config_of(fits + 1, kind)
    assert memory.replay_bytes(most, ANT) <= 9_000_000 < memory.replay_bytes(more, ANT)
    memory.check(most, ANT)
    with pytest.raises(ConfigError):
        memory.check(more, ANT)


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


def test_memory_of_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of one run are the replay's and little more; as many seeds fit as the message says."""
    config = Config()
    one = memory.run_bytes(config, ANT)
    assert memory.replay_bytes(config, ANT) < one < 1.01 * memory.replay_bytes(config, ANT)
    monkeypatch.setattr(memory, "available_bytes", lambda: 10 * one)
    memory.check(config, ANT, 9)
    with pytest.raises(ConfigError, match="at most 9 seeds fit"):
        memory.check(config, ANT, 10)
