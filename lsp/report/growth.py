"""What adding a layer costs at first: how far the return drops, and what it is in the first steps after."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lsp.report.groups import SeedGroup
from lsp.report.runs import RunResults

SPAN = 100_000
"""Environment steps after growth that are looked at."""


class Aftermath(NamedTuple):
    """The first steps after growth."""

    dip: float  # last return before growth minus the lowest in these steps
    area: float  # under the curve of returns, in return times environment steps
    span: int  # environment steps: `SPAN`, or as many as there are


def growth_step(groups: Sequence[SeedGroup]) -> int | None:
    """The step of the last growth of the first of these groups that grows; None where none does."""
    return next((int(group.runs[0].growths[-1]) for group in groups if len(group.runs[0].growths)), None)


def aftermath(run: RunResults, step: int) -> Aftermath | None:
    """Of growth at environment step `step`; of a run that does not grow there, what it does meanwhile.

    None where the run has no evaluation at that step, or none after it.
    """
    at = np.flatnonzero(run.steps == step)
    inside = np.flatnonzero((run.steps > step) & (run.steps <= step + SPAN))
    if len(at) == 0 or len(inside) == 0:
        return None
    span = min(SPAN, int(run.steps[-1]) - step)
    # Where a layer was added, its policy was evaluated at once: the curve continues from there.
    steps, returns = run.steps[at[-1] :], run.returns[at[-1] :]
    edges = np.array([step, *run.steps[inside], step + span])
    area = np.trapezoid(np.interp(edges, steps, returns), edges)
    after = np.append(at[1:], inside)
    return Aftermath(float(run.returns[at[0]] - np.min(run.returns[after])), float(area), span)


def of_group(group: SeedGroup, reference: int | None) -> Aftermath | None:
    """Means over seeds: of the group's own growth, or at the step `reference` where it has none."""
    own = growth_step([group])
    step = reference if own is None else own
    found = [aftermath(run, step) for run in group.runs] if step is not None else [None]
    known = [each for each in found if each is not None]
    if len(known) < len(found):
        return None
    spans = [each.span for each in known]
    if len(set(spans)) > 1:  # areas of unequal width have no mean
        return None
    return Aftermath(
        float(np.mean([each.dip for each in known])), float(np.mean([each.area for each in known])), spans[0]
    )


def explanation(groups: Sequence[SeedGroup]) -> str | None:
    """What the columns mean; None where no run grows."""
    if growth_step(groups) is None:
        return None
    return (
        f"note: dip: return before growth minus the lowest in the first {SPAN:,} steps after it (fewer where the run "
        "ends sooner)\nnote: after growth: mean return over these steps, the area under the curve divided by their "
        "number\nnote: of runs that do not grow, both are at the step where the first other one grows"
    )
