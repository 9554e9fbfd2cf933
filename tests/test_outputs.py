"""A run's files of numbers, and the warning that goes with them."""

from contextlib import closing
from pathlib import Path

import pytest

from lsp import metrics
from lsp.config import Config
from lsp.outputs import Outputs


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
    assert "warning at step 1: the critics' support is too small: 10.0% of the predicted law" in told
