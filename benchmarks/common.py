"""What benchmarks share: a heading that says what is measured where, and settings from the command line."""

import argparse
import json
import os
import platform
import sys
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
