"""Run folders as arrays: the evaluations of a run and what it took, and the final score."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsp.config import ConfigError
from lsp.report.old_names import renamed
from lsp.storage import metrics

LAST_EVALUATIONS = 10


@dataclass(frozen=True)
class RunResults:
    """The evaluations of one run under one protocol, [T] each, and what the run took."""

    folder: Path
    config: Mapping[str, Any]  # JSON values by dotted name
    steps: NDArray[np.int64]  # environment steps
    updates: NDArray[np.int64]
    returns: NDArray[np.float64]  # means over episodes
    terminated: NDArray[np.float64]  # shares of episodes that the task ended, in [0, 1]
    speeds: NDArray[np.float64]  # means of `info/x_velocity`, m/s; NaN where the environment has none
    successes: NDArray[np.float64]  # shares of episodes that met their goal, in [0, 1]; NaN where there are no goals
    episodes: int  # of one evaluation
    seconds: float  # of the whole run; NaN while no metrics are written
    steps_per_second: float

    @property
    def repeats(self) -> NDArray[np.int64]:
        """How many evaluations came before each at the same step, [T]: after growth the policy is evaluated again."""
        first = np.searchsorted(self.steps, self.steps)
        return np.arange(len(self.steps)) - first

    @property
    def growths(self) -> NDArray[np.int64]:
        """Steps of growth."""
        return np.unique(self.steps[self.repeats > 0])

    @property
    def _last(self) -> NDArray[np.int64]:
        """Indices of the evaluations that the final score is the mean of.

        They are the last 10, but of the run's second half only, and only of the layer trained last; what is
        evaluated right after growth has not been trained.
        """
        grown = np.flatnonzero(self.repeats > 0)
        trained = np.flatnonzero(self.repeats == 0)
        since = max(grown[grown < trained[-1]], default=-1)
        counted = trained[(trained > since) & (self.steps[trained] > self.steps[-1] / 2)]
        return counted[-LAST_EVALUATIONS:]

    @property
    def window(self) -> int:
        """How many evaluations the final score is the mean of."""
        return len(self._last)

    def final(self, values: NDArray[np.float64]) -> float:
        """Mean of `values` [T] over the final window."""
        return float(np.mean(values[self._last]))


def read_all(folders: Sequence[Path], protocol: str, until: int | None = None) -> list[RunResults]:
    """Every run in `folders`, each a run or a folder of runs, grids included; each counts once. Raises ConfigError."""
    found = {run.resolve(): run for folder in folders for run in _expand(folder)}
    return [read(run, protocol, until) for run in found.values()]


def _expand(folder: Path) -> list[Path]:
    if (folder / "config.json").is_file():
        return [folder]
    patterns = ("*/config.json", "*/seed_*/config.json")
    inside = sorted(path.parent for pattern in patterns for path in folder.glob(pattern))
    if not inside:
        problem = "there is no config.json in it" if folder.is_dir() else "there is no such folder"
        raise ConfigError(f"{folder} is not a run: {problem}")
    return inside


def read(folder: Path, protocol: str, until: int | None = None) -> RunResults:
    """A run's evaluations under `protocol`, up to environment step `until`; it may still be training.

    Raises:
        ConfigError: not a run, or nothing to report of it.
    """
    try:
        config = renamed(_flatten(json.loads((folder / "config.json").read_text())["config"]))
        evaluations = _select(folder, _records(folder / "eval.jsonl"), protocol, until)
        progress = [line for line in _records(folder / "metrics.jsonl") if until is None or line["step"] <= until]
        seconds = progress[-1]["seconds"] if progress else np.nan
        return RunResults(
            folder=folder,
            config={"env": "?", "agent": "?", "preset": "?"} | config,
            steps=np.array([line["step"] for line in evaluations]),
            updates=np.array([line["updates"] for line in evaluations]),
            returns=np.array([np.mean(line["returns"]) for line in evaluations]),
            terminated=np.array([np.mean(line["terminated"]) for line in evaluations]),
            speeds=np.array([np.mean(line.get("info/x_velocity", np.nan)) for line in evaluations]),
            successes=np.array([np.mean(line.get("success", np.nan)) for line in evaluations]),
            episodes=len(evaluations[-1]["returns"]),
            seconds=seconds,
            steps_per_second=progress[-1]["step"] / seconds if progress and seconds > 0 else np.nan,
        )
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{folder} cannot be read: {type(error).__name__} {error}") from error
    except json.JSONDecodeError as error:
        raise ConfigError(f"{folder / 'config.json'} is not JSON: {error}") from error


def _records(path: Path) -> list[dict[str, Any]]:
    try:
        return [renamed(record) for record in metrics.read(path)] if path.exists() else []
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _select(folder: Path, records: list[dict[str, Any]], protocol: str, until: int | None) -> list[dict[str, Any]]:
    if not records:
        raise ConfigError(f"{folder} has nothing to report yet: eval.jsonl holds no evaluation; leave the run out")
    kept = [record for record in records if record["protocol"] == protocol]
    if not kept:
        protocols = ", ".join(dict.fromkeys(record["protocol"] for record in records))
        raise ConfigError(f"{folder} was not evaluated with --protocol={protocol}, only with: {protocols}")
    if until is not None and kept[0]["step"] > until:
        raise ConfigError(f"--until={until} is before the first evaluation of {folder}, at step {kept[0]['step']}")
    return [record for record in kept if until is None or record["step"] <= until]


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted name, also of nested tables."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
