"""Runs with a common past: of one seed, and bit for bit the same until one grew a layer and the other did not.

They are scored over the same window, so that their difference is of what came after.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lsp.config import ConfigError
from lsp.report import windows
from lsp.report.runs import BOOKKEEPING, RunResults

FORKS = {"steps", "layers", "layer_steps", "layer_rewards"} | BOOKKEEPING - {"seed"}
FORKING_TABLES = ("growth.", "evaluation.")
"""Fields, and beginnings of fields, that may differ between runs with a common past."""


def shared_prefix(a: RunResults, b: RunResults) -> int:
    """The environment step up to which two runs are one and the same; 0 where they never were.

    They are, where they have the same seed, environment and settings (those of growth aside, and what one of two
    versions did not have), and all evaluations at common steps are equal bit for bit, at least one of them after
    learning began.
    """
    if any(a.config[name] != b.config[name] for name in a.config.keys() & b.config.keys() if _must_agree(name)):
        return 0
    theirs, shared = _evaluations(b), 0
    for moment, (updates, returns) in _evaluations(a).items():
        if moment not in theirs:
            continue
        if theirs[moment] != (updates, returns):
            break
        shared = moment[0] if updates > 0 else shared
    return shared


def comparable(a: RunResults, b: RunResults) -> bool:
    """Whether two runs share a prefix and end at the same step, so that their scores make a pair."""
    return bool(a.steps[-1] == b.steps[-1]) and shared_prefix(a, b) > 0


def align(runs: Sequence[RunResults], score_from: int | None = None) -> list[RunResults]:
    """The same runs in their order, those that are comparable with one window.

    It begins where the shortest history of learning among them allows, and has enough episodes of each where that can
    be. With `score_from`, the window of every run begins at that step.

    Raises:
        ConfigError: a run has no evaluation from `score_from` on.
    """
    families: list[list[RunResults]] = []
    for run in runs:
        family = next((family for family in families if comparable(family[0], run)), None)
        if family is None:
            families.append(family := [])
        family.append(run)
    bounds = {id(run): _common_bounds(family, score_from) for family in families for run in family}
    return [replace(run, bounds=bounds[id(run)]) for run in runs]


def _common_bounds(family: Sequence[RunResults], score_from: int | None) -> windows.Bounds:
    after = max(run.bounds.after for run in family)
    if score_from is None:
        return windows.Bounds(after, min(windows.first_step(run.steps, run.counts, after) for run in family))
    for run in family:
        if score_from > run.steps[-1]:
            last = f"the last evaluation of {run.folder}, at step {run.steps[-1]}"
            raise ConfigError(f"--score-from={score_from} is after {last}")
    return windows.Bounds(after, score_from)


def step_for_all(runs: Sequence[RunResults]) -> int | None:
    """The step from which to score all runs, where some that end at the same step are scored over different ones.

    None where windows differ no more than lengths.
    """
    for end in dict.fromkeys(run.steps[-1] for run in runs):
        alike = [run for run in runs if run.steps[-1] == end]
        if len({run.window.first for run in alike}) > 1:
            learning = [int(run.steps[run.steps > run.bounds.after][0]) for run in alike]
            return max(*learning, min(run.window.first for run in alike))
    return None


def _must_agree(name: str) -> bool:
    return name not in FORKS and not name.startswith(FORKING_TABLES)


def _evaluations(run: RunResults) -> dict[tuple[int, int], tuple[int, Any]]:
    """Of each evaluation, by its step and which it is of those at that step: updates so far and all returns."""
    moments = zip(run.steps.tolist(), run.repeats.tolist(), strict=True)
    return dict(zip(moments, zip(run.updates.tolist(), map(list, run.by_episode), strict=True), strict=True))
