"""The line that a run ends with: what went wrong, what was saved, how to continue. Whole runs: `test_train.py`."""

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lsp.envs import EnvironmentFault
from lsp.storage import checkpoint
from lsp.training.divergence import Diverged
from lsp.training.endings import TRACEBACK, Ended, rescue

DIVERGED = Diverged("training diverged: a weight is nan")


class FakeRun:
    """A run at step 1,234, whose checks and saves raise what they are told to."""

    def __init__(self, folder: Path, unsound: Exception | None = None, unwritable: Exception | None = None) -> None:
        self.dir, self.seed = folder, SimpleNamespace(step=1_234)
        self.unsound, self.unwritable = unsound, unwritable
        self.lost: list[bool] = []
        self.gave_up = False

    def require_finite_agent(self) -> None:
        if self.unsound:
            raise self.unsound

    require_sound = require_finite_agent

    def give_up_line(self) -> None:
        self.gave_up = True

    def save(self, outputs: Any, lost: bool) -> None:
        self.lost.append(lost)
        if self.unwritable:
            raise self.unwritable
        checkpoint.save(self.dir / "checkpoints", self.seed.step, {"learner": np.zeros(2)}, {})


def ended(run: FakeRun, error: BaseException, **options: bool) -> str:
    fault = rescue(run, error, None, **{"lost": False} | options)  # type: ignore[arg-type]
    assert isinstance(fault, Ended)
    text = str(fault)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("lost", [False, True])
def test_what_is_sound_is_saved(lost: bool, tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "a run")
    text = ended(run, EnvironmentFault("environment x broke\na leg"), lost=lost)
    command = f"python -m lsp.run --resume='{tmp_path / 'a run'}'"
    assert text == f"environment x broke a leg; to continue from step 1,234: {command}"
    assert run.lost == [lost]
    assert run.gave_up
    assert not (run.dir / TRACEBACK).exists()


@pytest.mark.parametrize(("error", "name"), [(MemoryError(), "MemoryError"), (KeyError("a\nb"), "KeyError: 'a\\nb'")])
def test_what_nobody_foresaw_leaves_its_traceback(error: Exception, name: str, tmp_path: Path) -> None:
    try:
        raise error
    except Exception as caught:
        text = ended(FakeRun(tmp_path), caught)
    where = f"(where: {tmp_path / TRACEBACK})"
    assert text.startswith(f"training failed at step 1,234: {name} {where}; to continue from step 1,234: ")
    assert "test_what_nobody_foresaw" in (tmp_path / TRACEBACK).read_text()


def test_a_line_that_did_not_fit_stays_due(tmp_path: Path) -> None:
    """There may be room for it later; what cannot be made is given up."""
    run = FakeRun(tmp_path)
    ended(run, OSError(errno.ENOSPC, "No space left on device"))
    assert not run.gave_up


def test_a_broken_policy_is_the_cause_and_is_not_saved(tmp_path: Path) -> None:
    run = FakeRun(tmp_path, unsound=DIVERGED)
    for error in (EnvironmentFault("x"), ValueError("y"), DIVERGED):
        assert rescue(run, error, None, lost=True) is DIVERGED  # type: ignore[arg-type]
    text = ended(run, OSError(errno.ENOSPC, "No space left on device"))  # which no policy can cause
    assert "; no checkpoint of this step: training diverged: a weight is nan; " in text
    assert run.lost == []


@pytest.mark.parametrize("before", [None, 800])
def test_what_could_not_be_saved_is_said(before: int | None, tmp_path: Path) -> None:
    if before:
        checkpoint.save(tmp_path / "checkpoints", before, {"learner": np.zeros(2)}, {})
    remedy = f"to continue from step 800: python -m lsp.run --resume={tmp_path}"
    remedy = remedy if before else "there is no checkpoint to continue from"
    gone = RuntimeError("Array has been deleted")
    full = checkpoint.CheckpointError("checkpoint not saved, No space left on device")
    for run, error, said in (
        (FakeRun(tmp_path, unwritable=full), EnvironmentFault("x"), f"x; no checkpoint of this step: {full}"),
        (FakeRun(tmp_path, unsound=gone), EnvironmentFault("x"), f"x; no checkpoint of this step: {gone}"),
        (FakeRun(tmp_path), full, str(full)),  # not tried again
    ):
        assert ended(run, error) == f"{said}; {remedy}"
    run = FakeRun(tmp_path)
    assert "; no checkpoint of this step: a layer was half grown; " in ended(run, EnvironmentFault("x"), usable=False)
    assert run.lost == []
