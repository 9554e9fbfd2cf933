"""Where a run comes from: versions, revision, command line, machine."""

import importlib.metadata
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lsp.config import packaging
from lsp.storage.run_folder import read_document, write_document

PACKAGES = ("jax", "jaxlib", "flax", "optax", "distrax", "tfp-nightly", "mujoco", "gymnasium", "numpy")


def describe() -> dict[str, Any]:
    """What `config.json` records beside the configuration of a new run."""
    first = session(0)
    return {
        "format": 1,
        "command": first["command"],
        "versions": versions(),
        "git": first["git"],
        "platform": platform.platform(),
        "sessions": [first],
    }


def session(step: int) -> dict[str, Any]:
    """One command's share in a run: what was typed, the revision, the environment step at which it began, and when."""
    return {
        "step": step,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git": git_revision(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def resumed(document: Mapping[str, Any], step: int) -> dict[str, Any]:
    """A run's document with the session that begins now, at environment step `step`, beside those that it has."""
    before = [{"step": 0, "command": document.get("command"), "git": document.get("git")}]  # of a run that lists none
    return {**document, "sessions": [*document.get("sessions", before), session(step)]}


def ended(run_dir: Path, seconds: float) -> None:
    """Note in a run's `config.json` the wall-clock until now, of all sessions together. Raises ConfigError."""
    write_document(run_dir, read_document(run_dir) | {"seconds": round(seconds, 3)})


def versions() -> dict[str, str]:
    """Versions of Python, of `lsp`, and of the packages that decide a run's numbers."""
    found = {"python": platform.python_version(), "lsp": packaging.version()}
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
