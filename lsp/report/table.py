"""What a report says of each group of seeds: a row of numbers, and the same as a person reads it."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lsp.report import growth
from lsp.report.comparisons import Comparison, Paired, Unpaired, compare
from lsp.report.groups import SeedGroup
from lsp.report.statistics import MIN_SEEDS, iqm, stratified_bootstrap_interval, t_interval

TextRow = Sequence[str]
ABSENT = "-"
UNFINISHED = "*"  # of seeds some of which are


class Row(NamedTuple):
    """What a report says of a group, a column of the CSV each; None where it cannot be known, as one seed's spread."""

    env: str
    label: str
    seeds: int
    unfinished: int  # of the seeds
    steps_min: int  # environment steps of the last evaluation, over seeds
    steps_max: int
    updates_min: int
    updates_max: int
    window_first: int  # environment steps of the first and last evaluation that scores are means of, over seeds
    window_last: int
    episodes_min: int  # of such evaluations of a seed, together
    episodes_max: int
    scores: str  # of every seed, as SEED:SCORE
    mean: float  # over seeds, of their scores
    lowest: float | None  # score of a seed; None of a single one
    highest: float | None
    t_low: float | None  # 95 % t interval of the mean; from five seeds on
    t_high: float | None
    iqm: float | None  # interquartile mean over seeds; from five on
    iqm_low: float | None  # 95 % bootstrap interval
    iqm_high: float | None
    median: float
    terminated: float  # share of the scored episodes that the task ended, not the time limit, in [0, 1]
    motionless: float | None  # share of the steps in the scored episodes spent motionless, in [0, 1]
    success: float | None  # share of the scored episodes that met their goal, in [0, 1]
    x_velocity: float | None  # forward speed in the scored episodes, m/s
    growth_dip: float | None  # return before growth minus the lowest in the steps after it
    growth_area: float | None  # under the curve of these steps, in return times environment steps
    growth_span: int | None  # how many they are
    seconds: float | None  # a run's wall-clock
    steps_per_second: float | None  # environment steps, evaluation included
    against: str | None  # label of the group that this one is compared with
    p_better: float | None  # probability that a seed is better than one of that group; from five seeds a side on
    p_value: float | None  # of the Mann-Whitney test that it is one half
    pairs: int | None  # seeds whose runs were one run of both groups until a certain step
    differences: str | None  # of the scores of each pair, as SEED:DIFFERENCE
    difference: float | None  # their mean
    difference_low: float | None  # 95 % t interval of it; from five pairs on
    difference_high: float | None


def rows(groups: Sequence[SeedGroup]) -> list[Row]:
    """A row a group, in their order."""
    envs = {env: [group for group in groups if group.env == env] for env in {group.env for group in groups}}
    grown = {env: growth.growth_step(inside) for env, inside in envs.items()}
    return [_row(group, comparison(group, groups), grown[group.env]) for group in groups]


def comparison(group: SeedGroup, groups: Sequence[SeedGroup]) -> Comparison | None:
    """Of a group with those before it in its environment."""
    inside = [each for each in groups if each.env == group.env]
    return compare(group, inside[: inside.index(group)])


def _row(group: SeedGroup, comparison: Comparison | None, growth_step: int | None) -> Row:
    runs, windows = group.runs, [run.window for run in group.runs]
    steps, updates = [int(run.steps[-1]) for run in runs], [int(run.updates[-1]) for run in runs]
    aftermath = growth.of_group(group, growth_step)
    return Row(
        env=group.env,
        label=group.label,
        seeds=len(runs),
        unfinished=sum(run.unfinished for run in runs),
        steps_min=min(steps),
        steps_max=max(steps),
        updates_min=min(updates),
        updates_max=max(updates),
        window_first=min(window.first for window in windows),
        window_last=max(window.last for window in windows),
        episodes_min=min(window.episodes for window in windows),
        episodes_max=max(window.episodes for window in windows),
        **_spread(group),
        terminated=float(np.mean([run.final(run.terminated) for run in runs])),
        motionless=_mean([run.final(run.motionless) for run in runs]),
        success=_mean([run.final(run.successes) for run in runs]),
        x_velocity=_mean([run.final(run.speeds) for run in runs]),
        growth_dip=aftermath and aftermath.dip,
        growth_area=aftermath and aftermath.area,
        growth_span=aftermath and aftermath.span,
        seconds=_mean([run.seconds for run in runs]),
        steps_per_second=_mean([run.steps_per_second for run in runs]),
        **_compared(comparison),
    )


