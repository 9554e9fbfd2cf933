"""The tables of a report as text: one an environment, no wider than a page of 120 columns, or as Markdown.

What all rows have in common is said once, above; what does not fit is left out, least important first.
"""

from collections.abc import Callable, Mapping, Sequence
from textwrap import fill, wrap
from typing import NamedTuple

from lsp.report import growth
from lsp.report.comparisons import Paired
from lsp.report.groups import SeedGroup, short_names
from lsp.report.runs import RunResults
from lsp.report.table import (
    ABSENT,
    UNFINISHED,
    Row,
    TextRow,
    against,
    cells,
    compact,
    comparison,
    percent,
    score,
    to_interval,
)

PAGE = 120  # columns of text
GAP, INDENT = 2, 2
LABELS = 24, 40  # columns to which a label is wrapped sooner than that another column is left out: least, most
SAID_ONCE = ("scored steps", "episodes")
DROPPED = (
    "steps/s", "median", "wall-clock", "speed m/s", "after growth", "dip", "updates", "terminated %", "motionless %",
    "env steps", "episodes", "95 % bootstrap", "IQM",
)  # fmt: skip
"""Columns that are left out of a table that is too wide, in this order."""


class Style(NamedTuple):
    """How tables are to be written."""

    wide: bool = False  # leave nothing out, abbreviate nothing, and list every seed
    markdown: bool = False

    @property
    def whole(self) -> bool:
        """Whether tables may be as wide as they are."""
        return self.wide or self.markdown


PAIRS = "paired differences: runs of one seed that were one run until the step given, scored over the same steps"


def blocks(groups: Sequence[SeedGroup], rows: Sequence[Row], style: Style) -> list[str]:
    """Everything to print of groups and their rows: for each environment its table, and that of paired differences."""
    written: list[str] = []
    missing: set[str] = set()
    for env in dict.fromkeys(group.env for group in groups):
        inside = {group.label: group for group in groups if group.env == env}
        compared = {label: comparison(group, groups) for label, group in inside.items()}
        common, labels = shorten([group.parts for group in inside.values()], style.whole)
        texts = [cells(row) | {"against first": against(compared[row.label])} for row in rows if row.env == env]
        columns, said = _columns(texts, style)
        if not style.whole:
            columns, dropped = _fit(texts, columns, labels)
            missing |= dropped
        lines = [["run", *columns], *_lines(labels, [[line[name] for name in columns] for line in texts])]
        title = [", ".join(common)] * bool(common) + said
        name = f"**{env}**" if style.markdown else env
        written.append(_titled(": ".join([name, *["; ".join(title)] * bool(title)]), lines, style))
        if pairs := {label: each for label, each in compared.items() if isinstance(each, Paired)}:
            written.append(_titled(PAIRS, _pair_lines(inside, pairs, style), style))
        if style.wide:
            written.append(_titled("every seed", _seed_lines(list(inside.values()), labels), style))
    if missing:
        names = ", ".join(name for name in DROPPED[::-1] if name in missing)
        written.append(fill(f"note: --wide shows also: {names}", PAGE))
    return written


def _titled(title: str, lines: Sequence[TextRow], style: Style) -> str:
    if style.markdown:
        return f"{title}\n\n{to_text(lines, markdown=True)}"
    return f"{fill(title, PAGE)}\n{to_text(lines if style.wide else _wrapped(lines))}"


def _columns(texts: Sequence[Mapping[str, str]], style: Style) -> tuple[list[str], list[str]]:
    """The columns that say something, and what is said once instead of in one of them."""
    columns = [name for name in texts[0] if any(line[name] != ABSENT for line in texts)]
    if style.whole or any(len({line[name] for line in texts}) > 1 for name in SAID_ONCE):
        return columns, []
    steps, episodes = (texts[0][name] for name in SAID_ONCE)
    return [name for name in columns if name not in SAID_ONCE], [f"scored: {episodes} episodes a seed, steps {steps}"]


def _fit(
    texts: Sequence[Mapping[str, str]], columns: Sequence[str], labels: Sequence[str]
) -> tuple[list[str], set[str]]:
    """The columns that fit on a page beside labels, which may be wrapped between words; and those that do not."""
    least, most = LABELS
    words = max(INDENT + len(word) for label in labels for word in label.split(" "))
    needed = min(max(map(len, labels)), max(least, min(words, most)))
    kept = list(columns)
    for name in DROPPED:
        used = sum(GAP + max(len(name), *(len(line[name]) for line in texts)) for name in kept)
        if used + needed > PAGE and name in kept:
            kept.remove(name)
    return kept, set(columns) - set(kept)


