"""Where a run comes from: versions, revision, command line, machine."""

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("lsp", "jax", "jaxlib", "flax", "optax", "distrax", "tfp-nightly", "mujoco", "gymnasium", "numpy")


def describe() -> dict[str, Any]:
    """What `config.json` records beside the configuration."""
    return {
        "format": 1,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": versions(),
        "git": git_revision(),
        "platform": platform.platform(),
    }


def versions() -> dict[str, str]:
    """Installed versions of Python and of the packages that decide a run's numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def git_revision() -> str | None:
    """The revision of the source tree, with `-dirty` if it was changed; None outside a checkout.

    A checkout that merely surrounds an installed `lsp`, such as one with a virtual environment in it, does not count.
    """
    here = Path(__file__)
    try:
        _git(here.parent, "ls-files", "--error-unmatch", here.name)
        return _git(here.parent, "describe", "--always", "--dirty", "--abbrev=40") or None
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
