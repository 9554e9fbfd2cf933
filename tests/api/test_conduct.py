"""Whatever ends training takes its course, after the checkpoint, and after the callbacks have been told."""

import signal
from pathlib import Path
from typing import Any

import pytest

import lsp
from lsp.api.conduct import one_line
from lsp.config.schema import Fault
from tests.support.runs import TINY, Puppet, signal_at
from tests.support.toy_runs import toy_agents  # noqa: F401  # a fixture

FIELDS = {name: value for name, value in TINY.items() if name not in ("env", "env-kwargs")} | {"executors.count": 1}

pytestmark = pytest.mark.usefixtures("toy_agents")


class Told:
    """Notes with which step training ended."""

    def __init__(self) -> None:
        self.ends: list[int] = []

    def on_end(self, run: lsp.Run) -> None:
        self.ends.append(run.step)


def train(folder: Path, env: Any = "lsp/PointMass-v0", **fields: Any) -> tuple[Told, Any]:
    told, callbacks = Told(), fields.pop("callbacks", [])
    try:
        found: Any = lsp.train(
            env=env, name=folder.name, runs_dir=folder.parent, steps=80, callbacks=[*callbacks, told], quiet=True,
            **FIELDS | fields,
        )  # fmt: skip
    except BaseException as error:
        found = error
    return told, found


def test_the_end(tmp_path: Path) -> None:
    told, run = train(tmp_path / "run")
    assert told.ends == [run.step] == [80]


def test_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signal_at(monkeypatch, 30, signal.SIGINT)
    told, error = train(tmp_path / "run")
    assert isinstance(error, KeyboardInterrupt)
    assert str(error) == f"stopped at step 30; to continue: lsp.load('{tmp_path / 'run'}').resume()"
    assert told.ends == [30]
    assert lsp.load(tmp_path / "run").resume(quiet=True).step == 80


def test_other_signals_do_what_they_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the checkpoint; here somebody has a handler."""
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        signal_at(monkeypatch, 30, signal.SIGTERM)
        told, run = train(tmp_path / "run")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (told.ends, seen, run.step) == ([30], [signal.SIGTERM], 30)


def test_a_callback_that_raises(tmp_path: Path) -> None:
    class Raises:
        def on_step(self, status: lsp.Status) -> None:
            if status.step == 40:
                raise ArithmeticError("mine")

    told, error = train(tmp_path / "run", callbacks=[Raises()])
    assert repr(error) == "ArithmeticError('mine')"
    assert told.ends == [40]


def test_a_fault(tmp_path: Path) -> None:
    told, error = train(tmp_path / "run", lambda: Puppet("raise", 35))
    assert isinstance(error, Fault)
    assert "broke a leg at step 35" in str(error)
    assert told.ends == [34]


def test_a_fault_before_the_start(tmp_path: Path) -> None:
    told, error = train(tmp_path / "run", lambda: Puppet("reset", 0))
    assert isinstance(error, Fault)
    assert told.ends == []
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_every_seed_fails(tmp_path: Path) -> None:
    told, error = train(tmp_path / "run", lambda: Puppet("raise", 35), seeds=2)
    assert isinstance(error, Fault)
    assert str(error).startswith("every seed failed: seed 0: ")
    assert told.ends == [0]


def test_handlers_come_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    train(tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is before


def test_errors_name_the_folder_as_it_was_typed() -> None:
    with pytest.raises(Fault, match=r"^in a b/run$"), one_line(Path("/long/a b/run"), Path("a b/run")):
        raise Fault("in /long/a b/run")
    with pytest.raises(RuntimeError, match=r"^other$"), one_line(Path("/a"), Path("a")):
        raise RuntimeError("other")
