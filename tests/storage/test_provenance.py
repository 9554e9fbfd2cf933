"""Where a run comes from, also where there is no git."""

import json
import platform
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jax
import numpy as np
import pytest

from lsp.config import ConfigError, packaging
from lsp.storage import provenance
from lsp.storage.run_folder import read_document, write_document


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@y", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module as if it lay in a folder of its own, outside any checkout."""
    path = tmp_path / "lsp" / "provenance.py"
    path.parent.mkdir()
    path.write_text("first\n")
    monkeypatch.setattr(provenance, "__file__", str(path))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return path


def test_versions() -> None:
    versions = provenance.versions()
    assert versions["python"] == platform.python_version()
    assert versions["jax"] == jax.__version__
    assert versions["numpy"] == np.__version__
    assert set(provenance.PACKAGES) < set(versions)
    assert versions["lsp"] == packaging.version()


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PACKAGES", ("numpy", "no-such-package"))
    assert provenance.versions()["no-such-package"] == "not installed"


def test_description_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/lsp/run.py", "--seed=3", "--name=a b"])
    described = provenance.describe()
    assert json.loads(json.dumps(described)) == described
    assert described["command"] == ["run.py", "--seed=3", "--name=a b"]
    assert described.keys() == {"format", "command", "versions", "git", "platform", "sessions"}
    (session,) = described["sessions"]
    assert (session["step"], session["command"], session["git"]) == (0, described["command"], described["git"])
    assert abs(datetime.fromisoformat(session["date"]) - datetime.now(UTC)) < timedelta(minutes=5)


def test_every_session_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a run is resumed twice; one of a version that kept no list begins with its first command."""
    monkeypatch.setattr(sys, "argv", ["/somewhere/lsp/run.py", "--resume=runs/a", "--steps=9"])
    for document in (provenance.describe(), {"command": ["run.py"], "git": "abc", "config": {}}):
        twice = provenance.resumed(provenance.resumed(document, 100), 250)
        assert [each["step"] for each in twice["sessions"]] == [0, 100, 250]
        assert twice["sessions"][0]["command"] == document["command"]
        assert twice["sessions"][2]["command"] == ["run.py", "--resume=runs/a", "--steps=9"]
        assert {**twice, "sessions": 0} == {**document, "sessions": 0}


def test_the_end_is_noted(tmp_path: Path) -> None:
    write_document(tmp_path / "run", {"config": {"steps": 3}, "seconds": 1.5})
    provenance.ended(tmp_path / "run", 2.25)
    assert read_document(tmp_path / "run") == {"config": {"steps": 3}, "seconds": 2.25}
    with pytest.raises(ConfigError, match="is not a run"):
        provenance.ended(tmp_path / "no-run", 1.0)


def test_outside_git(installed: Path) -> None:
    assert provenance.git_revision() is None


def test_without_git(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.git_revision() is None
    assert provenance.describe()["git"] is None


def test_inside_a_checkout(installed: Path) -> None:
    root = installed.parents[1]
    git(root, "init", "--quiet")
    git(root, "add", "lsp")
    assert provenance.git_revision() is None  # there is no revision yet
    git(root, "commit", "--quiet", "--message=x")
    revision = git(root, "rev-parse", "HEAD")
    assert provenance.git_revision() == revision
    installed.write_text("second\n")
    assert provenance.git_revision() == f"{revision}-dirty"


def test_a_checkout_around_it_is_not_its_own(installed: Path) -> None:
    """As with a virtual environment inside someone's repository."""
    root = installed.parents[1]
    (root / "theirs.py").touch()
    git(root, "init", "--quiet")
    git(root, "add", "theirs.py")
    git(root, "commit", "--quiet", "--message=x")
    assert provenance.git_revision() is None
