"""Tables and learning curves of runs: `python -m lsp.report runs/A runs/B ...`; see `--help`.

JAX is imported for `--distributions` only.

Runs that differ by their seed alone make one row and one curve.
"""

import argparse
import os
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from lsp.commands import Parser, status_of
from lsp.config import ConfigError
from lsp.report import curves, growth, layout, series, table
from lsp.report.anchors import ANCHORS, Anchors
from lsp.report.groups import SeedGroup, group_by_seed, short_names
from lsp.report.prefixes import step_for_all
from lsp.report.runs import RunResults, read_all
from lsp.report.statistics import MIN_SEEDS
from lsp.report.windows import MIN_EPISODES

MAX_NAMED = 8  # runs in a note
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
    parser.add_argument(
        "--score-from", type=int, metavar="STEP",
        help="score every run over its evaluations from this environment step on (default: over the last 10 %% of its "
        f"steps, and at least {MIN_EPISODES} episodes)",
    )  # fmt: skip
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown, with every column")
    parser.add_argument(
        "--wide", action="store_true", help="leave no column out, abbreviate no name, and list the score of every seed"
    )
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
    parser.add_argument(
        "--x", choices=tuple(series.X), default="steps",
        help="what curves run along: environment steps, updates, minutes of wall-clock (default: steps)",
    )  # fmt: skip
    parser.add_argument(
        "--y", choices=tuple(series.Y),
        help="what curves show: the return, or the share of episodes that met their goal (default: success in "
        "environments all of whose runs say it, else return)",
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
    groups = group_by_seed(runs, options.score_from)
    anchors = _find_anchors(options.compare, groups) if options.compare else None
    rows = table.rows(groups)
    ours = layout.blocks(groups, rows, layout.Style(options.wide, options.markdown))
    blocks = [headline(options.protocol, options.score_from), *ours, *notes(groups, rows, options, left_out)]
    if anchors:
        theirs = layout.to_text((anchors.header, *anchors.rows), options.markdown)
        blocks += [anchors.title, theirs, textwrap.fill(anchors.caveat, 100)]
    print("\n\n".join(blocks), end="\n\n")
    if options.csv:
        table.write_csv(options.csv, rows)
        print(f"numbers: {options.csv}")
    if not options.no_plot:
        path = options.out or default_plot(runs)
        curves.save(curves.draw(groups, options.protocol, anchors, options.x, options.y), path)
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


def headline(protocol: str, score_from: int | None = None) -> str:
    """What the scores below are."""
    which = (
        f"in the last 10 % of its steps, or of the last {MIN_EPISODES} since it began to learn, if these are more"
        if score_from is None
        else f"from step {score_from:,} on"
    )
    name = protocol.replace("_", " ")
    return textwrap.fill(f"score of a seed: mean return of all evaluation episodes {which}; {name} policy", layout.PAGE)


def notes(
    groups: Sequence[SeedGroup], rows: Sequence[table.Row], options: argparse.Namespace, left_out: Sequence[str] = ()
) -> list[str]:
    """What a reader should know before trusting the table."""
    found = [f"note: left out: {problem}" for problem in left_out]
    found += [textwrap.fill(text, layout.PAGE) for text in about_numbers(rows)]
    if (about_growth := growth.explanation(groups)) is not None:
        found.append(about_growth)
    runs = [run for group in groups for run in group.runs]
    called = list(zip(runs, short_names([run.folder for run in runs]), strict=True))
    if few := [f"{name} ({run.window.episodes})" for run, name in called if run.window.episodes < MIN_EPISODES]:
        found.append(textwrap.fill(f"note: scored over fewer than {MIN_EPISODES} episodes: {_some(few)}", layout.PAGE))
    for env in dict.fromkeys(group.env for group in groups):
        step = step_for_all([run for group in groups if group.env == env for run in group.runs])
        if step is not None and options.score_from is None:
            found.append(
                f"note: {env}: runs of equal length are scored over different steps, having been evaluated or grown at "
                f"different\nones; --score-from={step} scores all over the same"
            )
    if unfinished := [name for run, name in called if run.unfinished]:
        more = "" if options.until is not None else "; --until=STEP compares at equal steps"
        found.append(textwrap.fill(f"note: * not finished: {_some(unfinished)}{more}", layout.PAGE))
    found += [f"note: failed: {name}: {run.failed}" for run, name in called if run.failed]
    return found


def _some(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def about_numbers(rows: Sequence[table.Row]) -> Iterator[str]:
    """How to read the statistics in the table, and why some are not there."""
    if any(row.seeds < MIN_SEEDS for row in rows):
        yield f"note: below {MIN_SEEDS} seeds there is no interval and no test: run {MIN_SEEDS} or more"
    if any(row.iqm is not None for row in rows):
        yield (
            "note: t interval: of the mean, for normal scores; bootstrap: of the IQM, the mean of the middle half of "
            "the seeds, and too narrow: of five seeds it covers some 89 %, of eight 93 %"
        )
    if any(row.p_better is not None for row in rows):
        yield (
            "note: P: chance that a seed is better than one of the first row; p: two-sided, of P being one half, by "
            "the exact Mann-Whitney test"
        )


def default_plot(runs: Sequence[RunResults]) -> Path:
    """Where curves go unless told otherwise."""
    if len(runs) == 1:
        return runs[0].folder / "plots" / "curve.png"
    common = Path(os.path.commonpath([run.folder.resolve() for run in runs])) / "report.png"
    return common.relative_to(Path.cwd()) if common.is_relative_to(Path.cwd()) else common
