"""What benchmarks share: a heading that says what is measured where, settings from the command line, a full replay."""

import argparse
import dataclasses
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
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


class Training:
    """A loop and the seeds that it trains, 0 or those from the configuration's on, stepped by hand."""

    def __init__(self, recipe: Any, executors: Sequence[Any]) -> None:
        """One seed for each of `executors`; replay is empty, and no environment is touched yet."""
        from lsp.training.device import Device
        from lsp.training.seed import Seed
        from lsp.training.session import LOOPS

        config = recipe.config
        numbers = [config.seed + i for i in range(len(executors))]
        self.device = Device(recipe, executors[0].spec, numbers)
        self.loop = LOOPS[config.executors.mode](self.device)
        configs = [dataclasses.replace(config, seed=number) for number in numbers]
        self.seeds = [Seed(i, *pair) for i, pair in enumerate(zip(configs, executors, strict=True))]

    @property
    def step(self) -> int:
        """Environment steps of each seed."""
        return self.seeds[0].step

    @property
    def updates(self) -> int:
        """Updates of each seed."""
        return self.seeds[0].updates

    def start(self) -> None:
        """Reset every environment, and train until the first updates, which compiles."""
        self.loop.start(self.seeds)
        while self.updates == 0:
            self.advance()

    def advance(self) -> None:
        """One step of every executor, and whatever is due after it."""
        for seed in self.seeds:
            self.loop.collect(seed)
        self.loop.answer(self.seeds)
