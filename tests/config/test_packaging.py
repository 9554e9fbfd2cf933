"""What to type for an extra works where it is typed, and never names what others call `lsp` on the package index."""

import re
import shlex
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from lsp.config import packaging

ROOT = Path(__file__).parents[2]
MENTION = re.compile(r"\blsp\[|pip install (-\S+ )*['\"]?lsp\b")

TEXT = ("", ".py", ".md", ".cfg", ".toml", ".ipynb", ".txt")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`lsp` as if it were installed from a wheel."""
    monkeypatch.setattr(packaging, "__file__", str(tmp_path / "lsp" / "config" / "packaging.py"))
    return tmp_path


def test_in_the_checkout_it_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(packaging, "PIP", "python -m pip")
    assert packaging.install("track") == "python -m pip install -e '.[track]'"


def test_elsewhere_it_names_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(packaging.install("ray"))
    assert words == [sys.executable, "-m", "pip", "install", "-e", f"{ROOT}[ray]"]


def test_a_checkout_with_a_space_is_quoted(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = elsewhere / "my work"
    root.mkdir()
    (root / "setup.cfg").write_text("[metadata]\nversion = 7.8\n")
    monkeypatch.setattr(packaging, "__file__", str(root / "lsp" / "config" / "packaging.py"))
    assert shlex.split(packaging.install("ray"))[-1] == f"{root}[ray]"
    assert packaging.version() == "7.8"


def test_without_a_checkout(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert packaging.install("ray").endswith(" -m pip install -e '.[ray]'")
    monkeypatch.setattr(packaging, "DISTRIBUTION", "numpy")
    assert re.fullmatch(r"[\d.]+", packaging.version())
    monkeypatch.setattr(packaging, "DISTRIBUTION", "no-such-distribution")
    assert packaging.version() == "unknown"


def test_names_are_those_of_setup_cfg() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["name"] == packaging.DISTRIBUTION != "lsp"
    assert packaging.version() == setup["metadata"]["version"]
    extras = setup["options.extras_require"]
    texts = [path.read_text() for path in (ROOT / "lsp").rglob("*.py")]
    used = {name for text in texts for name in re.findall(r"install\(.(\w+).\)", text)}
    assert used == {"ray", "robotics", "track"}
    assert used < set(extras)


def test_nothing_names_somebody_elses_package() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    paths = [ROOT / name for name in listed.splitlines()] or [*ROOT.glob("*"), *(ROOT / "lsp").rglob("*.py")]
    texts = {path: path.read_text() for path in paths if path.suffix in TEXT and path.is_file()}
    assert len(texts) > 50
    found = [f"{path}: {line}" for path, text in texts.items() for line in text.splitlines() if MENTION.search(line)]
    assert [line for line in found if Path(__file__).name not in line] == []


@pytest.mark.parametrize("text", ["pip install 'lsp[ray]'", "pip install lsp", 'pip install -U "lsp"', "lsp[a,b]"])
def test_such_a_mention_would_be_seen(text: str) -> None:
    assert MENTION.search(text)


def test_what_may_be_written() -> None:
    assert not MENTION.search("pip install -e '.[track]'; did you mean sac_lsp[?]")
