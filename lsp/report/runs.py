"""Run folders as arrays: the evaluations of a run and what it took, and the final score."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsp.config import ConfigError
from lsp.report import windows
from lsp.report.old_names import renamed
from lsp.storage import metrics

BOOKKEEPING = {"name", "seed", "log_every", "checkpoint_every", "milestone_every", "track"}
BOOKKEEPING |= {"executors.address", "evaluation.max_episode_steps"}
"""Fields of a configuration that change no policy."""


class Window(NamedTuple):
    """The evaluations that a score is the mean of, by environment steps."""

    first: int
    last: int
    episodes: int  # of all of them together


@dataclass(frozen=True)
class RunResults:
    """The T evaluations of one run under one protocol, and what the run took."""

    folder: Path
    config: Mapping[str, Any]  # JSON values by dotted name
    steps: NDArray[np.int64]  # environment steps, [T]
    updates: NDArray[np.int64]  # [T]
    clock: NDArray[np.float64]  # seconds since the run began, evaluations included, [T]; NaN while no metrics are
    by_episode: Sequence[Sequence[float]]  # returns of the episodes of each evaluation, T lists
    terminated: NDArray[np.float64]  # shares of episodes that the task ended, in [0, 1], [T]
    motionless: NDArray[np.float64]  # means of the share of an episode spent motionless, [T]; NaN where none says it
    speeds: NDArray[np.float64]  # means of `info/x_velocity`, m/s, [T]; NaN where no episode says it
    successes: NDArray[np.float64]  # shares of episodes that met their goal, in [0, 1], [T]; NaN where none says it
    seconds: float  # of the whole run, to its end; NaN while no metrics are written
    steps_per_second: float
    unfinished: bool  # has not come as far as it should, or as far as was asked for
    bounds: windows.Bounds  # of the window of the final score
    failed: str | None = None  # why it was left out of a run of several seeds

    @property
    def returns(self) -> NDArray[np.float64]:
        """Means over the episodes of each evaluation, [T]."""
        return np.array([np.mean(returns) for returns in self.by_episode])

    @property
    def counts(self) -> NDArray[np.int64]:
        """Episodes of each evaluation, [T]."""
        return np.array([len(returns) for returns in self.by_episode])

    @property
    def episodes(self) -> int:
        """Episodes of one evaluation, the last."""
        return len(self.by_episode[-1])

    @property
    def repeats(self) -> NDArray[np.int64]:
        """How many evaluations came before each at the same step, [T]: after growth the policy is evaluated again."""
        return windows.repeats(self.steps)

    @property
    def growths(self) -> NDArray[np.int64]:
        """Steps of growth."""
        return np.unique(self.steps[self.repeats > 0])

    @property
    def window(self) -> Window:
        """What the final score is the mean of."""
        counted = windows.counted(self.steps, self.bounds)
        steps = self.steps[counted]
        return Window(int(steps[0]), int(steps[-1]), int(self.counts[counted].sum()))

    @property
    def score(self) -> float:
        """The final score: the mean return of all episodes in the window; NaN where one diverged."""
        counted = windows.counted(self.steps, self.bounds)
        return float(np.average(self.returns[counted], weights=self.counts[counted]))

    def final(self, values: NDArray[np.float64]) -> float:
        """Mean of `values` [T] over the window's episodes, of evaluations that know it; NaN where none does."""
        known = windows.counted(self.steps, self.bounds) & ~np.isnan(values)
        return float(np.average(values[known], weights=self.counts[known])) if known.any() else np.nan


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
        config = {"env": "?", "agent": "?", "preset": "?"} | config
        evaluated, written = _records(folder / "eval.jsonl"), _records(folder / "metrics.jsonl")
        evaluations = _select(folder, evaluated, protocol, until)
        progress = [line for line in written if until is None or line["step"] <= until]
        steps, seconds = evaluations[-1]["step"], np.nan
        reached = max(line["step"] for line in (evaluated[-1], *written[-1:]))
        goal = config.get("steps", 0)
        if progress:
            steps, seconds = max(steps, progress[-1]["step"]), progress[-1]["seconds"]
        if until is None:  # what came after the last line of metrics is noted when a run ends
            seconds = np.fmax(seconds, document.get("seconds", np.nan))
        at = np.array([line["step"] for line in evaluations])
        updates = np.array([line["updates"] for line in evaluations])
        by_episode = [line["returns"] for line in evaluations]
        return RunResults(
            folder=folder,
            config=config,
            steps=at,
            updates=updates,
            clock=_clock(at, progress),
            by_episode=by_episode,
            terminated=np.array([np.mean(line["terminated"]) for line in evaluations]),
            motionless=_said(evaluations, "motionless"),
            speeds=_said(evaluations, "info/x_velocity"),
            successes=_said(evaluations, "success"),
            seconds=float(seconds),
            steps_per_second=steps / seconds if seconds > 0 else np.nan,
            unfinished=reached < (goal if until is None else min(goal, until)),
            bounds=windows.bounds(at, updates, np.array([len(returns) for returns in by_episode])),
            failed=document.get("failed"),
        )
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{folder} cannot be read: {type(error).__name__} {error}") from error
    except json.JSONDecodeError as error:
        raise ConfigError(f"{folder / 'config.json'} is not JSON: {error}") from error


def _clock(steps: NDArray[np.int64], progress: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """When a run was at each of `steps` [T], in seconds, between the lines of its metrics."""
    if not progress:
        return np.full(len(steps), np.nan)
    return np.interp(steps, [0, *(line["step"] for line in progress)], [0, *(line["seconds"] for line in progress)])


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
