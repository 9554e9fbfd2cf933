"""How all pictures of a report look: one palette, ticks of one unit, legends that fit."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which readers with any color vision can tell apart; its yellow is too pale for lines.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GRAY, PALE = "#666666", "#DDDDDD"
Style = tuple[float, tuple[float, ...]]  # offset, then lengths of dashes and gaps
STYLES: tuple[Style, ...] = ((0, ()), (0, (5, 2)), (0, (1, 1.2)))  # tell groups apart beyond the colors
LEGEND_COLUMN, PANEL_COLUMNS = 50, 68  # characters: of a line in a legend at most, of one panel's width
UNITS = ((1e6, "M"), (1e3, "k"))


def look(index: int) -> tuple[str, Style]:
    """Color and dashes of the group of this number."""
    return COLORS[index % len(COLORS)], STYLES[index // len(COLORS) % len(STYLES)]


def in_unit(value: float, largest: float) -> str:
    """1500000 as 1.5M, 500000 as 500k; but as 0.5M on an axis that ends at 1500000."""
    size, letter = next((unit for unit in UNITS if abs(largest) >= unit[0]), (1.0, ""))
    return f"{value / size:g}{letter if value else ''}"


def dress(panel: "Axes", title: str, x: str, y: str) -> None:
    """Title, labels, grid; ticks of one unit on each axis."""
    panel.set_title(title, fontsize=11, fontweight="bold")
    panel.set_xlabel(x)
    panel.set_ylabel(y)
    panel.xaxis.set_major_formatter(lambda value, _: in_unit(value, panel.get_xlim()[1]))
    panel.yaxis.set_major_formatter("{x:,.10g}")
    panel.grid(color=PALE, linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def add_legend(figure: "Figure", names: Sequence[str], panels: int, title: str) -> None:
    """A legend under all panels, of the first looks; of one name there is none, but the title stands there."""
    from matplotlib.lines import Line2D

    shown = names if len(names) > 1 else []
    wrapped = [fill(name, LEGEND_COLUMN, subsequent_indent="  ") for name in shown]
    handles = [
        Line2D([], [], color=color, linestyle=style, linewidth=2.0) for color, style in map(look, range(len(shown)))
    ]
    longest = max((len(line) for name in wrapped for line in name.split("\n")), default=1)
    fitting = int(PANEL_COLUMNS * max(panels, 1.5) // (longest + 6))
    legend = figure.legend(
        handles, wrapped, title=title, loc="outside lower center", ncols=min(max(fitting, 1), max(len(shown), 1)),
        frameon=False, fontsize=9.5,
    )  # fmt: skip
    legend.get_title().set(fontsize=8.5, color=GRAY)


def save(figure: "Figure", path: Path) -> None:
    """Write the figure, as its suffix says. Raises OSError; ValueError for a suffix that is no format of figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
