"""How `lsp` is installed: its version, and what to type to install an extra. No JAX here.

The distribution is on no index, and what is called `lsp` there is somebody else's. So what works is to install the
checkout that this code lies in, with the interpreter that runs it.
"""

import configparser
import importlib.metadata
import shlex
import sys
from pathlib import Path

DISTRIBUTION = "latent-space-policies"
"""What setup.cfg calls it; the import is `lsp`."""
PIP = f"{shlex.quote(sys.executable or 'python')} -m pip"
"""The installer of this environment, as typed."""


def install(extra: str) -> str:
    """The command that installs an extra of setup.cfg, such as `.venv/bin/python -m pip install -e '.[track]'`.

    It names the checkout where that is not the working folder. Where `lsp` lies in none, it must be typed in one.
    """
    root = _checkout()
    target = f"'.[{extra}]'" if root in (None, Path.cwd()) else shlex.quote(f"{root}[{extra}]")
    return f"{PIP} install -e {target}"


def version() -> str:
    """The version of the checkout that this code lies in, else the installed one; `unknown` where there is neither."""
    root, setup = _checkout(), configparser.ConfigParser()
    if root is not None:
        setup.read(root / "setup.cfg")
        return setup["metadata"]["version"]
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _checkout() -> Path | None:
    root = Path(__file__).resolve().parents[2]
    return root if (root / "setup.cfg").is_file() else None
