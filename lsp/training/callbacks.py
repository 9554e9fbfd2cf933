"""Somebody's functions that training calls, and that may stop it. They see numbers, and can change none."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from lsp.config import ConfigError
from lsp.training.interrupt import Interrupt
from lsp.training.results import Evaluation

METHODS = ("on_step", "on_evaluation", "on_end")


class Status(NamedTuple):
    """Where training stands. Of several seeds, which keep in step, `returns` are those of all."""

    step: int  # environment steps so far, of all executors
    steps: int  # of the whole run
    updates: int  # so far
    returns: tuple[float, ...]  # of the latest episodes, the newest last; at most ten a seed
    folder: Path  # of the run, or of the first seed


class Callback(Protocol):
    """What training calls. Write any of the three methods, in a class of its own or derived from this one.

        class Stop:
            def on_evaluation(self, evaluation):
                return evaluation.mean < 300    # False stops

        run = lsp.train(env="Pendulum-v1", callbacks=[Stop()])

    Whatever returns False stops training after this step; any other value, None included, lets it continue. Stopped,
    a run has written a checkpoint, and `run.resume()` continues it. So has one where a callback raised: its exception
    is raised again, as it is, once the checkpoint is there.
    """

    def on_step(self, status: Status) -> bool | None:
        """Once a block of steps (`block` times `executors.count`), and after its updates. Training waits for it."""

    def on_evaluation(self, evaluation: Evaluation) -> bool | None:
        """After an evaluation: once for each protocol, and for each seed."""

    def on_end(self, run: Any) -> None:
        """Once when training has ended, in whatever way; `run` is its `lsp.Run`, with the newest checkpoint."""


class Hooks:
    """The callbacks of a session, and the request to stop that they share with signals."""

    def __init__(self, callbacks: Sequence[Any] = ()) -> None:
        """Raises ConfigError where one of them is no callback."""
        for number, callback in enumerate(callbacks):
            if isinstance(callback, type) or not any(callable(getattr(callback, name, None)) for name in METHODS):
                rule = f"must be an object with at least one of the methods {', '.join(METHODS)}"
                raise ConfigError(f"callbacks[{number}]={callback!r}: {rule}; see lsp.Callback")
        self.on_step, self.on_evaluation, self.on_end = (_methods(callbacks, name) for name in METHODS)
        self.interrupt = Interrupt()
        self.error: BaseException | None = None  # what the first of them raised

    def call(self, functions: Sequence[Callable[[Any], Any]], argument: Any) -> None:
        """Call each; where one returns False or raises, ask to stop. After one that raised, none is called."""
        for function in functions if self.error is None else ():
            try:
                if function(argument) is False:
                    self.interrupt.requested = True
            except (Exception, SystemExit) as error:
                self.error, self.interrupt.requested = error, True
                return


def _methods(callbacks: Sequence[Any], name: str) -> list[Callable[[Any], Any]]:
    """The methods of this name, without those that `Callback` itself has, which do nothing."""
    found = [getattr(each, name, None) for each in callbacks]
    own = getattr(Callback, name)
    return [each for each in found if callable(each) and getattr(each, "__func__", None) is not own]
