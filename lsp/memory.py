"""How much memory a run needs, and refusing it in advance where there is not enough."""

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
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return None
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def check(config: Config, spec: EnvSpec) -> None:
    """Raise ConfigError, with the numbers, if the replay does not fit with a tenth to spare."""
    needed, available = replay_bytes(config, spec), available_bytes()
    if available is not None and needed > 0.9 * available:
        fits = int(0.9 * available / needed * config.replay.capacity)
        raise ConfigError(
            f"--replay.capacity={config.replay.capacity} needs {needed / 1e9:.2f} GB for observations of "
            f"{spec.observation_dim} numbers, and {available / 1e9:.2f} GB are free: at most {fits} rows fit"
        )
