"""Run folders as arrays: the evaluations of a run and what it took, and the final score."""

import json
from collections.abc import Callable, Mapping, Sequence
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
    speeds: NDArray[np.float64]  # means of `info/x_velocity`, m/s; NaN where no episode says it
    successes: NDArray[np.float64]  # shares of episodes that met their goal, in [0, 1]; NaN where none says it
    episodes: int  # of one evaluation
    seconds: float  # of the whole run, to its end; NaN while no metrics are written
    steps_per_second: float
    failed: str | None = None  # why it was left out of a run of several seeds

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
        """Mean of `values` [T] over the final window, of those that are known; NaN where none is."""
        window = values[self._last]
        known = window[~np.isnan(window)]
        return float(np.mean(known)) if len(known) else np.nan


def read_all(
    folders: Sequence[Path], protocol: str, until: int | None = None, leave_out: Callable[[str], None] | None = None
) -> list[RunResults]:
    """Every run in `folders`, each a run or a folder of runs, grids included; each counts once.

    Among several, one with nothing to report yet, or that cannot be read, is left out, and `leave_out` is told why.

    Raises:
        ConfigError: there is no such folder, or no run of which there is anything to report.
    """
    results: dict[Path, RunResults] = {}
    problems: list[str] = []
    for folder in folders:
        try:
            inside = _expand(folder)
        except ConfigError as error:
            if not folder.exists():
                raise
            problems.append(str(error))
            continue
        for run in inside:
            if run.resolve() in results:
                continue
            try:
                results[run.resolve()] = read(run, protocol, until)
            except ConfigError as error:
                problems.append(str(error))
    if not results:
        more = f" (and {len(problems) - 1} more like it)" if len(problems) > 1 else ""
        raise ConfigError(f"{problems[0]}{more}")
    if leave_out is not None:
        for problem in dict.fromkeys(problems):
            leave_out(problem)
    return list(results.values())


def _expand(folder: Path) -> list[Path]:
    if (folder / "config.json").is_file():
        return [folder]
    patterns = ("*/config.json", "*/seed_*/config.json")
    inside = sorted(path.parent for pattern in patterns for path in folder.glob(pattern))
    if not inside:
        problem = "there is no config.json in it" if folder.is_dir() else "there is no such folder"
        problem = "it is a file" if folder.is_file() else problem
        raise ConfigError(f"{folder} is not a run: {problem}")
    return inside


def read(folder: Path, protocol: str, until: int | None = None) -> RunResults:
    """A run's evaluations under `protocol`, up to environment step `until`; it may still be training.

    Raises:
        ConfigError: not a run, or nothing to report of it.
    """
    try:
        document = json.loads((folder / "config.json").read_text())
        config = renamed(_flatten(document["config"]))
        evaluations = _select(folder, _records(folder / "eval.jsonl"), protocol, until)
        progress = [line for line in _records(folder / "metrics.jsonl") if until is None or line["step"] <= until]
        steps, seconds = evaluations[-1]["step"], np.nan
        if progress:
            steps, seconds = max(steps, progress[-1]["step"]), progress[-1]["seconds"]
        if until is None:  # what came after the last line of metrics is noted when a run ends
            seconds = np.fmax(seconds, document.get("seconds", np.nan))
        return RunResults(
            folder=folder,
            config={"env": "?", "agent": "?", "preset": "?"} | config,
            steps=np.array([line["step"] for line in evaluations]),
            updates=np.array([line["updates"] for line in evaluations]),
            returns=np.array([np.mean(line["returns"]) for line in evaluations]),
            terminated=np.array([np.mean(line["terminated"]) for line in evaluations]),
            speeds=_said(evaluations, "info/x_velocity"),
            successes=_said(evaluations, "success"),
            episodes=len(evaluations[-1]["returns"]),
            seconds=float(seconds),
            steps_per_second=steps / seconds if seconds > 0 else np.nan,
            failed=document.get("failed"),
        )
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{folder} cannot be read: {type(error).__name__} {error}") from error
    except json.JSONDecodeError as error:
        raise ConfigError(f"{folder / 'config.json'} is not JSON: {error}") from error


def _said(evaluations: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    """Of every evaluation the mean over the episodes that say `name`, [T]; NaN where none does."""
    means = [metrics.mean_of_said(line.get(name)) for line in evaluations]
    return np.array([np.nan if mean is None else mean for mean in means])


def _records(path: Path) -> list[dict[str, Any]]:
    try:
        return [renamed(record) for record in metrics.read(path)] if path.exists() else []
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _select(folder: Path, records: list[dict[str, Any]], protocol: str, until: int | None) -> list[dict[str, Any]]:
    if not records:
        raise ConfigError(f"{folder} has nothing to report yet: eval.jsonl holds no evaluation")
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
