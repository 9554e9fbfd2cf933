"""A run's files of numbers and the warning that goes with them; a sink that fails is dropped and stops nothing."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from lsp.config import Config
from lsp.storage import metrics, sinks
from lsp.storage.outputs import Outputs
from lsp.storage.run_folder import read_document, write_document


def test_lines_go_to_their_files_and_a_small_support_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [{"step": step, "edge_mass": 0.1 * step, "clip_rate": 0.0} for step in range(4)]
    evaluation = {"step": 3, "protocol": "sampled", "return": 1.5}
    with closing(Outputs(tmp_path, Config(), 0)) as outputs:
        for line in lines:
            outputs.write_metrics(line)
        outputs.write_evaluation(evaluation)
        sizes = {name: (tmp_path / f"{name}.jsonl").stat().st_size for name in ("metrics", "eval")}
        assert outputs.offsets() == sizes
    assert metrics.read(tmp_path / "metrics.jsonl") == lines
    assert metrics.read(tmp_path / "eval.jsonl") == [evaluation]
    (told,) = capsys.readouterr().err.splitlines()
    assert "warning at step 1: the critics' support is too small: 10.0% of the predicted distribution" in told


class Fragile:
    """Keeps what it gets and fails at step 3."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, dict[str, float]]] = []
        self.closed = False

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        if step == 3:
            raise ConnectionError("no network")
        self.seen.append((step, dict(scalars)))

    def close(self) -> None:
        self.closed = True


def test_records_and_sinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fragile, sturdy = Fragile(), Fragile()
    sturdy.write = lambda step, scalars: sturdy.seen.append((step, dict(scalars)))  # type: ignore[method-assign]
    monkeypatch.setattr(sinks, "make", lambda track, run_dir, config, step: [fragile, sturdy])
    outputs = Outputs(tmp_path, Config(), 0)
    outputs.write_metrics({"step": 1, "q": 2.0})
    outputs.write_evaluation({"step": 2, "protocol": "mode", "return": 3.0, "returns": [3.0]})
    first = outputs.offsets()
    for step in (3, 4):
        outputs.write_metrics({"step": step, "q": 2.0})
    outputs.close()
    assert [line["step"] for line in metrics.read(tmp_path / "metrics.jsonl")] == [1, 3, 4]
    assert [line["step"] for line in metrics.read(tmp_path / "eval.jsonl")] == [2]
    assert first["eval"] == (tmp_path / "eval.jsonl").stat().st_size
    assert first["metrics"] < (tmp_path / "metrics.jsonl").stat().st_size
    assert fragile.seen == [(1, {"train/q": 2.0}), (2, {"eval_mode/return": 3.0})]
    assert [step for step, _ in sturdy.seen] == [1, 2, 3, 4]
    assert (fragile.closed, sturdy.closed) == (False, True)
    assert capsys.readouterr().err == "Fragile failed and is left out from now on: no network\n"


def test_the_end_of_a_session_is_noted(tmp_path: Path) -> None:
    """In `config.json`, when everything is written; where that cannot be, the session ends all the same."""
    write_document(tmp_path / "run", {"config": {}})
    with closing(Outputs(tmp_path / "run", Config(), 0, clock=lambda: 12.3456)):
        assert "seconds" not in read_document(tmp_path / "run")
    assert read_document(tmp_path / "run")["seconds"] == 12.346
    with closing(Outputs(tmp_path / "no-document", Config(), 0, clock=lambda: 1.0)):
        pass
