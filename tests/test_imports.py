"""Imports flow downward only, and what must start quickly leaves JAX alone."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRACTS = ("types", "config", "fields", "layering")
RECORDS = ("metrics", "checkpoint", "run_dir")
FORMULAS = ("rows", "branches", "losses", "categorical", "networks", "normalizers", "flows", "hierarchy")
LEARNING = (*CONTRACTS, *FORMULAS, "replay", "agents")
RUNNING = (*CONTRACTS, *RECORDS, "rows", "episodes", "evaluate", "dispatch", "loop")
COMMANDS = (*CONTRACTS, "commands")
AROUND = ("memory", "provenance", "interrupt", "sinks", "outputs", "divergence")

# What each module may import inside lsp. A row covers its submodules that have none; `run` is in no row.
LAYERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("types", "fields", "statistics", "provenance", "interrupt", "huge_pages"), ()),
    "commands": ("fields",),
    "layer_rewards": ("fields",),
    "layering": ("fields", "layer_rewards"),
    "config": ("fields", "layering", "config"),
    "divergence": ("fields",),
    **dict.fromkeys(("rows", "branches", "losses", "categorical", "networks", "normalizers"), ("types",)),
    "replay.words": ("types",),
    "replay.sum_tree": ("types", "replay.words"),
    "episodes": ("types",),
    "returns": ("types", "rows"),
    "flows": ("types", "networks"),
    "hierarchy": ("types", "flows", "normalizers"),
    "replay": ("types", "rows", "branches", "replay"),
    "agents": LEARNING,
    "envs": (*CONTRACTS, "envs"),
    "envs.latent": (*CONTRACTS, "envs", "hierarchy", "agents", "layer_files"),
    "executors": (*CONTRACTS, "layer_rewards", "rows", "returns", "episodes", "envs", "executors"),
    **dict.fromkeys(RECORDS, CONTRACTS),
    "sinks": CONTRACTS,
    "outputs": (*CONTRACTS, "metrics", "sinks"),
    "memory": (*LEARNING, "dispatch"),
    "evaluate": (*CONTRACTS, "episodes"),
    "dispatch": (*CONTRACTS, "rows"),
    "loop": (*CONTRACTS, *RECORDS, "rows", "evaluate", "dispatch", "huge_pages"),
    **dict.fromkeys(("pipelined", "asynchronous"), (*CONTRACTS, "dispatch", "loop", "executors.fleet")),
    "actor": (*LEARNING, "dispatch"),
    "layer_files": (*LEARNING, "checkpoint"),
    "growth": (*RUNNING, *LEARNING, "layer_files"),
    "lane_dispatch": (*CONTRACTS, "dispatch"),
    "sweep": (*RUNNING, "lane_dispatch", "huge_pages"),
    "growth_lanes": (*RUNNING, *LEARNING, "growth", "sweep"),
    "resuming": (*CONTRACTS, *RECORDS, "layering"),
    "train": (
        *RUNNING, *LEARNING, *AROUND, "envs", "executors", "pipelined", "sweep", "growth", "layer_files", "resuming",
        "sinks", "outputs", "asynchronous", "actor",
    ),
    "seeds": (
        *RUNNING, *AROUND, "agents", "envs", "executors", "sweep", "train", "growth", "growth_lanes", "resuming",
    ),
    "reporting": (*CONTRACTS, "metrics", "statistics", "reporting"),
    "laws": (*LEARNING, *RECORDS, "envs", "growth", "resuming"),
    "report": (*COMMANDS, "reporting", "laws"),
    "numpy_policy": (),
    "export": (*COMMANDS, *LEARNING, *RECORDS, "envs", "growth", "numpy_policy"),
    "video": (*COMMANDS, *RECORDS, "envs", "export", "numpy_policy"),
    "cli": (*CONTRACTS, "agents"),
    "cells": (*COMMANDS, "checkpoint", "cli", "run_dir"),
    "cluster": (*COMMANDS, "cells", "executors.ray"),
    "grid": (*COMMANDS, "cli", "cells", "cluster"),
    "run": (*COMMANDS, "checkpoint", "cli", "agents", "envs", "memory", "provenance", "seeds", "train"),
    "": (*LEARNING, *RUNNING, "envs", "executors", "sweep", "train", "report", "export", "video"),
}
FOR_TYPE_CHECKING_ONLY = {"types": ("config",), "layering": ("config",)}
ONLY_IMPORTER = {"distrax": "flows", "tensorflow_probability": "flows"}


def layer(module: str) -> str:
    """The row of `module`, or of the nearest package around it."""
    while module not in LAYERS and "." in module:
        module = module.rpartition(".")[0]
    return module


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
    row = LAYERS[layer(module)] + (FOR_TYPE_CHECKING_ONLY.get(module, ()) if guarded else ())
    return any(f"{inside}.".startswith(f"{prefix}.") for prefix in row)


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
    assert layer(module) in LAYERS, f"lsp.{module}: say in LAYERS what it may import"
    assert offenses(module, path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("losses", "from lsp import networks"),
        ("losses", "import lsp"),
        ("replay.sum_tree", "from lsp.replay import ring"),
        ("replay.uniform", "from . import ring"),
        ("loop", "def late():\n    import lsp.agents.sac_lsp"),
        ("types", "from lsp.config import Config"),
        ("train", "from lsp.run import main"),
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
