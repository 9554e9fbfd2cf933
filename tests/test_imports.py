"""Imports flow downward only, and what must start quickly leaves JAX alone."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
Sources = Mapping[str, str]  # module without the leading "lsp." -> text
FORMULAS = ("types", "packing", "xla", "losses", "categorical", "networks", "normalizers", "flows", "hierarchy")
LEARNING = ("config", *FORMULAS, "replay", "agents")
COLLECTING = (*LEARNING, "storage", "envs", "executors")

# What each package may import inside lsp, from the bottom up; a module at the top level is a package of its own. The
# commands, and `lsp` itself, may import everything below them.
LAYERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("types", "config", "numpy_policy"), ()),
    **dict.fromkeys(("packing", "xla", "losses", "categorical", "networks", "normalizers"), ("types",)),
    "flows": ("types", "config", "networks"),
    "hierarchy": ("types", "flows", "normalizers"),
    "replay": ("config", "types", "packing", "xla"),
    "agents": ("config", *FORMULAS, "replay"),
    "commands": ("config",),
    "storage": LEARNING,
    "envs": (*LEARNING, "storage"),
    "executors": (*LEARNING, "storage", "envs"),
    "training": COLLECTING,
    "report": (*COLLECTING, "training", "commands"),
    "grid": ("config", "storage", "executors", "commands", "cli", "report"),
    **dict.fromkeys(("", "cli", "dispatch", "run", "export", "video", "api"), ("",)),
}
FOR_TYPE_CHECKING_ONLY = {"types": ("config",)}
ONLY_IMPORTER = {"distrax": "flows", "tensorflow_probability": "flows"}  # a package: a kind of flow is a bijector there


def package(module: str) -> str:
    """The row of `module`: its package, or itself at the top level."""
    return module.partition(".")[0]


def read(folder: str = "lsp") -> Sources:
    paths = sorted((ROOT / folder).rglob("*.py"))
    names = [".".join(path.relative_to(ROOT / folder).with_suffix("").parts) for path in paths]
    names = [name.removesuffix("__init__").removesuffix(".") for name in names]
    return {name: path.read_text() for name, path in zip(names, paths, strict=True)}


def targets(node: ast.AST) -> Iterator[str]:
    """Dotted names that an import statement may load; a relative one begins with a dot."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def imports(source: str) -> list[tuple[str, bool]]:
    """What is imported at any depth, and whether for the type checker alone."""
    nodes = list(ast.walk(ast.parse(source)))
    blocks = [node for node in nodes if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    guarded = {node for block in blocks for statement in block.body for node in ast.walk(statement)}
    return [(target, node in guarded) for node in nodes for target in targets(node)]


def allowed(module: str, target: str, guarded: bool) -> bool:
    """Whether `module` may import `target`; `guarded`: for the type checker alone."""
    top, _, inside = target.partition(".")
    if top != "lsp":
        return top != "" and package(module) == ONLY_IMPORTER.get(top, package(module))
    row = (package(module), *LAYERS.get(package(module), ()))
    row += FOR_TYPE_CHECKING_ONLY.get(module, ()) if guarded else ()
    return "" in row or package(inside) in row


def forbidden(library: Sources) -> Iterator[str]:
    for module, source in library.items():
        if package(module) not in LAYERS:
            yield f"lsp.{module} has no row in LAYERS"
        for target, guarded in imports(source):
            if not allowed(module, target, guarded):
                yield f"lsp.{module} imports {target}"


def graph(library: Sources) -> dict[str, set[str]]:
    """The modules that each loads itself, when it is imported or later."""
    loads = {}
    for module, source in library.items():
        loaded = (target.partition(".") for target, guarded in imports(source) if not guarded)
        names = [inside for top, _, inside in loaded if top == "lsp"]
        # The last name is that of a module or of something in one.
        loads[module] = {name if name in library else name.rpartition(".")[0] for name in names} & set(library)
    return loads


def reached(loads: Mapping[str, set[str]], module: str) -> set[str]:
    """Modules that `module` loads itself or through others."""
    seen: set[str] = set()
    ahead = [module]
    while ahead:
        new = loads[ahead.pop()] - seen
        seen |= new
        ahead += new
    return seen


def cycles(library: Sources) -> set[frozenset[str]]:
    """Sets of modules that load each other."""
    loads = graph(library)
    below = {module: reached(loads, module) for module in loads}
    sets = (frozenset(other for other in below[module] if module in below[other]) for module in below)
    return set(filter(None, sets))


def borrowed(tests: Sources) -> Iterator[str]:
    """What test modules import from each other, though `tests.support` is there for it."""
    for module, source in tests.items():
        for target, _ in imports(source):
            if target.startswith("tests.") and any(part.startswith("test_") for part in target.split(".")[:-1]):
                yield f"tests.{module} imports {target}"


def test_imports_flow_downward() -> None:
    assert list(forbidden(read())) == []


def test_no_import_cycles() -> None:
    assert cycles(read()) == set()


def test_tests_share_helpers_by_tests_support() -> None:
    assert list(borrowed(read("tests"))) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("losses", "from lsp import networks"),
        ("losses", "import lsp"),
        ("replay.uniform", "from . import ring"),
        ("replay.uniform", "def late():\n    import lsp.agents.sac_lsp"),
        ("types", "from lsp.config import Config"),
        ("training.run", "from lsp.run import main"),
        ("agents.sac_lsp", "import distrax"),
        ("unlisted", "import json"),
    ],
)
def test_forbidden_imports_are_seen(module: str, source: str) -> None:
    fine = {"agents.parts": "from lsp import losses", "types": "if TYPE_CHECKING:\n    from lsp.config import Config"}
    assert len(list(forbidden({**fine, module: source}))) == 1


def test_borrowing_is_seen() -> None:
    sources = {"a.test_b": "from tests.a.test_c import d", "test_e": "from tests.support.runs import test_f"}
    assert list(borrowed(sources)) == ["tests.a.test_b imports tests.a.test_c.d"]


@pytest.mark.parametrize("load", ["from lsp.a import c", "from lsp.a.c import name", "import lsp.a.c"])
def test_cycles_are_seen(load: str) -> None:
    late = "def later():\n    from lsp import b"
    chain = {"a": "", "a.c": late, "b": "from lsp.d import name", "d": load, "e": "from lsp import b, d"}
    assert cycles(chain) == {frozenset({"a.c", "b", "d"})}
    assert cycles({**chain, "a.c": "if TYPE_CHECKING:\n    from lsp import b"}) == set()
    assert cycles({"a": "from lsp.a.c import name", "a.c": "from lsp.a import other"}) == {frozenset({"a", "a.c"})}


HELP = """
import runpy
sys.argv = ["lsp.run", "--help"]
try:
    runpy.run_module("lsp.run", run_name="__main__")
except SystemExit as end:
    assert not end.code
"""


@pytest.mark.parametrize("statements", ["import lsp", "import lsp.config", HELP], ids=["lsp", "config", "help"])
def test_starts_without_jax(statements: str) -> None:
    script = f"import sys\n{statements}\nassert 'jax' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
