"""Budgets that keep every part small enough to read at one sitting, to import and to test alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = sorted((ROOT / "lsp").rglob("*.py"))
FILES = LIBRARY + sorted((ROOT / "tests").rglob("*.py")) + sorted((ROOT / "benchmarks").rglob("*.py"))
FILE_LINES = {"lsp": 300, "benchmarks": 300, "tests": 500}  # a module has one test file, which says more than it does
FUNCTION_LINES, NESTING = 60, 2
Function = ast.FunctionDef | ast.AsyncFunctionDef


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(node: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [child for child in ast.walk(node) if isinstance(child, Function)]


def nesting(node: ast.AST) -> int:
    """Functions around the innermost statement: 1 in a plain function, 2 in a function inside it."""
    return max((nesting(child) for child in ast.iter_child_nodes(node)), default=0) + isinstance(node, Function)


def public(scope: ast.Module | ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Functions and classes of a module that others may use, methods included."""
    for node in scope.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node)


def does_something(function: ast.AST) -> bool:
    """False of a contract, which has a docstring and no body."""
    return any(not isinstance(node, ast.Expr) for node in function.body)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_sizes(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= FILE_LINES[path.relative_to(ROOT).parts[0]]
    spans = [(node.end_lineno - node.lineno + 1, node.name) for node in functions(tree)]
    assert [span for span in spans if span[0] > FUNCTION_LINES] == []
    assert [node.name for node in functions(tree) if nesting(node) > NESTING] == []


@pytest.mark.parametrize("path", LIBRARY, ids=name)
def test_docstrings(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) is not None
    assert [node.name for node in public(tree) if ast.get_docstring(node) is None] == []


@pytest.mark.parametrize("path", LIBRARY, ids=name)
def test_twins(path: Path) -> None:
    text = path.read_text()
    if len(text.splitlines()) > 20 and any(map(does_something, functions(ast.parse(text)))):
        twin = ROOT / "tests" / path.relative_to(ROOT / "lsp").with_name(f"test_{path.stem.strip('_')}.py")
        assert twin.exists(), f"missing: {name(twin)}"
