"""What `time_to_return.py` prints and draws of its results, which are lines of JSON."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Result = Mapping[str, Any]  # a run: system, seed, startup, core, points
PROTOCOLS = {"sampled": "sampled actions", "mode": "without noise"}
NAMES = {
    "distributed_prioritized": "lsp, distributed_prioritized",
    "sac_lsp": "lsp, sac_lsp",
    "sbx_8": "SBX SAC, 8 environments",
    "sbx_8_1e-3": "SBX SAC, 8 environments, step size 1e-3",
    "sbx_1": "SBX SAC, 1 environment",
}


def by_system(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results of each system, in order of appearance."""
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result["system"], []).append(result)
    return found


def curve(result: Result, protocol: str) -> tuple[np.ndarray, np.ndarray]:
    """Minutes from the start of the process, evaluations left out, and mean returns, [T] each."""
    seconds = np.array([result["startup"] + point["seconds"] for point in result["points"]])
    return seconds / 60, np.array([np.mean(point["returns"][protocol]) for point in result["points"]])


def reached(result: Result, protocol: str, target: float, mean_of: int = 1) -> float:
    """Minutes at the first evaluation at which the mean of so many in a row is at least `target`, or infinity."""
    minutes, returns = curve(result, protocol)
    if len(returns) < mean_of:
        return np.inf
    means = np.convolve(returns, np.full(mean_of, 1 / mean_of), mode="valid")
    return float(min(minutes[mean_of - 1 :][means >= target], default=np.inf))


def table(results: Sequence[Result], protocol: str, targets: Sequence[float], limit: float, mean_of: int = 1) -> str:
    """Minutes until each return: the median over seeds, every seed, and how many times those of the first system."""
    systems = by_system(results)
    first = next(iter(systems))
    times = {
        (name, target): [reached(result, protocol, target, mean_of) for result in runs]
        for name, runs in systems.items()
        for target in targets
    }
    lines = [["system", "seeds", "steps/s", "updates/s", "core", *(f"return {target:,.0f}" for target in targets)]]
    for name, runs in systems.items():
        rates = [f"{statistics.median(rate(run, unit) for run in runs):,.0f}" for unit in ("step", "updates")]
        core = f"{min(run['core'] for run in runs):.2f}"
        compared = [cell(times[name, target], times[first, target], limit, name == first) for target in targets]
        lines.append([name, str(len(runs)), *rates, core, *compared])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    body = "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
    of = f" of {mean_of} evaluations" if mean_of > 1 else ""
    what = f"minutes until a mean return{of}, {protocol} policy: median (every seed), and as a multiple of {first}'s"
    return f"{what}\n{body}"


def cell(times: Sequence[float], first: Sequence[float], limit: float, is_first: bool) -> str:
    """Median, all values, ratio of medians; a time that was not reached is above the limit."""

    def text(minutes: float) -> str:
        return f"{minutes:.1f}" if np.isfinite(minutes) else f">{limit:g}"

    median, base = statistics.median_high(times), statistics.median_high(first)
    shown = f"{text(median)} ({' '.join(map(text, times))})"
    if is_first or not np.isfinite(base):
        return shown
    return f"{shown} {'>' * (not np.isfinite(median))}{min(median, limit) / base:.1f}x"


def rate(result: Result, unit: str) -> float:
    """Environment steps or updates a second of training, from the first evaluation to the last."""
    first, last = result["points"][0], result["points"][-1]
    if first is last:
        return last[unit] / last["seconds"]
    return (last[unit] - first[unit]) / (last["seconds"] - first["seconds"])


def draw(results: Sequence[Result], targets: Sequence[float], path: Path) -> None:
    """Return against minutes, a panel a protocol: every seed thin, the median over seeds thick."""
    from matplotlib.figure import Figure

    from lsp.report.looks import GRAY, add_legend, dress, look, save

    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    panels, systems = figure.subplots(1, 2, sharey=True), by_system(results)
    for panel, (protocol, title) in zip(panels, PROTOCOLS.items(), strict=True):
        for target in targets:
            panel.axhline(target, color=GRAY, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
        for number, runs in enumerate(systems.values()):
            color, _ = look(number)
            for result in runs if len(runs) > 1 else ():
                panel.plot(*curve(result, protocol), color=color, linewidth=0.6, alpha=0.45)
            minutes, center = median_curve(runs, protocol)
            marker = "o" if len(minutes) == 1 else None
            panel.plot(minutes, center, color=color, linewidth=2.2, marker=marker)
        dress(panel, title, "minutes on one core", "return on the study's ant" if panel is panels[0] else "")
        panel.set_xlim(left=0)
    seeds = len({result["seed"] for result in results})
    title = f"thick: median over seeds; thin: each of {seeds} seeds" if seeds > 1 else "one seed"
    add_legend(figure, [NAMES.get(name, name) for name in systems], len(panels), title)
    save(figure, path)


def median_curve(runs: Sequence[Result], protocol: str) -> tuple[np.ndarray, np.ndarray]:
    """The median over seeds, at the minutes of all evaluations that all seeds reach; between them, straight lines."""
    curves = [curve(run, protocol) for run in runs]
    start, end = max(minutes[0] for minutes, _ in curves), min(minutes[-1] for minutes, _ in curves)
    grid = np.unique(np.concatenate([minutes for minutes, _ in curves]))
    grid = grid[(grid >= start) & (grid <= end)]
    return grid, np.median([np.interp(grid, *each) for each in curves], axis=0)
