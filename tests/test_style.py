"""Budgets that keep every part small enough to read at one sitting, to import and to test alone.

Each check takes sources by name, lists every offender at once, and is tried on planted ones.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILE_LINES = {"lsp": 350, "benchmarks": 350, "tests": 500}  # a module has one test file, which says more than it does
FUNCTION_LINES, NESTING, TOP_MODULES = 60, 2, 15
Function = ast.FunctionDef | ast.AsyncFunctionDef
Sources = Mapping[str, str]  # path from the root -> text


def read(*folders: str) -> Sources:
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}


def nesting(node: ast.AST) -> int:
    """Functions around the innermost statement: 1 in a plain function, 2 in a function inside it."""
    return max((nesting(child) for child in ast.iter_child_nodes(node)), default=0) + isinstance(node, Function)


def functions(source: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, Function)]


def too_large(sources: Sources) -> Iterator[str]:
    for path, source in sources.items():
        if (lines := len(source.splitlines())) > FILE_LINES[path.split("/")[0]]:
            yield f"{path}: {lines} lines"
        for function in functions(source):
            if (lines := function.end_lineno - function.lineno + 1) > FUNCTION_LINES:
                yield f"{path}: {function.name} has {lines} lines"
            if (depth := nesting(function)) > NESTING:
                yield f"{path}: {function.name} nests functions {depth} deep"


def without_twin(library: Sources, tests: Sources) -> Iterator[str]:
    """Modules with functions that do something, contracts aside, and no test file where it belongs."""
    for path, source in library.items():
        file = Path("tests", *Path(path).parts[1:])
        twin = file.with_name(f"test_{file.stem.strip('_')}.py").as_posix()
        bodies = [statement for function in functions(source) for statement in function.body]
        if twin not in tests and not all(isinstance(statement, ast.Expr) for statement in bodies):
            yield f"{path}: missing {twin}"


def top_modules(library: Sources) -> list[str]:
    return [path for path in library if path.count("/") == 1 and path != "lsp/__init__.py"]


def test_sizes() -> None:
    assert list(too_large(read("lsp", "benchmarks", "tests"))) == []


def test_twins() -> None:
    assert list(without_twin(read("lsp"), read("tests"))) == []


def test_top_of_the_library() -> None:
    modules = top_modules(read("lsp"))
    assert len(modules) <= TOP_MODULES, f"belongs into a package: one of {modules}"


LONG = "def long():\n" + "    x = 0\n" * FUNCTION_LINES
DEEP = "def a():\n  def b():\n    def c(): x = 0\n"


@pytest.mark.parametrize(
    ("path", "source", "offender"),
    [
        ("lsp/x.py", "x = 0\n" * 351, "lsp/x.py: 351 lines"),
        ("benchmarks/x.py", "x = 0\n" * 351, "benchmarks/x.py: 351 lines"),
        ("tests/x.py", "x = 0\n" * 501, "tests/x.py: 501 lines"),
        ("lsp/x.py", LONG, "lsp/x.py: long has 61 lines"),
        ("lsp/x.py", DEEP, "lsp/x.py: a nests functions 3 deep"),
        ("lsp/x.py", f"async {DEEP}", "lsp/x.py: a nests functions 3 deep"),
    ],
)
def test_what_is_too_large_is_seen(path: str, source: str, offender: str) -> None:
    assert list(too_large({"lsp/small.py": "x = 0\n" * 350, path: source})) == [offender]


@pytest.mark.parametrize(
    ("path", "twin"),
    [
        ("lsp/x.py", "tests/test_x.py"),
        ("lsp/a/b/x.py", "tests/a/b/test_x.py"),
        ("lsp/a/__init__.py", "tests/a/test_init.py"),
    ],
)
def test_missing_twins_are_seen(path: str, twin: str) -> None:
    contract, module = "class A:\n    def b(self):\n        'Say b.'", "def a(): return 0"
    assert list(without_twin({path: module}, {"tests/other/test_x.py": ""})) == [f"{path}: missing {twin}"]
    assert list(without_twin({path: module}, {twin: ""})) == list(without_twin({path: contract}, {})) == []


def test_modules_at_the_top_are_counted() -> None:
    assert top_modules(dict.fromkeys(("lsp/__init__.py", "lsp/x.py", "lsp/a/x.py", "lsp/y.py"), "")) == [
        "lsp/x.py",
        "lsp/y.py",
    ]
