"""The figure of imports shows today's, all of them, and its script runs."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "figures" / "imports.py"


def test_the_figure_is_up_to_date(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "</svg>" in (tmp_path / "imports.svg").read_text()
    shown, today = (json.loads((folder / "imports.json").read_text()) for folder in (SCRIPT.parent, tmp_path))
    assert today == shown, f"imports have changed: run python {SCRIPT.relative_to(ROOT)}"
    assert sum(map(len, today.values())) > 40


def test_rows_and_arrows() -> None:
    script = runpy.run_path(str(SCRIPT))
    graph = {"a": ["b", "c", "d"], "b": ["d"], "c": ["d"], "d": []}
    assert script["implied"](graph) == {("a", "d")}
    assert script["rows"](graph) == {"a": 2, "b": 1, "c": 1, "d": 0}
    with pytest.raises(ValueError, match="circle of imports: a <- b <- a"):
        script["rows"]({"a": ["b"], "b": ["a"]})


def test_imports_are_read_wherever_they_stand(tmp_path: Path) -> None:
    """At any depth, of a package or of a module in it; not those for the type checker, nor other libraries'."""
    script = runpy.run_path(str(SCRIPT))
    (tmp_path / "deep").mkdir()
    for name in ("__init__", "types", "run", "guarded", "losses", "deep/__init__", "deep/inside"):
        (tmp_path / f"{name}.py").touch()
    (tmp_path / "run.py").write_text("def main():\n    import sys, lsp.deep.inside\n    from lsp import losses\n")
    (tmp_path / "deep/inside.py").write_text(
        "from lsp import types\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lsp import guarded\n"
    )
    found = script["read_imports"](tmp_path)
    assert found == {"deep": ["types"], "formulas": [], "guarded": [], "run": ["deep", "formulas"], "types": []}
