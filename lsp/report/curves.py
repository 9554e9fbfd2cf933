"""Learning curves of a report: a panel for each environment, a line with a band for each group of seeds.

Groups that share a past until some of them grow a layer are shown from shortly before: what they share once, in gray,
and beside it, in a panel of its own, by how much each differs from the one that does not grow.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lsp.report import looks, series, wording
from lsp.report.anchors import Anchors
from lsp.report.groups import SeedGroup
from lsp.report.looks import GRAY
from lsp.report.looks import save as save
from lsp.report.series import Curve, Fork, View
from lsp.report.statistics import MIN_SEEDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_COLUMNS = 3
X_LABELS = {"steps": "environment steps", "updates": "updates", "minutes": "wall-clock minutes, evaluations included"}
Y_LABELS = {"return": "return", "success": "success rate"}
DASHES = (0, (4, 2, 1, 2))


class Entry(NamedTuple):
    """A group of seeds and how it is drawn."""

    group: SeedGroup
    name: str
    look: tuple[str, looks.Style]  # groups of one name look the same in all panels


def draw(
    groups: Sequence[SeedGroup], protocol: str, anchors: Anchors | None = None, x: str = "steps", y: str | None = None
) -> "Figure":
    """The figure: of what `x` and `y` of `series` say; without `y` success rates where there are goals, else returns.

    Matplotlib is imported here, because it takes longer than everything else.

    Raises:
        ConfigError: a run does not say what is asked for.
    """
    from matplotlib.figure import Figure

    entries = _entries(groups)
    names = list(dict.fromkeys(entry.name for entry in entries))
    envs = {env: [entry for entry in entries if entry.group.env == env] for env in dict.fromkeys(g.env for g in groups)}
    forks = {env: series.fork([entry.group for entry in inside]) for env, inside in envs.items()}
    views = {env: View(x, series.choose_y([entry.group for entry in inside], y)) for env, inside in envs.items()}
    count = len(envs) + sum(fork is not None for fork in forks.values())
    columns = min(count, 2 if any(forks.values()) else MAX_COLUMNS)
    lines = -(-count // columns)
    figure = Figure(figsize=(max(7.0, 4.8 * columns), 4.0 * lines + 0.6), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for panel in axes[count:]:
        panel.remove()
    free = iter(axes)
    for env, inside in envs.items():
        fork, view = forks[env], views[env]
        panel = next(free)
        title = env if len(names) > 1 else f"{env}: {names[0]}, {_seeds(inside, names[0])}"
        looks.dress(panel, title, X_LABELS[x], _y_label(inside, view))
        _draw_groups(panel, inside, fork, view)
        if anchors and anchors.env == env and view.y == "return":
            _draw_anchors(panel, anchors)
        if fork is not None:
            _draw_differences(next(free), inside, fork, view)
    legend = [f"{name} ({_seeds(entries, name)})" for name in names]
    looks.add_legend(figure, legend, columns, explanation(groups, protocol, any(forks.values())))
    return figure


def explanation(groups: Sequence[SeedGroup], protocol: str, forked: bool = False) -> str:
    """What lines and bands are, for these numbers of seeds."""
    counts = {len(group.runs) for group in groups}
    policy = f"{protocol.replace('_', ' ')} policy"
    if max(counts) == 1:
        return f"one seed{' each' if len(groups) > 1 else ''}, {policy}"
    center, band = "mean over seeds", "their range"
    if max(counts) >= MIN_SEEDS:
        center, band = "IQM over seeds", "95 % bootstrap interval"
        if min(counts) < MIN_SEEDS:
            center, band = f"{center} (mean below {MIN_SEEDS})", f"{band} (range below {MIN_SEEDS})"
    if not forked:
        return f"line: {center}; band: {band}; thin: each seed; {policy}"
    band = "95 % t interval" if max(counts) >= MIN_SEEDS else "range"
    return (
        f"line: {center}; thin: each seed; gray: what all share until growth, bit for bit\n"
        f"right: paired differences, seed by seed; line: their mean; band: their {band}; {policy}"
    )


def _entries(groups: Sequence[SeedGroup]) -> list[Entry]:
    names = wording.names(groups)
    order = list(dict.fromkeys(names))
    return [Entry(group, name, looks.look(order.index(name))) for group, name in zip(groups, names, strict=True)]


def _seeds(entries: Sequence[Entry], name: str) -> str:
    counts = sorted({len(entry.group.runs) for entry in entries if entry.name == name})
    plural = "s" if counts != [1] else ""
    return f"{' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} seed{plural}"


def _y_label(entries: Sequence[Entry], view: View) -> str:
    episodes = sorted({run.episodes for entry in entries for run in entry.group.runs})
    return f"{Y_LABELS[view.y]} (mean of {' or '.join(map(str, episodes))} episodes)"


def _draw_groups(panel: "Axes", entries: Sequence[Entry], fork: Fork | None, view: View) -> None:
    """Every group; of those of a fork what they share once, and each from there on without a band."""
    forked = [] if fork is None else [fork.reference, *fork.arms]
    for entry in entries:
        line = series.curve(entry.group, view)
        if any(entry.group is each for each in forked):
            assert fork is not None
            _draw_curve(panel, line.where(line.steps >= fork.step), *entry.look, band=False)
        else:
            _draw_curve(panel, line, *entry.look)
    panel.set_xlim(left=0)
    if fork is not None:
        shared = series.curve(fork.reference, view)
        _draw_curve(panel, shared.where(shared.steps <= fork.step), GRAY, looks.STYLES[0])
        if len(forked) == len(entries):
            _zoom(panel, shared, fork)
    if view.y == "success":
        panel.set_ylim(-0.03, 1.03)
    _draw_growths(panel, entries, view)


def _draw_curve(panel: "Axes", line: Curve, color: str, style: looks.Style, band: bool = True) -> None:
    if len(line.seeds) > 1:
        panel.plot(line.x, line.seeds.T, color=color, linewidth=0.6, alpha=0.35)
    if len(line.seeds) > 1 and band:
        panel.fill_between(line.x, line.low, line.high, color=color, alpha=0.15, linewidth=0)
    marker = "o" if len(line.x) == 1 else None
    panel.plot(line.x, line.center, color=color, linestyle=style, linewidth=2.0, marker=marker)


def _zoom(panel: "Axes", shared: Curve, fork: Fork) -> None:
    """Show as much of what is shared as there is after it."""
    since = 2 * fork.step - shared.steps[-1]
    if since > 0:
        panel.set_xlim(left=float(np.interp(since, shared.steps, shared.x)))


def _draw_differences(panel: "Axes", entries: Sequence[Entry], fork: Fork, view: View) -> None:
    reference = next(entry for entry in entries if entry.group is fork.reference)
    label = f"{Y_LABELS[view.y]} minus that of the same seed"
    looks.dress(panel, f"difference to {reference.name}", X_LABELS[view.x], label)
    panel.axhline(0.0, color=reference.look[0], linestyle=reference.look[1], linewidth=2.0)
    for entry in entries:
        if any(entry.group is arm for arm in fork.arms):
            _draw_curve(panel, series.difference(entry.group, fork.reference, fork.step, view), *entry.look)
    _draw_growths(panel, entries, view)


def _draw_growths(panel: "Axes", entries: Sequence[Entry], view: View) -> None:
    runs = [run for entry in entries for run in entry.group.runs]
    marks = {int(step): series.along(run, view)[run.steps == step][0] for run in runs for step in run.growths}
    for _, place in sorted(marks.items()):
        panel.axvline(place, color=GRAY, linewidth=1.0, linestyle=DASHES, zorder=1)
        panel.annotate(
            "growth", (place, 1.0), xycoords=panel.get_xaxis_transform(), xytext=(2, -2), textcoords="offset points",
            fontsize=8, color=GRAY, va="top",
        )  # fmt: skip


def _draw_anchors(panel: "Axes", anchors: Anchors) -> None:
    from matplotlib.patheffects import withStroke

    for label, value in anchors.lines.items():
        panel.axhline(value, color=GRAY, linewidth=1.0, linestyle=(0, (1, 2)), zorder=1)
        text = panel.annotate(
            f"{label}: {value:,.0f}", (0.01, value), xycoords=panel.get_yaxis_transform(), xytext=(0, 2),
            textcoords="offset points", fontsize=8, color=GRAY, va="bottom", zorder=5,
        )  # fmt: skip
        text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
