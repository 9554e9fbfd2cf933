"""A run of two layers that is stopped around its growth is, continued, the run that was not stopped."""

import itertools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lsp import run
from lsp.storage import checkpoint
from lsp.training import growth
from tests.support.runs import assert_same_run, command, newest, stop_in_evaluation
from tests.support.runs import compiled_once as compiled_once

WHOLE = {"steps": 240, "log_every": 40, "evaluation__every": 120, "checkpoint_every": 80}
WHOLE |= {"layers": 2, "layer_steps": "60,180", "growth__critic_warmup": 10}

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_once")]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, compiled_once: None) -> Path:
    """A run of two layers without a stop."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    assert run.main(command(folder, **WHOLE)) == 0
    return folder


# At step 60 under either layer, at 120 and at 240, under two protocols.
@pytest.mark.parametrize("number", [1, 2])
def test_stopped_in_an_evaluation(number: int, straight: Path, tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    """Before growth and after: nothing of it is written, and it is made again."""
    folder = tmp_path / "stopped"
    stop_in_evaluation(command(folder, **WHOLE), folder, number, 60, monkeypatch)
    assert f"lsp: stopped; to continue: python -m lsp.run --resume={folder}\n" in capfd.readouterr().out
    assert run.main([f"--resume={folder}"]) == 0
    assert_same_run(straight, folder)


class HangsUp:
    """Watches, and raises SIGHUP at its call number `at`, from 0."""

    def __init__(self, at: int, watch: Callable[[str], None]) -> None:
        self._calls, self._at, self._watch = itertools.count(), at, watch

    def __call__(self, text: str) -> None:
        if next(self._calls) == self._at:
            signal.raise_signal(signal.SIGHUP)
        self._watch(text)


@pytest.mark.parametrize("block", [1])
def test_stopped_in_the_warm_up_of_critics(block: int, straight: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """The rest of it is made after the checkpoint."""
    folder, warm_up = tmp_path / "stopped", growth.warm_up
    monkeypatch.setattr(growth, "WARM_UP_BLOCK", 3)
    with monkeypatch.context() as patch:
        patch.setattr(growth, "warm_up", lambda *given: warm_up(*given[:-1], HangsUp(block, given[-1])))
        assert run.main(command(folder, **WHOLE)) == 130
    host = checkpoint.load(newest(folder))[1]
    assert (newest(folder).name, host["stage"]["number"], host["warm_up_left"]) == ("60", 1, 10 - 3 * block)
    assert run.main([f"--resume={folder}"]) == 0
    assert_same_run(straight, folder)


def test_stopped_as_growth_begins(straight: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """While the first of its functions is compiled: nothing has changed then."""
    folder, original = tmp_path / "stopped", growth.announcement

    def announce(*arguments: Any) -> str:
        signal.raise_signal(signal.SIGINT)
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(growth, "announcement", announce)
        assert run.main(command(folder, **WHOLE)) == 130
    assert checkpoint.load(newest(folder))[1]["stage"]["number"] == 0
    assert run.main([f"--resume={folder}"]) == 0
    assert_same_run(straight, folder)
