"""Run directories as arrays, and those that differ by their seed alone as one group."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsp.config import ConfigError
from lsp.storage import metrics

LAST_EVALUATIONS = 10
BOOKKEEPING = {"name", "seed", "log_every", "checkpoint_every", "milestone_every", "track"}  # what changes no policy
MAX_LABEL_FIELDS = 3


@dataclass(frozen=True)
class Run:
    """The evaluations of one run under one protocol, [T] each, and what the run took."""

    folder: Path
    config: Mapping[str, Any]  # JSON values by dotted name
    steps: NDArray[np.int64]  # environment steps
    updates: NDArray[np.int64]
    returns: NDArray[np.float64]  # means over episodes
    falls: NDArray[np.float64]  # shares of episodes, in [0, 1]
    speeds: NDArray[np.float64]  # means of `info/x_velocity`, m/s; NaN where the environment has none
    successes: NDArray[np.float64]  # shares of episodes that met their goal, in [0, 1]; NaN where there are no goals
    episodes: int  # of one evaluation
    seconds: float  # of the whole run; NaN while no metrics are written
    steps_per_second: float

    @property
    def repeats(self) -> NDArray[np.int64]:
        """How many evaluations came before each at the same step, [T]: after growth the policy is judged anew."""
        first = np.searchsorted(self.steps, self.steps)
        return np.arange(len(self.steps)) - first

    @property
    def growths(self) -> NDArray[np.int64]:
        """Steps of growth."""
        return np.unique(self.steps[self.repeats > 0])

    @property
    def _last(self) -> NDArray[np.int64]:
        """Indices of the evaluations that the final score is the mean of.

        They are the last 10, but of the run's second half only, and only of the layer trained last; what is judged
        right after growth has not been trained.
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


class Group(NamedTuple):
    """Runs that differ by their seed alone."""

    env: str
    label: str
    runs: list[Run]

    @property
    def scores(self) -> NDArray[np.float64]:
        """Final score of every seed, [N]."""
        return np.array([run.final(run.returns) for run in self.runs])


def read_all(folders: Sequence[Path], protocol: str, until: int | None = None) -> list[Run]:
    """Every run in `folders`, each a run or a folder of runs and sweeps; each counts once. Raises ConfigError."""
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


def read(folder: Path, protocol: str, until: int | None = None) -> Run:
    """A run's evaluations under `protocol`, up to environment step `until`; it may still be training.

    Raises:
        ConfigError: not a run, or nothing to report of it.
    """
    try:
        config = _flatten(json.loads((folder / "config.json").read_text())["config"])
        evaluations = _select(folder, _records(folder / "eval.jsonl"), protocol, until)
        progress = [line for line in _records(folder / "metrics.jsonl") if until is None or line["step"] <= until]
        seconds = progress[-1]["seconds"] if progress else np.nan
        return Run(
            folder=folder,
            config={"env": "?", "agent": "?", "preset": "?"} | config,
            steps=np.array([line["step"] for line in evaluations]),
            updates=np.array([line["updates"] for line in evaluations]),
            returns=np.array([np.mean(line["returns"]) for line in evaluations]),
            falls=np.array([np.mean(line["falls"]) for line in evaluations]),
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
        return metrics.read(path) if path.exists() else []
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


def group_by_seed(runs: Sequence[Run]) -> list[Group]:
    """Runs by configuration, in order of appearance, those of an environment together.

    Raises:
        ConfigError: two runs share configuration and seed, so that they are no two samples.
    """
    members: dict[str, list[Run]] = {}
    for run in runs:
        members.setdefault(json.dumps(_settings(run), sort_keys=True), []).append(run)
    for same in members.values():
        _check_seeds(same)
    firsts = [same[0] for same in members.values()]
    groups = [Group(str(same[0].config["env"]), _label(same[0], firsts), same) for same in members.values()]
    envs = list(dict.fromkeys(group.env for group in groups))
    return sorted(groups, key=lambda group: envs.index(group.env))


def _settings(run: Run) -> dict[str, Any]:
    return {name: value for name, value in run.config.items() if name not in BOOKKEEPING}


def _check_seeds(runs: Sequence[Run]) -> None:
    seen: dict[Any, Path] = {}
    for run in runs:
        seed = run.config.get("seed")
        if seed in seen:
            raise ConfigError(
                f"{seen[seed]} and {run.folder} are the same configuration with the same seed {seed}, which are no two "
                "samples: leave one out"
            )
        seen[seed] = run.folder


def _label(run: Run, firsts: Sequence[Run]) -> str:
    """The agent, the preset where presets differ, and what else tells runs of this agent and preset apart."""
    presets = {first.config["preset"] for first in firsts}
    head = [run.config["agent"]] + [run.config["preset"]] * (len(presets) > 1)
    peers = [first for first in firsts if _kind(first) == _kind(run)]
    names = sorted(set(_differing(peers)))
    if len(names) > MAX_LABEL_FIELDS:
        return ", ".join([*head, run.folder.name])
    return ", ".join(head + [f"{name}={_text(run.config.get(name, 'unset'))}" for name in names])


def _kind(run: Run) -> tuple[Any, Any]:
    return run.config["agent"], run.config["preset"]


def _differing(peers: Sequence[Run]) -> Iterator[str]:
    """Fields that differ between runs in the same environment."""
    for env in {peer.config["env"] for peer in peers}:
        settings = [_settings(peer) for peer in peers if peer.config["env"] == env]
        for name in {name for each in settings for name in each}:
            if len({_text(each.get(name, "unset")) for each in settings}) > 1:
                yield name


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)
