"""Draw which packages of `lsp` import which: `python docs/figures/imports.py` rewrites imports.svg and imports.json.

Read from the source with `ast`, imports inside functions included, those for the type checker alone left out. A box
stands just below the lowest that imports it. An arrow is an import that no detour along other arrows implies; all the
others are in the box, in small print.
"""

import argparse
import ast
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "lsp"

# Which box a module at the top of `lsp` stands in; a package is a box of its own, as is a module without an entry.
BOXES = {
    **dict.fromkeys(("losses", "categorical", "networks", "normalizers", "packing", "xla"), "formulas"),
    "hierarchy": "flows",
    **dict.fromkeys(("cli", "commands"), "command line"),
    **dict.fromkeys(("export", "numpy_policy"), "export"),
    "dispatch": "training",
}
# What a box says beside its name, and where it stands from left (0) to right; one without an entry stands at the end.
ABOUT = {
    "types": ("records and contracts", 1.1),
    "config": ("dataclasses and their rules", 2.75),
    "formulas": ("losses, networks, packing", 1.1),
    "flows": ("bijections, hierarchy", 0.55),
    "replay": ("ring, sum-tree, hindsight", 1.65),
    "agents": ("SAC-LSP, critics, layers", 1.1),
    "storage": ("checkpoints, metrics", 0.9),
    "envs": ("tasks and adapters", 0.9),
    "executors": ("where steps are taken", 0.9),
    "training": ("the loop over seeds", 1.1),
    "command line": ("flags, exit status", 2.75),
    "run": ("trains", 1.0),
    "report": ("tables and curves", 2.0),
    "export": ("a policy as files", 3.0),
    "video": ("a policy as a film", 3.0),
    "grid": ("many runs", 0.0),
}
FAMILIES = {
    "#E9ECEF": ("types", "config"),
    "#DCE8F4": ("formulas", "flows", "replay", "agents"),
    "#DDEDDF": ("storage", "envs", "executors"),
    "#FBE9D0": ("training",),
    "#EADFEF": ("command line", "run", "report", "export", "video", "grid"),
}
INK, SMALL = "#22303C", "#5F6D7A"
WIDTH, HEIGHT = 0.9, 0.72  # of a box, where the distances of columns and of rows are 1
LETTERS = 36  # in a line of small print


def read_imports(source: Path) -> dict[str, list[str]]:
    """The boxes that each box imports, both in the order of the alphabet."""
    found: dict[str, set[str]] = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        if parts == ("__init__",):  # public names, resolved on first use
            continue
        importer = box_of(parts[0])
        imported = {box_of(name) for name in _targets(ast.parse(path.read_text()), source)}
        found.setdefault(importer, set()).update(imported - {importer})
    return {box: sorted(found[box]) for box in sorted(found)}


def box_of(name: str) -> str:
    """The box of a package or module directly under `lsp`."""
    return BOXES.get(name, name)


def _targets(tree: ast.AST, source: Path) -> Iterator[str]:
    """Packages and modules directly under `lsp` that a module imports."""
    for node in _unguarded(tree):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [[*(node.module or "").split("."), alias.name] for alias in node.names]
        else:
            continue
        for top, *rest in names:
            if top == "lsp" and rest and ((source / rest[0]).is_dir() or (source / f"{rest[0]}.py").exists()):
                yield rest[0]


