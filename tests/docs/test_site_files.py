"""Files of the repository that pages link to are part of the site."""

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def hook() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "site_files.py"))


def test_which_links_leave_docs(hook: dict[str, Any]) -> None:
    outside = hook["outside"]
    assert outside("architecture.md", "../lsp/types.py") == "lsp/types.py"
    assert outside("guide/layers.md", "../../setup.cfg") == "setup.cfg"
    assert outside("guide/layers.md", "../results.md") is None  # it is part of docs
    assert outside("architecture.md", "../lsp/nothing.py") is None  # which MkDocs then complains of
    assert outside("architecture.md", "../../elsewhere.py") is None


def test_links_are_moved(hook: dict[str, Any]) -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="guide/layers.md"))
    text = "[a](../../lsp/types.py#x) ![b](../../docs/figures/imports.svg) [c](../results.md) [d](../../LICENSE)"
    assert hook["on_page_markdown"](text, page=page) == (
        "[a](../repository/lsp/types.py.md#x) ![b](../../docs/figures/imports.svg) [c](../results.md) "
        "[d](../repository/LICENSE.md)"
    )
    assert hook["site_name"]("runs/a.png") == "repository/runs/a.png"


def test_names_stay_on_one_line(hook: dict[str, Any]) -> None:
    html = "<code>--critic.tau</code> <code>python -m lsp.run</code>"
    assert hook["on_page_content"](html) == '<code class="name">--critic.tau</code> <code>python -m lsp.run</code>'


def test_files_are_added(hook: dict[str, Any]) -> None:
    files = pytest.importorskip("mkdocs.structure.files", reason="make docs installs it")
    config = SimpleNamespace(docs_dir=str(ROOT / "docs"), site_dir="site", use_directory_urls=False)
    config.plugins = SimpleNamespace(_current_plugin="test")
    added = hook["_file"](config, "lsp/types.py", "repository/lsp/types.py.md")
    assert (ROOT / "lsp" / "types.py").read_text() in added.content_string
    assert added.inclusion == files.InclusionLevel.NOT_IN_NAV
