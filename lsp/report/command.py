"""Tables and learning curves of runs: `python -m lsp.report runs/A runs/B ...`; see `--help`.

JAX is imported for `--distributions` only.

Runs that differ by their seed alone make one row and one curve.
"""

import argparse
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path

from lsp.commands import Parser, status_of
from lsp.config import ConfigError
from lsp.report import curves, growth, table
from lsp.report.anchors import ANCHORS, Anchors
from lsp.report.groups import SeedGroup, group_by_seed, short_names
from lsp.report.runs import RunResults, read_all

TRUSTED_SEEDS = 5
FIGURES = (".png", ".svg", ".pdf")
PROTOCOLS = ("sampled", "mode", "fixed_latent")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit status."""
    return status_of(lambda: _report(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "report", "Table and learning curves of runs; those that differ by their seed alone are one row, one curve."
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, or of several runs")
    parser.add_argument(
        "--protocol", choices=PROTOCOLS, default="sampled",
        help="which evaluations: a new latent each step, the zero latent, one held for the episode (default: sampled)",
    )  # fmt: skip
    parser.add_argument("--until", type=int, metavar="STEP", help="leave out what comes after this environment step")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table's numbers to this file, too")
    parser.add_argument(
        "--out", type=Path, metavar="FILE",
        help="where the curves go, .png, .svg or .pdf (default: plots/curve.png in the folder of a single run, "
        "else report.png in the folder that holds the runs)",
    )  # fmt: skip
    parser.add_argument(
        "--distributions", action="store_true",
        help="of one run with categorical critics: play an episode with its newest checkpoint and draw the predicted "
        "return distributions against the returns that followed (default: plots/distributions.png in its folder)",
    )  # fmt: skip
    parser.add_argument("--no-plot", action="store_true", help="draw no curves")
    parser.add_argument(
        "--compare", choices=tuple(ANCHORS),
        help="add numbers of others: the study's on lsp/RllabAnt-v0, or published ones on Ant-v4",
    )  # fmt: skip
    return parser


def _report(options: argparse.Namespace) -> int:
    if options.out and options.out.suffix not in FIGURES:
        raise ConfigError(f"--out={options.out}: must end in {', '.join(FIGURES)}")
    if options.distributions:
        _draw_distributions(options)
        return 0
    left_out: list[str] = []
    runs = read_all(options.runs, options.protocol, options.until, left_out.append)
    groups = group_by_seed(runs)
    anchors = _find_anchors(options.compare, groups) if options.compare else None
    rows = table.rows(groups)
    ours = table.to_text(table.lines(rows), options.markdown)
    blocks = [headline(runs, options.protocol), ours, *notes(groups, options.until, left_out)]
    if anchors:
        theirs = table.to_text((anchors.header, *anchors.rows), options.markdown, text_columns=1)
        blocks += [anchors.title, theirs, textwrap.fill(anchors.caveat, 100)]
    print("\n\n".join(blocks), end="\n\n")
    if options.csv:
        table.write_csv(options.csv, rows)
        print(f"numbers: {options.csv}")
    if not options.no_plot:
        path = options.out or default_plot(runs)
        curves.save(curves.draw(groups, options.protocol, anchors), path)
        print(f"curves: {path}")
    return 0


def _draw_distributions(options: argparse.Namespace) -> None:
    if len(options.runs) != 1:
        raise ConfigError("--distributions draws one run: give one folder")
    from lsp.report import distributions  # JAX comes with it

    path = options.out or options.runs[0] / "plots" / "distributions.png"
    place = path.absolute()  # an environment may change the working folder
    played = distributions.play(options.runs[0])
    curves.save(distributions.draw(played), place)
    print(f"{distributions.summary(played)}\ndistributions: {path}")


def _find_anchors(name: str, groups: Sequence[SeedGroup]) -> Anchors:
    anchors, envs = ANCHORS[name], dict.fromkeys(group.env for group in groups)
    if anchors.env not in envs:
        raise ConfigError(f"--compare={name} has numbers on {anchors.env} only; these runs are on {', '.join(envs)}")
    return anchors


def headline(runs: Sequence[RunResults], protocol: str) -> str:
    """What the scores below are."""
    windows = _range([run.window for run in runs])
    episodes = _range([run.episodes for run in runs])
    evaluations = "evaluation" if windows == "1" else "evaluations"
    each = "one episode" if episodes == "1" else f"{episodes} episodes"
    return (
        f"score of a seed: mean return of its last {windows} {evaluations} of {each} each, "
        f"{protocol.replace('_', ' ')} policy; IQM and median: over seeds"
    )


def notes(groups: Sequence[SeedGroup], until: int | None, left_out: Sequence[str] = ()) -> list[str]:
    """What a reader should know before trusting the table."""
    found = [f"note: left out: {problem}" for problem in left_out]
    few = [len(group.runs) for group in groups if 1 < len(group.runs) < TRUSTED_SEEDS]
    if few:
        found.append(f"note: bootstrap intervals of {_range(few)} seeds are too narrow; run {TRUSTED_SEEDS} or more")
    if (about_growth := growth.explanation(groups)) is not None:
        found.append(about_growth)
    runs = [run for group in groups for run in group.runs]
    names = short_names([run.folder for run in runs])
    unfinished = [name for run, name in zip(runs, names, strict=True) if run.steps[-1] < run.config.get("steps", 0)]
    if unfinished and until is None:
        found.append(f"note: not finished: {', '.join(unfinished)}; --until=STEP compares at equal steps")
    found += [f"note: failed: {name}: {run.failed}" for run, name in zip(runs, names, strict=True) if run.failed]
    return found


def default_plot(runs: Sequence[RunResults]) -> Path:
    """Where curves go unless told otherwise."""
    if len(runs) == 1:
        return runs[0].folder / "plots" / "curve.png"
    common = Path(os.path.commonpath([run.folder.resolve() for run in runs])) / "report.png"
    return common.relative_to(Path.cwd()) if common.is_relative_to(Path.cwd()) else common


def _range(values: Sequence[int]) -> str:
    return " to ".join(str(value) for value in dict.fromkeys((min(values), max(values))))
