"""What is published can be traced and repeated: revisions in the history, no folder of somebody's machine."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsp import export
from lsp.storage import layer_files
from lsp.storage.publishing import MACHINE_PATH

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "runs" / "published"
MENTIONED = re.compile(r"`((?:runs/published/)?[a-z]\w*_(?:s\d(?:` to `s\d)?|\*))`")


def documents() -> dict[str, dict[str, Any]]:
    return {path.parent.name: json.loads(path.read_text()) for path in PUBLISHED.glob("*/config.json")}


def sessions(document: dict[str, Any]) -> list[dict[str, Any]]:
    return document.get("sessions", [{"step": 0, "command": document["command"], "git": document["git"]}])


def git(*arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f"git {arguments[0]}: {result.stderr.strip()}")
    return result.stdout.strip()


def test_no_file_names_a_folder_of_a_machine() -> None:
    texts = {path: path.read_text() for path in PUBLISHED.rglob("*.json*")}
    assert len(texts) > 100
    found = {str(path.relative_to(ROOT)): MACHINE_PATH.findall(text) for path, text in texts.items()}
    assert {path: paths[0] for path, paths in found.items() if paths} == {}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('"--runs-dir=/tmp/r5"', "/tmp/r5"), ('"from_layers": "/root/x y"', "/root/x"), ("see ~/runs/a", "~/runs/a"),
        (r'"C:\\Users\\me\\runs"', r"C:\\Users\\me\\runs"), ('{"xml": "/home/me/ant.xml"}', "/home/me/ant.xml"),
        ("[/work/main]", "/work/main]"), ("failed: /var/tmp: full", "/var/tmp:"),
    ],
)  # fmt: skip
def test_such_a_folder_would_be_seen(text: str, path: str) -> None:
    assert MACHINE_PATH.findall(text) == [path]


def test_what_is_no_such_folder() -> None:
    harmless = 'env=lsp/RllabAnt-v0 runs/published/a ../a ./b "runs/a" 3/4 https://x.y/z {a}/b 1 / 2 reward: env'
    assert MACHINE_PATH.findall(harmless) == []


def test_revisions_are_in_the_history() -> None:
    if git("rev-parse", "--is-shallow-repository") == "true":
        pytest.skip("the history is not all here")
    history = set(git("rev-list", "HEAD").split())
    named = {name: {each["git"] for each in sessions(document)} for name, document in documents().items()}
    assert len(named) > 50
    unknown = {name: revisions - history - {None} for name, revisions in named.items()}
    assert {name: revisions for name, revisions in unknown.items() if revisions} == {}


def test_every_command_is_there_or_it_is_said_that_it_is_not() -> None:
    """A run that trained for longer than its first command asked for has been resumed."""
    for name, document in documents().items():
        assert document["command"], name
        listed = sessions(document)
        assert all((each["command"] and each["git"]) or each["note"] for each in listed), name
        steps = [int(flag.removeprefix("--steps=")) for flag in document["command"] if flag.startswith("--steps=")]
        assert steps == [document["config"]["steps"]] or len(listed) > 1, name
        assert [each["step"] for each in listed] == sorted({each["step"] for each in listed}), name


def test_folders_that_the_documents_name_exist() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    text = "\n".join(page.read_text() for page in pages)
    names = {found.removeprefix("runs/published/") for found in MENTIONED.findall(text)}
    names |= set(re.findall(r"runs/published/([a-z][\w*\[\]-]*)(?=[ \n/`])", text))
    assert len(names) > 20
    missing = [name for name in names for first in [name.split("`")[0]] if not list(PUBLISHED.glob(first))]
    assert missing == []


def test_weights_to_play_with() -> None:
    """Small, of the run's last step, with layers to build on."""
    policies = sorted(PUBLISHED.glob("*/policy/policy.json"))
    assert policies, "the headline's first seed"
    for path in policies:
        folder = path.parents[1]
        policy, document = export.load_policy(folder), json.loads((folder / "config.json").read_text())
        assert policy.description["step"] == document["config"]["steps"]
        assert policy.description["env"] == document["config"]["env"]
        assert np.isfinite(policy(np.zeros(policy.observation_dim), 0)).all()
        assert sum(each.stat().st_size for each in path.parent.iterdir() if each.is_file()) < 1e6
        layers = layer_files.load(folder)
        assert len(layers) == len(policy.description["layers"])
        assert layers[-1].spec[:2] == (policy.observation_dim, policy.action_dim)
