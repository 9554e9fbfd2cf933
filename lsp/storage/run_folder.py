"""A run's folder as others see it: `config.json`, read and written so that a crash leaves the old one whole."""

import fcntl
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lsp.config import Config, ConfigError, from_dict, validate
from lsp.config.schema import PROGRAM

SEED = "seed_"


def seed_folder(folder: Path, seed: int) -> Path:
    """The folder of one seed in that of several."""
    return folder / f"{SEED}{seed}"


def seeds_of(folder: Path) -> dict[int, Path]:
    """The folder of each seed that has begun, by its number, in order; empty where `folder` is not that of several."""
    if (folder / "config.json").exists():
        return {}
    found = [path.parent for path in folder.glob(f"{SEED}*/config.json")]
    numbers = {int(number): each for each in found if (number := each.name.removeprefix(SEED)).isdecimal()}
    return dict(sorted(numbers.items()))


def read_config(run_dir: Path) -> Config:
    """The configuration of a run directory. Raises ConfigError."""
    return parse_config(run_dir, read_document(run_dir)["config"])


def read_document(run_dir: Path) -> dict[str, Any]:
    """All of `config.json`: the configuration, and where it came from. Raises ConfigError."""
    path = run_dir / "config.json"
    try:
        document = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        if not run_dir.exists():
            raise ConfigError(f"{run_dir} is not a run: there is no such folder") from None
        inside = sorted(run_dir.glob("*/config.json"))
        remedy = f"; choose one of the runs in it, such as {inside[0].parent}" if inside else ""
        raise ConfigError(f"{run_dir} is not a run: there is no {path.name} in it{remedy}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if not (isinstance(document, dict) and isinstance(document.get("config"), dict)):
        raise ConfigError(f"{path} cannot be read: it holds no configuration of a run")
    return document


def parse_config(run_dir: Path, values: Mapping[str, Any]) -> Config:
    """The configuration that a document holds. Raises ConfigError, naming the file."""
    try:
        return validate(from_dict(values))
    except ConfigError as error:
        raise ConfigError(f"{run_dir / 'config.json'}: {error}") from error


def resume_command(run_dir: Path) -> str:
    """What to type into a shell to continue a run."""
    return f"{PROGRAM} --resume={shlex.quote(str(run_dir))}"


def require_new(run_dir: Path) -> None:
    """Raise ConfigError unless a run can begin in `run_dir`: nothing is there yet, and the folder can be made."""
    if run_dir.is_file() or (run_dir.is_dir() and any(run_dir.iterdir())):
        remedy = f"choose another --name, or resume it with --resume={shlex.quote(str(run_dir))}"
        raise ConfigError(f"{run_dir} exists: {remedy}")
    present = next(folder for folder in (run_dir, *run_dir.parents) if folder.exists())
    if not present.is_dir():
        raise ConfigError(f"cannot write to {run_dir}: {present} is a file")
    if not os.access(present, os.W_OK | os.X_OK):
        raise ConfigError(f"cannot write to {run_dir}: nothing may be written to {present}")


def write_document(run_dir: Path, document: Mapping[str, Any]) -> None:
    """Replace `config.json`, making the folder if need be. Raises ConfigError where that cannot be."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        aside = run_dir / "config.json.partial"
        aside.write_text(json.dumps(document, indent=2) + "\n")
        aside.replace(run_dir / "config.json")
    except OSError as error:
        raise ConfigError(f"cannot write to {run_dir}: {error.strerror or error}") from error


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Keep the folder to this process, however it ends. Raises ConfigError where another has it."""
    folder = os.open(run_dir, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ConfigError(f"{run_dir} is in use: another process trains there; wait for it or stop it") from None
    finally:
        os.close(folder)
