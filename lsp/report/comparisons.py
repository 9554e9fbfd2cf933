"""A group of seeds held against an earlier one of its environment.

Where runs of one seed were one run of both until some step, by their differences; else by how often a seed of the one
is better than a seed of the other.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lsp.report.groups import SeedGroup
from lsp.report.prefixes import comparable, shared_prefix
from lsp.report.statistics import MIN_SEEDS, Interval, mann_whitney_p, probability_of_improvement, t_interval


class Unpaired(NamedTuple):
    """Two groups of independent runs."""

    against: SeedGroup
    seeds: tuple[int, int]  # of the group, and of the other
    p_better: float | None  # probability of improvement; None below `MIN_SEEDS` on a side
    p_value: float | None  # of the Mann-Whitney test that it is one half


class Paired(NamedTuple):
    """Two groups whose runs of one seed were one run until `prefix`."""

    against: SeedGroup
    prefix: int  # environment steps, the fewest over the pairs
    differences: Mapping[int, float]  # by seed: the score of this group's run minus that of the other's

    @property
    def mean(self) -> float:
        """Of the differences."""
        return float(np.mean(list(self.differences.values())))

    @property
    def interval(self) -> Interval | None:
        """95 % t interval of the mean difference; None below `MIN_SEEDS` pairs."""
        values = np.array(list(self.differences.values()))
        return t_interval(values) if len(values) >= MIN_SEEDS else None


Comparison = Paired | Unpaired


def compare(group: SeedGroup, earlier: Sequence[SeedGroup]) -> Comparison | None:
    """With the first of the `earlier` groups of its environment that shares a past with it, else with the first."""
    paired = (_pair(group, other) for other in earlier)
    found = next((each for each in paired if each.differences), None)
    if found is not None or not earlier:
        return found
    return _hold_against(group, earlier[0])


def _pair(group: SeedGroup, other: SeedGroup) -> Paired:
    theirs = {run.config.get("seed"): run for run in other.runs}
    pairs = [(run, theirs[seed]) for run in group.runs if (seed := run.config.get("seed")) in theirs]
    pairs = [(run, twin) for run, twin in pairs if comparable(run, twin)]
    differences = {run.config["seed"]: run.score - twin.score for run, twin in pairs}
    return Paired(other, min((shared_prefix(*pair) for pair in pairs), default=0), differences)


def _hold_against(group: SeedGroup, other: SeedGroup) -> Unpaired:
    x, y = group.scores, other.scores
    if min(len(x), len(y)) < MIN_SEEDS:
        return Unpaired(other, (len(x), len(y)), None, None)
    return Unpaired(other, (len(x), len(y)), probability_of_improvement(x[:, None], y[:, None]), mann_whitney_p(x, y))
