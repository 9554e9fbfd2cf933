"""How much memory a run needs, and refusing it in advance where there is not enough."""

import dataclasses
import math
from bisect import bisect_right
from functools import partial
from pathlib import Path
from typing import Any

import jax

from lsp import agents
from lsp.config import Config, ConfigError
from lsp.training.device import example_transition, init_state
from lsp.types import EnvSpec


def replay_bytes(config: Config, spec: EnvSpec) -> int:
    """Bytes of the replay when full, priorities included."""
    replay = agents.build(config, spec).replay
    return _bytes(jax.eval_shape(lambda: replay.init(example_transition(spec))))


def run_bytes(config: Config, spec: EnvSpec) -> int:
    """Bytes of one run on the device: replay when full, learner, optimizer."""
    return _bytes(jax.eval_shape(partial(init_state, agents.build(config, spec), spec), jax.random.key(0)))


def _bytes(shapes: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def available_bytes() -> int | None:
    """Free memory of the device that holds the replay; None where nobody says."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        return stats["bytes_limit"] - stats["bytes_in_use"] if "bytes_limit" in stats else None
    known = [free for free in (_machine_bytes(), _container_bytes()) if free is not None]
    return min(known, default=None)


def _machine_bytes() -> int | None:
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return None
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def _container_bytes(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What the container's limit leaves (control groups of version 2, else 1); None without a limit."""
    for limit, used in (
        (root / "memory.max", root / "memory.current"),
        (root / "memory" / "memory.limit_in_bytes", root / "memory" / "memory.usage_in_bytes"),
    ):
        if limit.exists() and used.exists():
            text = limit.read_text().strip()
            return None if text == "max" else int(text) - int(used.read_text())
    return None


def check(config: Config, spec: EnvSpec, seeds: int = 1) -> None:
    """Raise ConfigError, with the numbers, if so many runs side by side do not fit with a tenth to spare."""
    if seeds == 1:
        _check_one(config, spec)
    else:
        _check_many(config, spec, seeds)


def _check_one(config: Config, spec: EnvSpec) -> None:
    needed, available = replay_bytes(config, spec), available_bytes()
    if available is not None and needed > 0.9 * available:
        raise ConfigError(
            f"--replay.capacity={config.replay.capacity} needs {needed / 1e9:.2f} GB for observations of "
            f"{spec.observation_dim} numbers, and {available / 1e9:.2f} GB are free: "
            f"at most {_most_rows(config, spec, 0.9 * available)} rows fit"
        )


def _most_rows(config: Config, spec: EnvSpec, limit: float) -> int:
    def needed(capacity: int) -> int:
        replay = dataclasses.replace(config.replay, capacity=capacity)
        return replay_bytes(dataclasses.replace(config, replay=replay), spec)

    return bisect_right(range(1, config.replay.capacity), limit, key=needed)


def _check_many(config: Config, spec: EnvSpec, count: int) -> None:
    devices = 1 if jax.default_backend() == "cpu" else min(count, jax.local_device_count())  # CPU devices share memory
    each, available = run_bytes(config, spec), available_bytes()
    if available is not None and math.ceil(count / devices) * each > 0.9 * available:
        fits = int(0.9 * available / each) * devices
        raise ConfigError(
            f"{count} seeds need {count * each / 1e9:.2f} GB, {each / 1e9:.2f} each, and "
            f"{available * devices / 1e9:.2f} GB are free: at most {fits} seeds fit; or lower --replay.capacity"
        )