def _spread(group: SeedGroup) -> dict[str, Any]:
    """The scores, and what can be said of that many."""
    scores, known = group.scores, len(group.runs) >= MIN_SEEDS
    several = len(group.runs) > 1
    t_low, t_high = t_interval(scores) if known else (None, None)
    iqm_low, iqm_high = stratified_bootstrap_interval(scores[:, None]) if known else (None, None)
    return {
        "scores": by_seed({run.config.get("seed", 0): run.score for run in group.runs}),
        "mean": float(scores.mean()),
        "lowest": float(scores.min()) if several else None,
        "highest": float(scores.max()) if several else None,
        "t_low": t_low,
        "t_high": t_high,
        "iqm": float(iqm(scores)) if known else None,
        "iqm_low": iqm_low,
        "iqm_high": iqm_high,
        "median": float(np.median(scores)),
    }


def _compared(comparison: Comparison | None) -> dict[str, Any]:
    names = Row._fields[Row._fields.index("against") :]
    absent: dict[str, Any] = dict.fromkeys(names)
    if comparison is None:
        return absent
    absent["against"] = comparison.against.label
    if isinstance(comparison, Unpaired):
        return absent | {"p_better": comparison.p_better, "p_value": comparison.p_value}
    low, high = comparison.interval or (None, None)
    differences = {"differences": by_seed(comparison.differences), "difference": comparison.mean}
    return absent | {"pairs": len(comparison.differences), "difference_low": low, "difference_high": high} | differences


def by_seed(values: Mapping[int, float]) -> str:
    """Values by seed in full, as SEED:VALUE."""
    return " ".join(f"{seed}:{value}" for seed, value in values.items())


def _mean(values: Sequence[float]) -> float | None:
    """The mean, if every seed has a value."""
    return None if np.isnan(values).any() else float(np.mean(values))


def cells(row: Row) -> dict[str, str]:
    """The row as a person reads it: what stands in each column but that of the label, `ABSENT` where nothing is known.

    Below five seeds that is the range of the scores, from five on intervals of their mean and interquartile mean.
    """
    ranged = row.t_low is None and row.lowest is not None
    area, span = row.growth_area, row.growth_span
    return {
        "seeds": f"{row.seeds}{UNFINISHED if row.unfinished else ''}",
        "env steps": _count(row.steps_min, row.steps_max),
        "updates": _count(row.updates_min, row.updates_max),
        "scored steps": f"{compact(row.window_first)} to {compact(row.window_last)}",
        "episodes": _count(row.episodes_min, row.episodes_max),
        "mean": score(row.mean),
        "range": f"{score(row.lowest)} to {score(row.highest)}" if ranged else ABSENT,
        "95 % t interval": to_interval(row.t_low, row.t_high),
        "IQM": score(row.iqm),
        "95 % bootstrap": to_interval(row.iqm_low, row.iqm_high),
        "median": score(row.median) if row.seeds > 1 else ABSENT,
        "terminated %": percent(row.terminated),
        "motionless %": percent(row.motionless),
        "success %": percent(row.success),
        "speed m/s": _format(row.x_velocity, ".2f"),
        "dip": score(row.growth_dip),
        "after growth": ABSENT if area is None or span is None else score(area / span),
        "wall-clock": clock(row.seconds),
        "steps/s": _format(row.steps_per_second, ",.0f"),
    }


def against(comparison: Comparison | None) -> str:
    """What one comparison comes to, in a few characters."""
    if comparison is None:
        return ABSENT
    if isinstance(comparison, Paired):
        return "paired"
    if comparison.p_better is None:
        return "{} v {} seeds".format(*comparison.seeds)
    return f"P {comparison.p_better:.2f}, p {comparison.p_value:.2g}"


def score(value: float | None) -> str:
    """A return."""
    return _format(value, ",.0f" if value is not None and abs(value) >= 100 else ".2f")


def percent(share: float | None) -> str:
    """A share, in percent without the sign."""
    return ABSENT if share is None or np.isnan(share) else f"{100 * share:.0f}"


def to_interval(low: float | None, high: float | None) -> str:
    """An interval of returns."""
    return ABSENT if low is None else f"[{score(low)}, {score(high)}]"


def clock(seconds: float | None) -> str:
    """Hours, minutes and seconds."""
    if seconds is None or np.isnan(seconds):
        return ABSENT
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _format(value: float | None, form: str) -> str:
    return ABSENT if value is None else format(value, form)


def compact(count: int) -> str:
    """A number of steps in full, but in thousands (k) or millions (M) where that takes no more than two decimals."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if count >= size and count % (size // 100) == 0:
            return f"{count / size:g}{letter}"
    return f"{count:,}"


def _count(low: int, high: int) -> str:
    return compact(low) if low == high else f"{compact(low)} to {compact(high)}"


def write_csv(path: Path, table: Sequence[Row]) -> None:
    """Every number in full, a line a row; empty where it cannot be known. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(table)