def _unguarded(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from _unguarded(child)


def rows(imports: Mapping[str, list[str]]) -> dict[str, int]:
    """The row of each box, 0 the lowest: one below the lowest box that imports it. Raises ValueError for a circle."""
    depths: dict[str, int] = {}

    def depth(box: str, below: tuple[str, ...] = ()) -> int:
        if box in below:
            raise ValueError(f"circle of imports: {' <- '.join([*below[below.index(box) :], box])}")
        if box not in depths:
            importers = [each for each, targets in imports.items() if box in targets]
            depths[box] = 1 + max((depth(each, (*below, box)) for each in importers), default=-1)
        return depths[box]

    lowest = max(map(depth, imports))
    return {box: lowest - depths[box] for box in imports}


def implied(imports: Mapping[str, list[str]]) -> set[tuple[str, str]]:
    """Arrows between whose ends there is a detour along others."""

    def reached(box: str) -> set[str]:
        return {box}.union(*(reached(each) for each in imports.get(box, ())))

    return {
        (box, target)
        for box, targets in imports.items()
        for target in targets
        if any(target in reached(other) for other in targets if other != target)
    }


def draw(imports: Mapping[str, list[str]]) -> Figure:
    """The graph, from `types` at the bottom to the commands at the top."""
    row, hidden = rows(imports), implied(imports)
    missing = [box for box in imports if box not in ABOUT]
    end = 1 + max(x for _, x in ABOUT.values())
    place = {box: (ABOUT[box][1] if box in ABOUT else end + missing.index(box), row[box]) for box in imports}
    right, top = (max(values) for values in zip(*place.values(), strict=True))
    figure = Figure(figsize=(1.95 * (right + 1), 1.0 * (top + 0.9)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.5, right + 0.5), ylim=(-0.45, top + 0.45))
    axes.axis("off")
    for box, targets in imports.items():
        _draw_box(axes, box, place[box], [target for target in targets if (box, target) in hidden])
        for target in targets:
            if (box, target) not in hidden:
                _draw_arrow(axes, place[box], place[target])
    return figure


def _draw_box(axes: Axes, box: str, place: tuple[float, float], also: Sequence[str]) -> None:
    x, y = place
    color = next((color for color, boxes in FAMILIES.items() if box in boxes), "white")
    look = {"boxstyle": "round,pad=0,rounding_size=0.06", "facecolor": color, "edgecolor": INK, "linewidth": 0.9}
    axes.add_patch(FancyBboxPatch((x - WIDTH / 2, y - HEIGHT / 2), WIDTH, HEIGHT, zorder=3, **look))
    small = "\n".join(textwrap.wrap(f"also {', '.join(also)}", LETTERS)) if also else ""
    heights = (0.2, 0.03, -0.2) if small else (0.1, -0.11, 0)
    text = {"ha": "center", "va": "center", "zorder": 4}
    axes.text(x, y + heights[0], box, fontsize=11.5, fontweight="bold", color=INK, **text)
    axes.text(x, y + heights[1], ABOUT.get(box, ("", 0.0))[0], fontsize=8, color=INK, **text)
    axes.text(x, y + heights[2], small, fontsize=6.3, color=SMALL, linespacing=1.05, **text)


def _draw_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From the bottom of a box to the top of one below, a little nearer to each other than their centers are."""
    (x, y), (to_x, to_y) = start, end
    lean = 0.3 * max(-1.0, min(1.0, to_x - x))
    arrow = FancyArrowPatch(
        (x + lean, y - HEIGHT / 2), (to_x - lean, to_y + HEIGHT / 2), arrowstyle="-|>", mutation_scale=12,
        shrinkA=0, shrinkB=0, color=INK, linewidth=1.2, zorder=2,
    )  # fmt: skip
    axes.add_patch(arrow)


def main(out: Path, suffix: str = "svg") -> None:
    """Write the figure and the imports that it shows to the folder `out`."""
    import matplotlib as mpl

    imports = read_imports(SOURCE)
    (out / "imports.json").write_text(json.dumps(imports, indent=1) + "\n")
    mpl.rcParams["svg.hashsalt"] = "imports"  # the same file for the same imports
    draw(imports).savefig(out / f"imports.{suffix}", dpi=140, metadata={"Date": None} if suffix == "svg" else None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE, help="folder (default: that of this script)")
    parser.add_argument("--suffix", default="svg", help="svg or png (default: svg)")
    main(**vars(parser.parse_args()))
