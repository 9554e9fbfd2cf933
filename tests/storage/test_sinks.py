"""What sinks get, and that the real ones write it where they say. Without their packages, one line says so."""

import contextvars
import importlib.util
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lsp.config import ConfigError, packaging
from lsp.storage import sinks


def test_scalars() -> None:
    record = {
        "step": 5,
        "updates": 3,
        "protocol": "mode",
        "q": 0.5,
        "terminated": [True, False],
        "returns": [1.0],
        "seeds": [1],
    }
    assert sinks.scalars_of(record, "eval") == {"eval/updates": 3.0, "eval/q": 0.5, "eval/terminated": 0.5}


def test_what_only_some_episodes_say() -> None:
    """In an evaluation, which has a list, and in a line of metrics, which has their mean or nothing, alike."""
    evaluation = {"step": 5, "success": [None, True, None, False], "info/x": [None, 2.0], "info/y": [None, None]}
    assert sinks.scalars_of(evaluation, "e") == {"e/success": 0.5, "e/info/x": 2.0}
    line = {"step": 5, "success": 0.5, "info/x": 2.0, "info/y": None, "note": "text", "kl": []}
    assert sinks.scalars_of(line, "e") == {"e/success": 0.5, "e/info/x": 2.0}


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    sinks.check(["none"])
    with pytest.raises(ConfigError) as caught:
        sinks.check(["none", "tensorboard"])
    assert str(caught.value) == f"--track=tensorboard needs the package tensorboardX: {packaging.install('track')}"


def test_none_is_none(tmp_path: Path) -> None:
    assert sinks.make(["none"], tmp_path, {}, 0) == []
    assert list(tmp_path.iterdir()) == []


def test_tensorboard(tmp_path: Path) -> None:
    """Written, and read back from the event file."""
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import RecordWriter  # noqa: F401  # it is the real one

    (sink,) = sinks.make(["tensorboard"], tmp_path, {}, 0)
    sink.write(100, {"train/q": 1.5, "train/alpha": 0.25})
    sink.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    data, found, position = file.read_bytes(), {}, 0
    while position < len(data):  # length, its checksum, event, its checksum
        length = int.from_bytes(data[position : position + 8], "little")
        event = Event.FromString(data[position + 12 : position + 12 + length])
        found |= {value.tag: (event.step, value.simple_value) for value in event.summary.value}
        position += 16 + length
    assert found == {"train/q": (100, 1.5), "train/alpha": (100, 0.25)}


def test_wandb_offline(tmp_path: Path, monkeypatch: Any) -> None:
    """Two runs at once, as of several seeds; in offline mode each leaves a file to be synced."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    folders = [tmp_path / "seeds" / f"seed_{seed}" for seed in (0, 1)]
    for folder in folders:
        folder.mkdir(parents=True)
    opened = [sinks.make(["wandb"], folder, {"seed": 0}, 0)[0] for folder in folders]
    for sink in opened:
        sink.write(100, {"train/q": 1.5})
    for sink in opened:
        sink.close()
    assert all(len(list(folder.glob("wandb/offline-run-*/*.wandb"))) == 1 for folder in folders)


def test_a_resumed_run_goes_on_in_wandb(tmp_path: Path, monkeypatch: Any) -> None:
    """Two sessions of a run are one run there: both leave a file for the same id, with the lines of each."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for step in (100, 200):
        (sink,) = sinks.make(["wandb"], tmp_path, {"seed": 0}, step - 100)
        sink.write(step, {"train/q": 1.5})
        sink.close()
    files = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 2
    assert files[0].name == files[1].name == f"run-{(tmp_path / 'wandb' / 'run_id').read_text()}.wandb"
    wanted, patience = [b"environment_step\x82\x01\x03%d" % step for step in (100, 200)], time.monotonic() + 30
    while not all(text in file.read_bytes() for text, file in zip(wanted, files, strict=True)):
        assert time.monotonic() < patience  # its service writes when it likes
        time.sleep(0.1)


class FakeTrackio:
    """Like the real one it talks, and a run that begins in the context of another one ends that."""

    def __init__(self) -> None:
        self.current = contextvars.ContextVar[Any]("current", default=None)
        self.runs: list[Any] = []

    def init(self, **given: Any) -> Any:
        if self.current.get() is not None:
            self.current.get().finish()
        print("* Trackio project initialized")
        logged: list[Any] = []

        def log(metrics: dict[str, float], step: int) -> None:
            assert not run.finished
            logged.append((step, metrics))

        def finish() -> None:
            print("* Run finished")
            run.finished = True

        run = SimpleNamespace(given=given, logged=logged, finished=False, log=log, finish=finish)
        self.current.set(run)
        self.runs.append(run)
        return run


def test_trackio(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    """Two runs at once, as of several seeds, without a word; resumed, each goes on under its name."""
    monkeypatch.setitem(sys.modules, "trackio", fake := FakeTrackio())  # type: ignore[arg-type]
    folders = [tmp_path / "grid" / f"seed_{seed}" for seed in (0, 1)]
    for step in (100, 200):
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        opened = [sinks.make(["trackio"], folder, {"seed": 0}, step - 100)[0] for folder in folders]
        for sink in opened:
            sink.write(step, {"train/q": 1.5})
        for sink in opened:
            sink.close()
    assert [run.given["name"] for run in fake.runs] == ["grid_seed_0", "grid_seed_1"] * 2
    assert [run.given["resume"] for run in fake.runs] == ["never"] * 2 + ["allow"] * 2
    assert [run.logged for run in fake.runs] == [[(step, {"train/q": 1.5})] for step in (100, 100, 200, 200)]
    assert all(run.finished and run.given["config"] == {"seed": 0} for run in fake.runs)
    assert (folders[0] / "trackio").read_text() == "trackio show --project lsp\n"
    assert capsys.readouterr().out == ""


def test_trackio_that_cannot_start(tmp_path: Path, monkeypatch: Any) -> None:
    def init(**given: Any) -> None:
        raise ValueError("a project of that name is reserved")

    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace(init=init))
    with pytest.raises(ConfigError, match=r"^--track=trackio: a project of that name is reserved$"):
        sinks.make(["trackio"], tmp_path, {}, 0)
    assert list(tmp_path.iterdir()) == []


def test_real_trackio(tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("trackio")
    from trackio import sqlite_storage

    monkeypatch.setattr(sqlite_storage, "TRACKIO_DIR", tmp_path / "here")
    (sink,) = sinks.make(["trackio"], tmp_path, {"seed": 0}, 0)
    sink.write(100, {"train/q": 1.5})
    sink.close()
    (record,) = sqlite_storage.SQLiteStorage.get_logs("lsp", tmp_path.name)
    assert (record["step"], record["train/q"]) == (100, 1.5)
