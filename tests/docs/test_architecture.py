"""The page on architecture names only what there is."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"


def exists(name: str) -> bool:
    """Whether a dotted name is a module of `lsp`, or something that a package or module of it defines."""
    path = ROOT / "lsp" / name.replace(".", "/")
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    sources = (path.parent.with_suffix(".py"), path.parent / "__init__.py")
    pattern = rf"^(def|class) {path.name}\b|^{path.name}\b|\bimport .*\b{path.name}\b"
    return any(source.exists() and re.search(pattern, source.read_text(), re.MULTILINE) for source in sources)


def test_names_exist() -> None:
    names = re.findall(r"`([a-z_]+(?:\.[A-Za-z_]+)+)`", PAGE.read_text())
    files = [name for name in names if name.endswith((".json", ".py", ".jsonl"))]
    assert len(names) > 20
    assert [name for name in names if name not in files and not exists(name)] == []
    assert not exists("training.lane_dispatch")
    assert not exists("config.stages.of_lane")


def test_links_and_paths_exist() -> None:
    text = PAGE.read_text()
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert "figures/imports.svg" in links
    paths = re.findall(r"`((?:agents|config|envs|flows|replay)/(?!NAME|critics/NAME)[\w/]+\.py)`", text)
    assert len(paths) >= 5
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
    assert [path for path in paths if not (ROOT / "lsp" / path).exists()] == []
