"""What benchmarks share: a heading that says what is measured where, settings from the command line, a full replay."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Nothing of JAX is imported until it is needed: `--help` answers at once.
CPUINFO = Path("/proc/cpuinfo")


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is a benchmark's docstring."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """`--set FIELD=JSON`, to be given any number of times."""
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=JSON", help="a setting to change")


def configured(config: Any, settings: list[str]) -> Any:
    """`config` with the settings of `--set`, such as `replay.batch_size=64`, validated."""
    from lsp.config import from_dict, to_dict

    changes = {name: json.loads(value) for name, value in (setting.split("=", 1) for setting in settings)}
    return from_dict(to_dict(config) | changes)


def announce(doc: str | None) -> None:
    """Print what is measured, which is the first line of the docstring, and on what machine."""
    import jax

    lines = CPUINFO.read_text().splitlines() if CPUINFO.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.processor()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    devices = jax.local_devices()
    print(f"{Path(sys.argv[0]).name}: {(doc or '').splitlines()[0]}")
    print(f"machine: {platform.machine()}, {processor or 'processor unknown'}, {cores} of {os.cpu_count()} cores; "
          f"{len(devices)} x {devices[0].device_kind}; Python {platform.python_version()}, JAX {jax.__version__}")


def random_transitions(spec: Any, key: Any, count: int, gamma: float) -> Any:
    """Normal numbers in the shapes of an environment's transitions, [count], with discounts of `gamma`."""
    import jax
    import jax.numpy as jnp

    from lsp.training.device import example_transition

    leaves, tree = jax.tree.flatten(example_transition(spec))
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.normal(k, (count, *leaf.shape)) for k, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, drawn)._replace(discount=jnp.full(count, gamma))


def fill(
    add: Callable[[Any, Any, Any], Any], memory: Any, capacity: int, draw: Callable[[Any, int], Any], most: int = 2**14
) -> Any:
    """Write `draw(key, count)` all over a replay, at `most` so many at once.

    A nearly empty one would stay in cache and flatter the sampling.
    """
    import jax
    import jax.numpy as jnp

    chunk = min(most, capacity)
    once = jax.jit(
        lambda memory, key: add(memory, draw(key, chunk), jnp.full(chunk, jnp.inf)), donate_argnums=0
    )
    for part in range(-(-capacity // chunk)):
        memory = once(memory, jax.random.fold_in(jax.random.key(1), part))
    return jax.block_until_ready(memory)
