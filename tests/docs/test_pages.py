"""What pages speak of is there: files and headings that they link to, and flags.

Commands and snippets are executed in `test_commands.py`.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lsp import cli
from lsp.config import Config, schema

ROOT = Path(__file__).parents[2]
FOR_AUTHORS = ("figures",)  # folders whose pages are no part of the site
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name not in FOR_AUTHORS)
OTHERS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "runs/README.md", "docs/figures/README.md")]
LINK = re.compile(r"\]\(([^)\s]+)\)")
MODULES = ("lsp", "lsp.agents", "lsp.types", "lsp.flows", "lsp.hierarchy", "lsp.losses", "lsp.categorical")
MODULES += ("lsp.api.train.train", "lsp.api.run.Run", "lsp.training.callbacks.Callback", "lsp.export")
MODULES += ("lsp.replay", "lsp.replay.sum_tree", "lsp.envs")

# Flags of other commands than `lsp.run`, and of other libraries in the page for those who come from them.
FOREIGN = {"--help", "--name", "--csv", "--out", "--compare", "--markdown", "--protocol", "--distributions", "--step"}
FOREIGN |= {"--wide", "--until", "--publish", "--jobs", "--project", "--score-from", "--picture", "--peer-python"}
FOREIGN |= {"--x", "--y"}
FOREIGN |= {"--latent-walk", "--cpus", "--address", "--head", "--port", "--num-cpus", "--inline", "--clock", "--only"}
FOREIGN |= {"--rounds", "--calls", "--lock-step"}
PLACEHOLDERS = {"--no-name", "--growth"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def slug(heading: str) -> str:
    """The anchor of a heading, on GitHub and in the site."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    text = path.read_text()
    headings = re.findall(r"^#+ (.*)$", without_code(text), re.MULTILINE)
    return {slug(heading) for heading in headings} | set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))


def broken(path: Path) -> Iterator[str]:
    """Links of a page to what is not there."""
    for link in LINK.findall(without_code(path.read_text())):
        target, _, anchor = link.partition("#")
        if link.startswith("http"):
            continue
        file = path.parent / target if target else path
        if not file.is_file() or (anchor and anchor not in anchors(file)):
            yield link


@pytest.mark.parametrize("path", [*PAGES, *OTHERS], ids=name_of)
def test_links(path: Path) -> None:
    assert list(broken(path)) == []


def test_broken_links_are_seen(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# A title, `code`: more\n")
    page = tmp_path / "a.md"
    page.write_text("[x](b.md) [x](b.md#a-title-code-more) [x](b.md#other) [x](c.md) [x](#a)\n```\n[x](d.md)\n```\n")
    assert list(broken(page)) == ["b.md#other", "c.md", "#a"]


def test_the_menu_has_every_page() -> None:
    menu = re.findall(r"[\w/-]+\.md$", (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2], re.MULTILINE)
    assert sorted(menu) == sorted(path.relative_to(ROOT / "docs").as_posix() for path in PAGES)


def test_public_modules_are_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text()
    assert [module for module in MODULES if not re.search(rf"^::: {re.escape(module)}$", page, re.MULTILINE)] == []


def unknown_flags(text: str) -> set[str]:
    """Flags in code that `lsp.run` does not have, nor anybody else who is meant."""
    known = {schema.flag(name) for name in schema.kinds(Config) | schema.kinds(cli.RunOptions)}
    named = {flag for code in re.findall(r"`[^`\n]+`", text) for flag in re.findall(r"--[a-z][\w.-]*", code)}
    return {flag for flag in named if re.sub(r"--(\w+\.)?no-", r"--\1", flag) not in known and flag not in known}


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_flags_exist(path: Path) -> None:
    elsewhere = path.name == "coming-from.md"
    unknown = unknown_flags(path.read_text()) - FOREIGN - PLACEHOLDERS
    assert elsewhere or unknown == set()
    if elsewhere:
        here = {row.split("|")[3] for row in path.read_text().splitlines() if row.startswith("|") and "---" not in row}
        assert unknown_flags("\n".join(here)) == set()
        assert len(here) > 20


def test_flags_that_do_not_exist_are_seen() -> None:
    assert unknown_flags("`--critic.tau` `--no-critic.layer-norm` `--critic.no-layer-norm` `--critic.low=1 --hi`") == {
        "--critic.low",
        "--hi",
    }


def test_nothing_is_fetched() -> None:
    """Pages show pictures of this repository alone."""
    pictures = {link for path in PAGES for link in re.findall(r"!\[[^]]*\]\(([^)]*)\)", path.read_text())}
    assert len(pictures) >= 8
    assert [link for link in pictures if "://" in link or posixpath.isabs(link)] == []


def words(text: str) -> list[Any]:
    """Words that this project once had for things of its own, and that nobody else uses."""
    private = r"\b(lanes?|hauls?|laws?|anew|judged|young|fleet|rows of experience)\b"
    return re.findall(private, re.sub(r"`[^`]*`|\]\([^)]*\)", "", without_code(text)), re.IGNORECASE)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_words_are_those_of_the_field(path: Path) -> None:
    assert words(path.read_text()) == []
    assert words("a lane, `law.png` and [x](law.md)") == ["lane"]
