"""What is published is small, names no machine, and holds what the run held."""

import json
import shutil
from pathlib import Path

import pytest

from lsp import export
from lsp.config import ConfigError
from lsp.storage import layer_files
from lsp.storage.publishing import publish, thinned
from lsp.storage.run_folder import read_document, write_document
from tests.support.policies import untrained


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run as it ends, with a policy that somebody exported."""
    run = untrained(tmp_path / "runs" / "NAME", steps=100)
    for depth, layer in enumerate(export.load_actor(run).layers):
        layer_files.save(run, depth, layer)
    (run / "eval.jsonl").write_text('{"step":100}\n')
    (run / "metrics.jsonl").write_text('{"step":50}\n{"step":100}\n')
    (run / "policy").mkdir()
    (run / "policy" / "policy.json").write_text("{}\n")
    return run


def noted(run: Path, **entries: object) -> None:
    write_document(run, read_document(run) | entries)


def test_what_is_published(finished: Path, tmp_path: Path) -> None:
    noted(finished, git="abc", command=["run.py", f"--from-layers={tmp_path}/runs/skill"])
    out = tmp_path / "published" / "mine"
    assert publish(finished, out, tmp_path) == []
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json", "eval.jsonl", "layers", "metrics.jsonl", "policy"
    ]  # fmt: skip
    document = json.loads((out / "config.json").read_text())
    assert document["command"] == ["run.py", "--from-layers=runs/skill"]
    assert document["config"] == read_document(finished)["config"]
    assert (out / "metrics.jsonl").read_text() == (finished / "metrics.jsonl").read_text()
    assert len(layer_files.load(out)) == 1
    assert list(out.parent.iterdir()) == [out], "nothing half-written beside it"


@pytest.mark.parametrize("revision", [None, "abc-dirty"])
def test_revisions_that_nobody_has_are_told(finished: Path, tmp_path: Path, revision: str | None) -> None:
    noted(finished, git=revision)
    (note,) = publish(finished, tmp_path / "out", tmp_path)
    assert note == f"trained at revision {revision or 'unknown'}, which nobody else can check out"


def test_what_cannot_be_published(finished: Path, tmp_path: Path) -> None:
    """In one line each, and nothing is written."""
    out = tmp_path / "out"
    noted(finished, command=["run.py", "--runs-dir=/somewhere/else"])
    with pytest.raises(ConfigError, match=r"config\.json names /somewhere/else, which other machines do not have"):
        publish(finished, out, tmp_path)
    noted(finished, command=[])
    (finished / "eval.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"eval\.jsonl cannot be read: No such file"):
        publish(finished, out, tmp_path)
    shutil.rmtree(finished / "layers")
    with pytest.raises(ConfigError, match="has no layers to build on"):
        publish(finished, out, tmp_path)
    noted(finished, config=read_document(finished)["config"] | {"steps": 200})
    with pytest.raises(ConfigError, match="has 100 of 200 steps: let it finish"):
        publish(finished, out, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name != "runs"]
    out.mkdir()
    with pytest.raises(ConfigError, match="out exists: choose another folder"):
        publish(finished, out, tmp_path)


def test_long_metrics_are_thinned() -> None:
    lines = [f"{number:04}\n" for number in range(1, 1001)]
    assert thinned("".join(lines), 5000) == "".join(lines)
    assert thinned("".join(lines), 4999) == "".join(lines[9::10])
    assert thinned("".join(lines), 499) == "".join(lines[99::100])
