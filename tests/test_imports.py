"""Imports flow downward only, and what must start quickly leaves JAX alone."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORMULAS = ("types", "packing", "xla", "losses", "categorical", "networks", "normalizers", "flows", "hierarchy")
LEARNING = ("config", *FORMULAS, "replay", "agents")
COLLECTING = (*LEARNING, "storage", "envs", "executors")

# What each package may import inside lsp, from the bottom up; a module at the top level is a package of its own. The
# commands, and `lsp` itself, may import everything below them.
LAYERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("types", "config", "numpy_policy"), ()),
    **dict.fromkeys(("packing", "xla", "losses", "categorical", "networks", "normalizers"), ("types",)),
    "flows": ("types", "networks"),
    "hierarchy": ("types", "flows", "normalizers"),
    "replay": ("config", "types", "packing", "xla"),
    "agents": ("config", *FORMULAS, "replay"),
    "commands": ("config",),
    "storage": LEARNING,
    "envs": (*LEARNING, "storage"),
    "executors": (*LEARNING, "storage", "envs"),
    "training": COLLECTING,
    "report": (*COLLECTING, "training", "commands"),
    "grid": ("config", "storage", "executors", "commands", "cli"),
    **dict.fromkeys(("", "cli", "dispatch", "run", "export", "video"), ("",)),
}
FOR_TYPE_CHECKING_ONLY = {"types": ("config",)}
ONLY_IMPORTER = {"distrax": "flows.real_nvp", "tensorflow_probability": "flows.real_nvp"}


def package(module: str) -> str:
    """The row of `module`: its package, or itself at the top level."""
    return module.partition(".")[0]


def targets(node: ast.AST) -> Iterator[str]:
    """Dotted names that an import statement may load; a relative one begins with a dot."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def allowed(module: str, target: str, guarded: bool) -> bool:
    """Whether `module` may import `target`; `guarded`: for the type checker alone."""
    top, _, inside = target.partition(".")
    if top != "lsp":
        return top != "" and module == ONLY_IMPORTER.get(top, module)
    row = (package(module), *LAYERS[package(module)]) + (FOR_TYPE_CHECKING_ONLY.get(module, ()) if guarded else ())
    return "" in row or package(inside) in row


def offenses(module: str, source: str) -> list[str]:
    """Imports in a module's source, at any depth, that the tables forbid."""
    nodes = list(ast.walk(ast.parse(source)))
    blocks = [node for node in nodes if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    guarded = {node for block in blocks for node in ast.walk(block)}
    return [target for node in nodes for target in targets(node) if not allowed(module, target, node in guarded)]


@pytest.mark.parametrize("path", sorted((ROOT / "lsp").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_flow_downward(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT / "lsp").with_suffix("").parts)
    module = module.removesuffix("__init__").removesuffix(".")
    assert package(module) in LAYERS, f"lsp.{module}: say in LAYERS what it may import"
    assert offenses(module, path.read_text()) == []


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
    ],
)
def test_forbidden_imports_are_seen(module: str, source: str) -> None:
    assert len(offenses(module, source)) == 1


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
    if statements is HELP and not (ROOT / "lsp" / "run.py").exists():
        pytest.skip("no command line yet")
    script = f"import sys\n{statements}\nassert 'jax' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
