"""The table of a report: a row for each group of seeds, as text, Markdown or CSV."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lsp.report import growth
from lsp.report.groups import SeedGroup
from lsp.report.statistics import (
    iqm,
    probability_of_improvement,
    probability_of_improvement_interval,
    stratified_bootstrap_interval,
)

TextRow = Sequence[str]
ABSENT = "-"
INTERVAL = "95 % interval"  # shown even if absent everywhere: that one seed has none should be seen
TEXT_COLUMNS = 2  # environment and label, aligned to the left


class Row(NamedTuple):
    """What a report says of a group, a column of the CSV each; None where it cannot be known, as one seed's spread."""

    env: str
    label: str
    seeds: int
    steps_min: int  # environment steps of the last evaluation, over seeds
    steps_max: int
    updates_min: int
    updates_max: int
    iqm: float  # over seeds, of their final scores
    iqm_low: float | None  # 95 % interval
    iqm_high: float | None
    median: float
    terminated: float  # share of the final episodes that the task ended, not the time limit, in [0, 1]
    success: float | None  # share of the final episodes that met their goal, in [0, 1]
    x_velocity: float | None  # forward speed in the final episodes, m/s
    growth_dip: float | None  # return before growth minus the lowest in the steps after it
    growth_area: float | None  # under the curve of these steps, in return times environment steps
    growth_span: int | None  # how many they are
    seconds: float | None  # a run's wall-clock
    steps_per_second: float | None  # environment steps, evaluation included
    p_better: float | None  # probability of improvement against the environment's first group
    p_better_low: float | None  # 95 % interval
    p_better_high: float | None


HEADER = (
    "environment",
    "runs",
    "seeds",
    "env steps",
    "updates",
    "IQM",
    INTERVAL,
    "median",
    "terminated %",
    "success %",
    "speed m/s",
    "dip",
    "after growth",
    "wall-clock",
    "steps/s",
    "P(> first) [95 %]",
)


def rows(groups: Sequence[SeedGroup]) -> list[Row]:
    """A row a group; the first of each environment is what the others of it are compared with."""
    first: dict[str, SeedGroup] = {}
    for group in groups:
        first.setdefault(group.env, group)
    grown = {env: growth.growth_step([group for group in groups if group.env == env]) for env in first}
    return [_row(group, first[group.env], grown[group.env]) for group in groups]


def _row(group: SeedGroup, first: SeedGroup, growth_step: int | None) -> Row:
    runs, scores = group.runs, group.scores
    steps, updates = [int(run.steps[-1]) for run in runs], [int(run.updates[-1]) for run in runs]
    low, high = stratified_bootstrap_interval(scores[:, None]) if len(runs) > 1 else (None, None)
    p_better, p_better_low, p_better_high = _improvement(group, first)
    aftermath = growth.of_group(group, growth_step)
    return Row(
        env=group.env,
        label=group.label,
        seeds=len(runs),
        steps_min=min(steps),
        steps_max=max(steps),
        updates_min=min(updates),
        updates_max=max(updates),
        iqm=float(iqm(scores)),
        iqm_low=low,
        iqm_high=high,
        median=float(np.median(scores)),
        terminated=float(np.mean([run.final(run.terminated) for run in runs])),
        success=_mean([run.final(run.successes) for run in runs]),
        x_velocity=_mean([run.final(run.speeds) for run in runs]),
        growth_dip=aftermath and aftermath.dip,
        growth_area=aftermath and aftermath.area,
        growth_span=aftermath and aftermath.span,
        seconds=_mean([run.seconds for run in runs]),
        steps_per_second=_mean([run.steps_per_second for run in runs]),
        p_better=p_better,
        p_better_low=p_better_low,
        p_better_high=p_better_high,
    )


def _mean(values: Sequence[float]) -> float | None:
    """The mean, if every seed has a value."""
    return None if np.isnan(values).any() else float(np.mean(values))


def _improvement(group: SeedGroup, first: SeedGroup) -> tuple[float | None, float | None, float | None]:
    if group is first or min(len(group.runs), len(first.runs)) < 2:
        return None, None, None
    ours, theirs = group.scores[:, None], first.scores[:, None]
    return probability_of_improvement(ours, theirs), *probability_of_improvement_interval(ours, theirs)


def cells(row: Row) -> TextRow:
    """The row as a person reads it, in the order of `HEADER`."""
    better, low, high = (_format(value, ".2f") for value in (row.p_better, row.p_better_low, row.p_better_high))
    return (
        row.env,
        row.label,
        str(row.seeds),
        _range(row.steps_min, row.steps_max),
        _range(row.updates_min, row.updates_max),
        _score(row.iqm),
        ABSENT if row.iqm_low is None else f"[{_score(row.iqm_low)}, {_score(row.iqm_high)}]",
        _score(row.median),
        f"{100 * row.terminated:.0f}",
        ABSENT if row.success is None else f"{100 * row.success:.0f}",
        _format(row.x_velocity, ".2f"),
        _score(row.growth_dip),
        ABSENT if row.growth_area is None or row.growth_span is None else _score(row.growth_area / row.growth_span),
        _clock(row.seconds),
        _format(row.steps_per_second, ",.0f"),
        ABSENT if row.p_better is None else f"{better} [{low}, {high}]",
    )


def _format(value: float | None, form: str) -> str:
    return ABSENT if value is None else format(value, form)


def _score(value: float | None) -> str:
    return _format(value, ",.0f" if value is not None and abs(value) >= 100 else ".2f")


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return ABSENT
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def lines(table: Sequence[Row]) -> list[TextRow]:
    """Header and rows for `to_text`, without columns that say nothing in any row, such as the speed of no walker."""
    body = [cells(row) for row in table]
    kept = [i for i, name in enumerate(HEADER) if name == INTERVAL or any(line[i] != ABSENT for line in body)]
    return [[line[i] for i in kept] for line in (HEADER, *body)]


def to_text(cell_lines: Sequence[TextRow], markdown: bool = False, text_columns: int = TEXT_COLUMNS) -> str:
    """An aligned table of `cell_lines`, the header first; all but the first `text_columns` to the right."""
    widths = [max(map(len, column)) for column in zip(*cell_lines, strict=True)]
    sides = ["<" if i < text_columns else ">" for i in range(len(widths))]
    columns = list(zip(sides, widths, strict=True))
    header, *body = [
        [f"{cell:{side}{width}}" for cell, (side, width) in zip(line, columns, strict=True)] for line in cell_lines
    ]
    if not markdown:
        rule = ["-" * width for width in widths]
        return "\n".join("  ".join(line).rstrip() for line in (header, rule, *body))
    rule = ["-" * (width - 1) + ("-" if side == "<" else ":") for side, width in columns]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *body))


def write_csv(path: Path, table: Sequence[Row]) -> None:
    """Every number in full, a line a row; empty where it cannot be known. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(table)
