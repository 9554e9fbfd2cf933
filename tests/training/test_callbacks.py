"""Callbacks are called in turn; False or an exception stops a run, which is saved first and unharmed."""

from pathlib import Path
from typing import Any

import pytest

from lsp import run
from lsp.config import ConfigError
from lsp.training import session
from lsp.training.callbacks import Callback, Hooks, Status
from lsp.training.results import Evaluation
from tests.support.runs import newest
from tests.support.toy_runs import assert_same, toy_agents, toy_command  # noqa: F401  # a fixture

WHOLE = {"steps": 160, "log_every": 40, "evaluation__every": 60, "checkpoint_every": 80}

pytestmark = pytest.mark.usefixtures("toy_agents")


class Listener:
    """Notes what it is told, and stops at a step, or at an evaluation."""

    def __init__(self, stop_at: int = 0, at_evaluation: int = 0, raises: bool = False) -> None:
        self.stop_at, self.at_evaluation, self.raises = stop_at, at_evaluation, raises
        self.statuses: list[Status] = []
        self.evaluations: list[Evaluation] = []

    def on_step(self, status: Status) -> bool | None:
        self.statuses.append(status)
        return self._stop(status.step >= self.stop_at > 0)

    def on_evaluation(self, evaluation: Evaluation) -> bool | None:
        self.evaluations.append(evaluation)
        return self._stop(evaluation.step == self.at_evaluation)

    def _stop(self, stops: bool) -> bool | None:
        if stops and self.raises:
            raise ArithmeticError("mine")
        return False if stops else None


class Derived(Callback):
    """Has one method of its own; the others do nothing."""

    def on_step(self, status: Status) -> bool | None:
        return None


def train(folder: Path, *callbacks: Any) -> tuple[Any, Hooks]:
    command = run.cli.parse(toy_command(folder, **WHOLE))
    hooks = Hooks(callbacks)
    return session.start(command.config, folder, (), None, hooks), hooks


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, toy_agents: None) -> Path:  # noqa: F811
    """A run without callbacks."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    assert run.main(toy_command(folder, **WHOLE)) == 0
    return folder


def test_they_change_nothing(straight: Path, tmp_path: Path) -> None:
    """Called once a block of two steps of two executors, with what the run writes."""
    listener = Listener()
    ending, hooks = train(tmp_path / "run", listener, Derived())
    assert ending.finished
    assert hooks.error is None
    assert_same(straight, tmp_path / "run")
    assert [status.step for status in listener.statuses] == list(range(4, 161, 4))
    last = listener.statuses[-1]
    assert (last.steps, last.folder, len(last.returns)) == (160, tmp_path / "run", 2)
    assert last.updates > listener.statuses[20].updates > 0
    expected = [(step, protocol) for step in (60, 120, 160) for protocol in ("sampled", "mode")]
    assert [(each.step, each.protocol) for each in listener.evaluations] == expected


@pytest.mark.parametrize("listener", [{"stop_at": 57}, {"at_evaluation": 60}], ids=["step", "evaluation"])
@pytest.mark.parametrize("raises", [False, True], ids=["false", "raises"])
def test_they_stop_it(straight: Path, tmp_path: Path, listener: dict[str, int], raises: bool) -> None:
    """It is saved after that step, and continued it is the run that was not stopped."""
    folder = tmp_path / "run"
    after = Listener()
    ending, hooks = train(folder, Listener(raises=raises, **listener), after)
    assert not ending.finished
    assert isinstance(hooks.error, ArithmeticError) == raises
    assert newest(folder).name == "60"
    assert after.statuses[-1].step == (56 if raises else 60)
    assert run.main([f"--resume={folder}"]) == 0
    assert_same(straight, folder)


@pytest.mark.parametrize("odd", [print, object(), Listener, None], ids=["function", "object", "class", "none"])
def test_what_is_no_callback(odd: Any) -> None:
    with pytest.raises(ConfigError, match=r"^callbacks\[1\]=.*must be an object with at least one of the methods on_"):
        Hooks([Listener(), odd])


def test_methods_that_do_nothing_are_not_called() -> None:
    hooks = Hooks([Derived()])
    assert (len(hooks.on_step), hooks.on_evaluation, hooks.on_end) == (1, [], [])


@pytest.mark.parametrize("value", [None, 0, True, "stop"])
def test_only_false_stops(value: Any) -> None:
    hooks = Hooks()
    hooks.call([lambda argument: value], 0)
    assert not hooks.interrupt.requested
    hooks.call([lambda argument: False], 0)
    assert hooks.interrupt.requested
