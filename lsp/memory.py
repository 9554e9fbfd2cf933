"""How much memory a run needs, and refusing it in advance where there is not enough."""

import math
from pathlib import Path

import jax

from lsp.config import Config, ConfigError
from lsp.replay.ring import memory_bytes
from lsp.types import EnvSpec


def replay_bytes(config: Config, spec: EnvSpec) -> int:
    """Bytes of the replay when full."""
    return memory_bytes(config.replay.capacity, *spec)


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


def check(config: Config, spec: EnvSpec) -> None:
    """Raise ConfigError, with the numbers, if the replay does not fit with a tenth to spare."""
    needed, available = replay_bytes(config, spec), available_bytes()
    if available is not None and needed > 0.9 * available:
        fits = int(0.9 * available / needed * config.replay.capacity)
        raise ConfigError(
            f"--replay.capacity={config.replay.capacity} needs {needed / 1e9:.2f} GB for observations of "
            f"{spec.observation_dim} numbers, and {available / 1e9:.2f} GB are free: at most {fits} rows fit"
        )


def check_seeds(state_bytes: int, count: int) -> None:
    """Raise ConfigError, with the numbers, if `count` runs of `state_bytes` each do not fit with a tenth to spare."""
    devices = 1 if jax.default_backend() == "cpu" else min(count, jax.local_device_count())  # CPU devices share memory
    available = available_bytes()
    if available is not None and math.ceil(count / devices) * state_bytes > 0.9 * available:
        fits = int(0.9 * available / state_bytes) * devices
        raise ConfigError(
            f"{count} seeds need {count * state_bytes / 1e9:.2f} GB, {state_bytes / 1e9:.2f} each, and "
            f"{available * devices / 1e9:.2f} GB are free: at most {fits} seeds fit; or lower --replay.capacity"
        )
