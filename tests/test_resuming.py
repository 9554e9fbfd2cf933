"""What a resumed run may change, and what it is cut back to. Whole runs: `test_train.py`; faults: `test_faults.py`."""

import json
from pathlib import Path

import pytest

from lsp import checkpoint, presets, resuming, run_dir
from lsp.config import ConfigError, to_dict, validate


def write(folder: Path, **changes: object) -> dict[str, object]:
    run_dir.write_document(folder, {"config": to_dict(presets()) | changes, "versions": {}})
    values: dict[str, object] = json.loads((folder / "config.json").read_text())["config"]
    return values


@pytest.mark.parametrize("name", sorted(resuming.RESUMABLE))
def test_what_may_change_is_taken_over_and_the_rest_stays(name: str, tmp_path: Path) -> None:
    before = write(tmp_path)
    new = ["tensorboard"] if name == "track" else 123_456
    document = resuming.overridden(tmp_path, {name: new})
    assert document["config"] == before | {name: new}
    assert json.loads((tmp_path / "config.json").read_text())["config"] == before  # nothing is written yet


def test_what_would_make_another_run_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ConfigError, match=r"^--seed cannot change when a run is resumed; only --checkpoint-every, "):
        resuming.overridden(tmp_path, {"seed": 3})


def test_more_steps_are_the_last_layer_s(tmp_path: Path) -> None:
    write(tmp_path, layers=2, layer_steps=[300, 200], steps=500)
    assert resuming.overridden(tmp_path, {"steps": 650})["config"]["layer_steps"] == [300, 350]


def test_a_configuration_edited_by_hand_is_refused(tmp_path: Path) -> None:
    saved = to_dict(presets())
    resuming.require_same(tmp_path, validate(presets()), saved | {"log_every": 7})
    with pytest.raises(ConfigError, match=r"config.json has --gamma=0.99, its checkpoint was saved with 0.5: put that"):
        resuming.require_same(tmp_path, validate(presets()), saved | {"gamma": 0.5})


def test_lines_are_cut_back_and_a_shorter_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    resuming.drop_lines(tmp_path, {"metrics": 12, "eval": 5})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n'
    with pytest.raises(checkpoint.CheckpointError, match=r"metrics.jsonl"):
        resuming.drop_lines(tmp_path, {"metrics": 24})


def test_a_run_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(checkpoint.CheckpointError, match="no complete checkpoint to resume from: start a new run"):
        resuming.load_latest(tmp_path)
