"""Whatever happens while a checkpoint is written, earlier ones stay as they were, and one line says what went wrong.

Run as a program with a folder as argument, it saves there and is killed, again and again.
"""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from lsp.storage import checkpoint
from lsp.storage.checkpoint import CheckpointError


def save(root: Path, step: int) -> Path:
    """Contents that tell the step, spread over 1 MB and several files."""
    learner = (np.arange(step), np.float32(step))
    return checkpoint.save(
        root, step, {"replay": np.full(2**18, step, np.float32), "learner": learner}, {"q": np.full(5, step)}
    )


def verify(root: Path, step: int) -> None:
    arrays, host = checkpoint.load(root / str(step))
    assert arrays["replay"][""].shape == (2**18,)
    assert (arrays["replay"][""] == step).all()
    assert arrays["learner"]["[0]"].tolist() == list(range(step))
    assert arrays["learner"]["[1]"] == step
    assert host["q"].tolist() == [step] * 5


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def fork(function: Callable[..., Any], *arguments: Any) -> int:
    """Start `function` in a child, which never gets beyond it; returns the child's id."""
    process = os.fork()
    if process == 0:
        try:
            function(*arguments)
        finally:
            os._exit(1)
    return process


def exit_status(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def save_forever(root: Path, step: int) -> NoReturn:
    while True:
        save(root, step)
        step += 1


class Countdown:
    """Ends the process right before one of the calls that settle what is on disk."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def __call__(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if self.calls == 0:
            os._exit(9)
        self.calls -= 1
        return function(*arguments, **options)


def run_until(calls: int, function: Callable[..., Any], *arguments: Any) -> None:
    """Exit with status 9 after `calls` such calls, with 0 where `function` has no more of them."""
    countdown = Countdown(calls)
    for name in ("fsync", "rename", "replace", "unlink"):
        setattr(os, name, partial(countdown, getattr(os, name)))
    function(*arguments)
    os._exit(0)


def kill_at_random(root: Path) -> None:
    """Kill a saving process 12 times: everything visible is whole, and what was there is still there."""
    start = time.monotonic()
    save(root, 1)
    one_save = time.monotonic() - start
    last, torn, chance = 1, 0, random.Random(0)
    for _ in range(12):
        process = fork(save_forever, root, last + 1)
        time.sleep(chance.uniform(0, 5 * one_save))
        os.kill(process, signal.SIGKILL)
        assert exit_status(process) == -signal.SIGKILL
        torn += any(root.glob(".*.partial"))
        steps = checkpoint.steps(root)
        assert steps[0] <= last <= steps[-1]
        for step in steps:
            verify(root, step)
        checkpoint.prune(root)
        last = steps[-1]
    assert last > 1, "no save was ever finished: the test saw nothing"
    assert torn > 0, "no save was interrupted: the test saw nothing"


def die_at_every_call(root: Path) -> None:
    """Die before each call of a first save of step 2, of one that replaces it, and of removing step 1."""
    save(root, 1)
    for before, action in (([1], (save, root, 2)), ([1, 2], (save, root, 2)), ([1, 2], (checkpoint.prune, root, 1))):
        assert checkpoint.steps(root) == before
        statuses: list[int] = []
        while 0 not in statuses:
            statuses.append(exit_status(fork(run_until, len(statuses), *action)))
            for step in checkpoint.steps(root):
                verify(root, step)
            assert checkpoint.steps(root)[0] == 1 or action[0] is checkpoint.prune
        assert set(statuses) == {0, 9}
    assert names(root) == ["2"]


@pytest.mark.parametrize("fault", [kill_at_random, die_at_every_call])
def test_killed_while_saving(tmp_path: Path, fault: Callable[[Path], None]) -> None:
    # In a process of its own, because this one has JAX's threads, which a fork would not bring along.
    command = [sys.executable, "-m", "tests.storage.test_checkpoint_faults", fault.__name__, str(tmp_path)]
    result = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr


def test_disk_full(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: the kernel refuses in the middle of a write."""
    save(tmp_path, 20)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(CheckpointError) as caught:
            save(tmp_path, 30)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value) == (
        f"{tmp_path}/.30.partial: checkpoint not saved, File too large; it needs 1,048,860 bytes "
        f"(to resume from {tmp_path}/20, remove newer ones)"
    )
    assert names(tmp_path) == ["20"]
    verify(tmp_path, 20)


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        CheckpointError, match=r"^\S*file/checkpoints: checkpoint not saved, Not a directory; it needs "
    ):
        save(tmp_path / "file/checkpoints", 1)


def test_interrupted_from_the_keyboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    save(tmp_path, 10)
    monkeypatch.setattr(checkpoint, "_write_manifest", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 20)
    assert names(tmp_path) == ["10"]


if __name__ == "__main__":
    {"kill_at_random": kill_at_random, "die_at_every_call": die_at_every_call}[sys.argv[1]](Path(sys.argv[2]))