def _wrapped(lines: Sequence[TextRow]) -> list[TextRow]:
    """Lines whose first cells are wrapped to what the others leave of a page."""
    used = sum(GAP + max(map(len, column)) for column in list(zip(*lines, strict=True))[1:])
    width = max(PAGE - used, LABELS[0] // 2)
    wrapped: list[TextRow] = []
    for label, *line in lines:
        first, *more = wrap(label, width, subsequent_indent=" " * INDENT)
        wrapped += [[first, *line], *([rest, *[""] * len(line)] for rest in more)]
    return wrapped


def _lines(labels: Sequence[str], body: Sequence[TextRow]) -> list[TextRow]:
    return [[label, *line] for label, line in zip(labels, body, strict=True)]


def shorten(parts: Sequence[tuple[str, ...]], whole: bool = False) -> tuple[list[str], list[str]]:
    """What all labels have in common, to be said once, and what is left of each; nothing is cut if `whole`.

    Names of fields lose the table that they are in, where that leaves no two the same.
    """
    common = [part for part in parts[0] if all(part in each for each in parts)]
    rest = [[part for part in each if part not in common] for each in parts]
    if whole or len(parts) == 1 or not all(rest):
        common, rest = [], [list(each) for each in parts]
    if whole:
        return common, [", ".join(each) for each in rest]
    fields = {part.split("=")[0] for each in rest for part in each if "=" in part}
    ends = [field.rpartition(".")[2] for field in fields]
    short = {field: end for field, end in zip(fields, ends, strict=True) if ends.count(end) == 1}
    return common, [", ".join(_renamed(part, short) for part in each) for each in rest]


def _renamed(part: str, short: Mapping[str, str]) -> str:
    field, is_field, value = part.partition("=")
    return f"{short.get(field, field)}={value}" if is_field else part


def _pair_lines(inside: Mapping[str, SeedGroup], pairs: Mapping[str, Paired], style: Style) -> list[TextRow]:
    involved = [label for label in inside if label in {*pairs, *(each.against.label for each in pairs.values())}]
    _, labels = shorten([inside[label].parts for label in involved], style.whole)
    names = dict(zip(involved, labels, strict=True))
    lines = []
    for label, each in pairs.items():
        values = each.differences.values()
        spread = f"{signed(min(values))} to {signed(max(values))}" if len(values) > 1 else ABSENT
        listed = ", ".join(f"{seed}: {signed(value)}" for seed, value in each.differences.items())
        known = each.interval is not None
        line = [f"{names[label]} minus {names[each.against.label]}", str(len(values)), compact(each.prefix)]
        line += [signed(each.mean), ABSENT if known else spread, to_interval(*each.interval or (None, None))]
        lines.append([*line, ABSENT if known and not style.whole else listed])
    header = ["difference", "pairs", "one run until", "mean", "range", "95 % t interval", "by seed"]
    kept = [i for i in range(len(header)) if any(line[i] != ABSENT for line in lines)]
    return [[line[i] for i in kept] for line in (header, *lines)]


def signed(value: float) -> str:
    """A difference of returns, with its sign."""
    return f"{value:+,.0f}" if abs(value) >= 10 else f"{value:+.2f}"


SEED_COLUMNS: Mapping[str, Callable[[RunResults], str]] = {
    "seed": lambda run: f"{run.config.get('seed', ABSENT)}{UNFINISHED if run.unfinished else ''}",
    "env steps": lambda run: compact(run.steps[-1]),
    "scored steps": lambda run: f"{compact(run.window.first)} to {compact(run.window.last)}",
    "episodes": lambda run: str(run.window.episodes),
    "score": lambda run: score(run.score),
    "terminated %": lambda run: percent(run.final(run.terminated)),
    "motionless %": lambda run: percent(run.final(run.motionless)),
    "success %": lambda run: percent(run.final(run.successes)),
}


def _seed_lines(groups: Sequence[SeedGroup], labels: Sequence[str]) -> list[TextRow]:
    step = growth.growth_step(groups)
    runs = [(label, run) for label, group in zip(labels, groups, strict=True) for run in group.runs]
    body = [{name: of(run) for name, of in SEED_COLUMNS.items()} | _after_growth(run, step) for _, run in runs]
    columns = [name for name in body[0] if any(line[name] != ABSENT for line in body)]
    folders = short_names([run.folder for _, run in runs])
    lines = [[*(line[name] for name in columns), folder] for line, folder in zip(body, folders, strict=True)]
    return [["run", *columns, "folder"], *_lines([label for label, _ in runs], lines)]


def _after_growth(run: RunResults, step: int | None) -> dict[str, str]:
    at = int(run.growths[-1]) if len(run.growths) else step
    found = growth.aftermath(run, at) if at is not None else None
    after = ABSENT if found is None else score(found.area / found.span)
    return {"dip": ABSENT if found is None else score(found.dip), "after growth": after}


def to_text(cell_lines: Sequence[TextRow], markdown: bool = False, text_columns: int = 1) -> str:
    """An aligned table of `cell_lines`, the header first; all but the first `text_columns` to the right."""
    widths = [max(map(len, column)) for column in zip(*cell_lines, strict=True)]
    sides = ["<" if i < text_columns else ">" for i in range(len(widths))]
    columns = list(zip(sides, widths, strict=True))
    header, *body = [
        [f"{cell:{side}{width}}" for cell, (side, width) in zip(line, columns, strict=True)] for line in cell_lines
    ]
    if not markdown:
        rule = ["-" * width for width in widths]
        return "\n".join((" " * GAP).join(line).rstrip() for line in (header, rule, *body))
    rule = ["-" * (width - 1) + ("-" if side == "<" else ":") for side, width in columns]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *body))
