"""Every notebook runs from its first cell to its last; its own assertions say whether it shows what it says."""

import json
from pathlib import Path

import matplotlib
import pytest

from tests.support.runs import compiled_once  # noqa: F401  # a fixture

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_once")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path: Path) -> None:
    matplotlib.use("Agg")
    cells = json.loads(path.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert any("assert " in cell for cell in code)
    assert not any(cell.get("outputs") for cell in cells)
    names: dict[str, object] = {}
    for number, cell in enumerate(code):
        exec(compile(cell, f"{path.name}, code cell {number}", "exec"), names)


def test_there_are_three() -> None:
    assert len(NOTEBOOKS) == 3
