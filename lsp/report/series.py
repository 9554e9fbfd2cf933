"""What pictures of runs show: curves over seeds, and what runs with a common past differ by after it."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsp.config import ConfigError
from lsp.report.groups import SeedGroup
from lsp.report.prefixes import shared_prefix
from lsp.report.runs import RunResults
from lsp.report.statistics import MIN_SEEDS, iqm, mean, stratified_bootstrap_interval, t_interval

RESAMPLES = 2_000
MAX_REPEATS = 1_000  # more evaluations than there can be at one step

X: Mapping[str, Callable[[RunResults], NDArray[np.float64]]] = {
    "steps": lambda run: run.steps.astype(float),
    "updates": lambda run: run.updates.astype(float),
    "minutes": lambda run: run.clock / 60,
}
"""What a curve can run along, [T] of a run: environment steps, updates, minutes of wall-clock."""
Y: Mapping[str, Callable[[RunResults], NDArray[np.float64]]] = {
    "return": lambda run: run.returns,
    "success": lambda run: run.successes,
}
"""What a curve can show, [T] of a run: the mean return, the share of episodes that met their goal."""


class View(NamedTuple):
    """What is drawn against what."""

    x: str = "steps"
    y: str = "return"


class Curve(NamedTuple):
    """What is drawn of a group, at the T evaluations that all its N seeds have."""

    steps: NDArray[np.int64]  # environment steps, [T]
    x: NDArray[np.float64]  # mean over seeds, [T]
    center: NDArray[np.float64]  # [T]
    low: NDArray[np.float64]  # [T]
    high: NDArray[np.float64]  # [T]
    seeds: NDArray[np.float64]  # [N, T]

    def where(self, chosen: NDArray[np.bool_]) -> "Curve":
        """The evaluations that are `chosen`, bool[T]."""
        x, center, low, high, seeds = (
            part[..., chosen] for part in (self.x, self.center, self.low, self.high, self.seeds)
        )
        return Curve(self.steps[chosen], x, center, low, high, seeds)


class Fork(NamedTuple):
    """Groups of one environment whose runs were the same, seed by seed, until some grew a layer."""

    step: int  # the last environment step that they share
    reference: SeedGroup  # one that does not grow, if there is one
    arms: list[SeedGroup]  # the others


def choose_y(groups: Sequence[SeedGroup], asked: str | None) -> str:
    """What to show of an environment: as asked, else success where all its runs say it.

    Raises:
        ConfigError: success is asked for, and a run does not say it.
    """
    silent = [run for group in groups for run in group.runs if np.isnan(run.successes).any()]
    if asked == "success" and silent:
        raise ConfigError(
            f"--y=success: {silent[0].folder} does not say which episodes met a goal; tasks with goals do: --y=return"
        )
    return asked or ("return" if silent else "success")


def curve(group: SeedGroup, view: View = View()) -> Curve:  # noqa: B008  # immutable
    """Mean over seeds and their range; from five seeds on their IQM and its bootstrapped 95 % interval.

    Raises:
        ConfigError: minutes are asked for, and a run does not say them.
    """
    moments = reduce(np.intersect1d, map(_moments, group.runs))
    chosen = [np.isin(_moments(run), moments) for run in group.runs]
    values = np.array([Y[view.y](run)[at] for run, at in zip(group.runs, chosen, strict=True)])
    x = np.array([along(run, view)[at] for run, at in zip(group.runs, chosen, strict=True)])
    if len(values) < MIN_SEEDS:
        center, (low, high) = mean(values.T), (values.min(axis=0), values.max(axis=0))
    else:
        center = iqm(values.T)
        low, high = _intervals(values, lambda each: stratified_bootstrap_interval(each[:, None], resamples=RESAMPLES))
    return Curve(moments // MAX_REPEATS, x.mean(axis=0), center, low, high, values)


def along(run: RunResults, view: View) -> NDArray[np.float64]:
    """Where the evaluations of a run are on the x axis, [T]. Raises ConfigError."""
    found = X[view.x](run)
    if np.isnan(found).any():
        raise ConfigError(f"--x={view.x}: {run.folder} does not say when it was evaluated: metrics.jsonl is missing")
    return found


def fork(groups: Sequence[SeedGroup]) -> Fork | None:
    """Of the groups of one environment, those that share a past with the first that grows; None where none do."""
    for group in filter(_grows, groups):
        family = [other for other in groups if other is group or pairs(other, group)]
        reference = next((other for other in family if not _grows(other)), family[0])
        arms = [arm for arm in family if arm is not reference and pairs(arm, reference)]
        if arms:
            shared = [shared_prefix(*pair) for arm in arms for pair in pairs(arm, reference)]
            return Fork(min(shared), reference, arms)
    return None


def pairs(group: SeedGroup, other: SeedGroup) -> list[tuple[RunResults, RunResults]]:
    """Runs of one seed that were one run of both groups at first."""
    twins = {run.config.get("seed"): run for run in other.runs}
    both = [(run, twins[seed]) for run in group.runs if (seed := run.config.get("seed")) in twins]
    return [pair for pair in both if shared_prefix(*pair) > 0]


def difference(arm: SeedGroup, reference: SeedGroup, since: int, view: View = View()) -> Curve:  # noqa: B008
    """Paired by seed, arm minus reference from environment step `since` on; of one step the last evaluation counts.

    Band: the range of the pairs; from five on a 95 % t interval of their mean.
    """
    both = pairs(arm, reference)
    steps = reduce(np.intersect1d, [run.steps for pair in both for run in pair])
    steps = steps[steps >= since]
    values = np.array([_last(run, Y[view.y](run), steps) - _last(twin, Y[view.y](twin), steps) for run, twin in both])
    x = np.mean([_last(run, along(run, view), steps) for run, _ in both], axis=0)
    low, high = values.min(axis=0), values.max(axis=0)
    if len(both) >= MIN_SEEDS:
        low, high = _intervals(values, t_interval)
    return Curve(steps, x, values.mean(axis=0), low, high, values)


def _intervals(
    values: NDArray[np.float64], interval: Callable[[NDArray[np.float64]], tuple[float, float]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each column of values [N, T], low and high [T]."""
    band = np.array([interval(column) for column in values.T]).reshape(-1, 2)
    return band[:, 0], band[:, 1]


def _last(run: RunResults, values: NDArray[np.float64], steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """The last of `values` [T] at each of some steps."""
    return values[np.searchsorted(run.steps, steps, side="right") - 1]


def _moments(run: RunResults) -> NDArray[np.int64]:
    """What tells evaluations apart, [T]: the step, and which it is of those at that step."""
    return run.steps * MAX_REPEATS + run.repeats


def _grows(group: SeedGroup) -> bool:
    return any(len(run.growths) for run in group.runs)
