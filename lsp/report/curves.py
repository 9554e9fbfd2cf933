"""Learning curves of a report: a panel for each environment, a line with a band for each group of seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsp.report.anchors import Anchors
from lsp.report.groups import SeedGroup
from lsp.report.runs import RunResults
from lsp.report.statistics import iqm, mean, stratified_bootstrap_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which readers with any color vision can tell apart; its yellow is too pale for lines.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
Style = tuple[float, tuple[float, ...]]  # offset, then lengths of dashes and gaps
STYLES: tuple[Style, ...] = ((0, ()), (0, (5, 2)), (0, (1, 1.2)))  # tell groups apart beyond the colors
GRAY = "#666666"
MIN_SEEDS_IQM, MIN_SEEDS_BOOTSTRAP = 4, 3
RESAMPLES = 2_000
MAX_REPEATS = 1_000  # more evaluations than there can be at one step
LEGEND_WIDTH = 65  # characters under one panel


class Curve(NamedTuple):
    """What is drawn of a group, at the steps that all its seeds have been evaluated at, [T]."""

    steps: NDArray[np.int64]
    center: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def curve(group: SeedGroup) -> Curve:
    """Mean over seeds, IQM from four on; band: bootstrapped 95 % interval, their range below three."""
    moments = _moments(group.runs[0])
    for run in group.runs[1:]:
        moments = np.intersect1d(moments, _moments(run))
    steps = moments // MAX_REPEATS
    returns = np.array([run.returns[np.isin(_moments(run), moments)] for run in group.runs])
    statistic = iqm if len(returns) >= MIN_SEEDS_IQM else mean
    center = statistic(returns.T)
    if len(returns) < MIN_SEEDS_BOOTSTRAP:
        return Curve(steps, center, returns.min(axis=0), returns.max(axis=0))
    band = np.array(
        [stratified_bootstrap_interval(scores[:, None], statistic, resamples=RESAMPLES) for scores in returns.T]
    ).reshape(-1, 2)
    return Curve(steps, center, band[:, 0], band[:, 1])


def _moments(run: RunResults) -> NDArray[np.int64]:
    """What tells evaluations apart, [T]: the step, and which it is of those at that step."""
    return run.steps * MAX_REPEATS + run.repeats


def draw(groups: Sequence[SeedGroup], protocol: str, anchors: Anchors | None = None) -> "Figure":
    """The figure. Matplotlib is imported here, because it takes longer than everything else."""
    from matplotlib.figure import Figure

    envs = list(dict.fromkeys(group.env for group in groups))
    labels = list(dict.fromkeys(group.label for group in groups))
    columns = min(len(envs), 3)
    lines = -(-len(envs) // columns)
    figure = Figure(figsize=(max(7.0, 4.6 * columns), 4.0 * lines + 0.6), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for panel in axes[len(envs) :]:
        panel.remove()
    for panel, env in zip(axes, envs, strict=False):
        inside = [group for group in groups if group.env == env]
        for group in inside:
            _draw_group(panel, group, *_look(labels.index(group.label)))
        if anchors and anchors.env == env:
            _draw_anchors(panel, anchors)
        _draw_growths(panel, inside)
        _dress(panel, env, inside)
    _draw_legend(figure, {label: _seeds(groups, label) for label in labels}, columns, explanation(groups, protocol))
    return figure


def save(figure: "Figure", path: Path) -> None:
    """Write the figure, as its suffix says. Raises OSError; ValueError for a suffix that is no format of figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)


def explanation(groups: Sequence[SeedGroup], protocol: str) -> str:
    """What lines and bands are, for these numbers of seeds."""
    counts = {len(group.runs) for group in groups}
    several = max(counts) > 1
    name = protocol.replace("_", " ")
    if not several:
        return f"one seed, {name} policy"
    center = "IQM over seeds" if max(counts) >= MIN_SEEDS_IQM else "mean over seeds"
    if max(counts) >= MIN_SEEDS_IQM and counts & {2, 3}:
        center += f" (mean below {MIN_SEEDS_IQM})"
    band = "95 % bootstrap interval" if max(counts) >= MIN_SEEDS_BOOTSTRAP else "range of the seeds"
    if max(counts) >= MIN_SEEDS_BOOTSTRAP and 2 in counts:
        band += " (range of 2 seeds)"
    return f"line: {center}; band: {band}; thin: each seed; {name} policy"


def _look(index: int) -> tuple[str, Style]:
    return COLORS[index % len(COLORS)], STYLES[index // len(COLORS) % len(STYLES)]


def _seeds(groups: Sequence[SeedGroup], label: str) -> str:
    counts = sorted({len(group.runs) for group in groups if group.label == label})
    plural = "s" if counts != [1] else ""
    return f"{' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} seed{plural}"


def _draw_legend(figure: "Figure", seeds: Mapping[str, str], panels: int, title: str) -> None:
    from matplotlib.lines import Line2D

    names = [f"{label} ({count})" for label, count in seeds.items()]
    looks = map(_look, range(len(names)))
    handles = [Line2D([], [], color=color, linestyle=style, linewidth=2.0) for color, style in looks]
    fitting = LEGEND_WIDTH * max(panels, 1.5) // (max(map(len, names)) + 6)
    legend = figure.legend(
        handles, names, title=title, loc="outside lower center", ncols=int(min(max(fitting, 1), len(names))),
        frameon=False, fontsize=9.5,
    )  # fmt: skip
    legend.get_title().set(fontsize=8.5, color=GRAY)


def _draw_group(panel: "Axes", group: SeedGroup, color: str, style: Style) -> None:
    line = curve(group)
    if len(group.runs) > 1:
        for run in group.runs:
            panel.plot(run.steps, run.returns, color=color, linewidth=0.6, alpha=0.3)
        panel.fill_between(line.steps, line.low, line.high, color=color, alpha=0.18, linewidth=0)
    marker = "o" if len(line.steps) == 1 else None
    panel.plot(line.steps, line.center, color=color, linestyle=style, linewidth=2.0, marker=marker)


def _draw_growths(panel: "Axes", groups: Sequence[SeedGroup]) -> None:
    for step in sorted({int(step) for group in groups for run in group.runs for step in run.growths}):
        panel.axvline(step, color=GRAY, linewidth=1.0, linestyle=(0, (4, 2, 1, 2)), zorder=1)
        panel.annotate(
            "growth", (step, 1.0), xycoords=panel.get_xaxis_transform(), xytext=(2, -2), textcoords="offset points",
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


def _dress(panel: "Axes", env: str, groups: Sequence[SeedGroup]) -> None:
    episodes = sorted({run.episodes for group in groups for run in group.runs})
    panel.set_title(env, fontsize=11, fontweight="bold")
    panel.set_xlabel("environment steps")
    panel.set_ylabel(f"return (mean of {' or '.join(map(str, episodes))} episodes)")
    panel.set_xlim(left=0)
    panel.xaxis.set_major_formatter(lambda steps, _: format_steps(steps))
    panel.yaxis.set_major_formatter("{x:,.10g}")
    panel.grid(color="#DDDDDD", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def format_steps(steps: float) -> str:
    """1500000 as 1.5M, 20000 as 20k."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(steps) >= size:
            return f"{steps / size:g}{letter}"
    return f"{steps:g}"
