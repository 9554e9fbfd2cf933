"""What a resumed run may change, and what it is cut back to. Whole runs: `test_train.py`; faults: `test_faults.py`."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsp import presets
from lsp.config import LATER, Config, ConfigError, to_dict, validate
from lsp.storage import checkpoint, run_folder
from lsp.training import resuming


def write(folder: Path, **changes: object) -> dict[str, object]:
    run_folder.write_document(folder, {"config": to_dict(presets()) | changes, "versions": {}})
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


def host_state(config: Config, stage: int, step: int) -> dict[str, Any]:
    """What these functions read of a checkpoint's."""
    return {"config": to_dict(config), "stage": {"number": stage, "layers": [{}] * stage}, "loop": {"step": step}}


def test_a_configuration_edited_by_hand_is_refused(tmp_path: Path) -> None:
    config = validate(presets())
    host = host_state(config, 0, 10)
    resuming.require_same(tmp_path, dataclasses.replace(config, log_every=7), host)
    with pytest.raises(ConfigError, match=r"config.json has --gamma=0.5, its checkpoint was saved with 0.99: put that"):
        resuming.require_same(tmp_path, dataclasses.replace(config, gamma=0.5), host)


def test_a_checkpoint_of_an_earlier_version(tmp_path: Path) -> None:
    """It lacks fields that came later: it ran under the values that leave everything as it was."""
    config = validate(presets())
    host = host_state(config, 0, 10)
    for name in LATER:
        del host["config"][name]
    resuming.require_same(tmp_path, config, host)
    with pytest.raises(ConfigError, match=r"--truncate-stuck=200, its checkpoint was saved with 0: put that"):
        resuming.require_same(tmp_path, dataclasses.replace(config, truncate_stuck=200), host)


def layered(*layer_steps: int, identity: bool = True) -> Config:
    growth = dataclasses.replace(presets().growth, identity=identity)
    layers = len(layer_steps)
    return dataclasses.replace(
        presets(), layers=layers, layer_steps=layer_steps if layers > 1 else (0,), steps=sum(layer_steps), growth=growth
    )


@pytest.mark.parametrize(
    ("before", "stage", "after"),
    [
        (layered(300), 0, layered(300, 200, identity=False)),  # a run that is done goes on with a layer
        (layered(300, 200), 0, layered(400, 300, 100, identity=False)),
        (layered(300, 200), 1, layered(300, 100, 200)),
        (layered(300, 200), 1, layered(300, 500)),
        (layered(200, 300), 0, layered(500)),
    ],
)  # fmt: skip
def test_what_comes_later_may_change(before: Config, stage: int, after: Config, tmp_path: Path) -> None:
    resuming.require_same(tmp_path, after, host_state(before, stage, 300))


@pytest.mark.parametrize(
    ("before", "stage", "after", "message"),
    [
        (layered(300), 0, layered(250, 250), r"--layer-steps=250,250: the run is at step 300 of layer 1; such as "
                                             r"--layer-steps=300,200"),
        (layered(300, 200), 1, layered(200, 300), r"--layer-steps=200,300: .* such as --layer-steps=300,0"),
        (layered(300, 200), 1, layered(500), r"--layer-steps=0: "),
        (layered(300, 200), 1, layered(300, 200, identity=False), "--growth.identity cannot change any more: a layer "),
    ],
)  # fmt: skip
def test_what_has_happened_may_not(before: Config, stage: int, after: Config, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        resuming.require_same(tmp_path, after, host_state(before, stage, 300))


def test_lines_are_cut_back_and_a_shorter_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    resuming.drop_lines(tmp_path, {"metrics": 12, "eval": 5})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n'
    with pytest.raises(checkpoint.CheckpointError, match=r"metrics.jsonl"):
        resuming.drop_lines(tmp_path, {"metrics": 24})


def finished_run(folder: Path, step: int = 120, **host: Any) -> resuming.Resumable:
    """What is found of a run of 100 steps, the last of several executors at once, that has a checkpoint at `step`."""
    write(folder, steps=100)
    told = {"due": [], "warm_up_left": 0, "stage": {"number": 0, "layers": [{}]}, "clock": np.zeros(3)}
    checkpoint.save(folder / "checkpoints", step, {"learner": np.zeros(2)}, told | host)
    return resuming.find(folder, {})


def test_a_run_is_finished_when_nothing_is_left(tmp_path: Path) -> None:
    found = finished_run(tmp_path)
    assert not found.finished  # its layers are still to be written
    for depth in (0, 1):
        checkpoint.save(tmp_path / "layers", depth, {"layer": np.zeros(2)}, {})
        assert found.finished == (depth == 1)  # it lies on another one


@pytest.mark.parametrize(("step", "host"), [(99, {}), (120, {"due": ["evaluation"]}), (120, {"warm_up_left": 3})])
def test_a_run_with_something_left_is_not_finished(step: int, host: dict[str, Any], tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "layers", 1, {"layer": np.zeros(2)}, {})
    assert not finished_run(tmp_path, step, **host).finished


def test_seeds_are_finished_together(tmp_path: Path) -> None:
    for seed in (0, 1):
        folder = run_folder.seed_folder(tmp_path, seed)
        finished_run(folder, due=["evaluation"] * seed)
        write(folder, steps=100, seed=seed)
        checkpoint.save(folder / "layers", 1, {"layer": np.zeros(2)}, {})
    assert not resuming.find(tmp_path, {}).finished
    document = run_folder.read_document(tmp_path / "seed_1")
    run_folder.write_document(tmp_path / "seed_1", document | {"failed": "diverged"})
    assert resuming.find(tmp_path, {}).finished


def test_fewer_steps_than_a_run_has_made_are_refused(tmp_path: Path) -> None:
    finished_run(tmp_path)
    assert resuming.find(tmp_path, {"steps": 100}).step == 120  # as it was, and as grids say it
    assert resuming.find(tmp_path, {"steps": 130}).config.steps == 130
    with pytest.raises(ConfigError, match=r"^--steps=90: the run stands at step 120; to go further, more, such as --s"):
        resuming.find(tmp_path, {"steps": 90})
