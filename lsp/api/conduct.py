"""What `lsp.train` and `Run.resume` share: calling a session as a guest in somebody's process."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from lsp.commands import platform_problem
from lsp.config.schema import ConfigError, Fault
from lsp.envs.given import Given, lend
from lsp.run import as_typed

if TYPE_CHECKING:
    from lsp.api.run import Run
    from lsp.training.callbacks import Hooks
    from lsp.training.endings import Ending

Begin = Callable[["TextIO | None", "Hooks"], "Ending"]


@contextmanager
def one_line(place: Path, folder: Path) -> Iterator[None]:
    """Errors name the folder as typed, `folder` for `place`; that JAX finds no device becomes a ConfigError."""
    try:
        yield
    except (ConfigError, Fault) as error:
        error.args = (as_typed(str(error), place, folder),)
        raise
    except (RuntimeError, AssertionError) as error:
        if (problem := platform_problem(error)) is not None:
            raise problem from error
        raise


def conduct(run: "Run", given: Given | None, callbacks: Sequence[Any], quiet: bool, begin: Begin) -> None:
    """Train by `begin`, and let what ended it take its course once the checkpoint is written.

    Args:
      run: the run, whose folder may not exist yet.
      given: its environment, where that is a Python object.
      callbacks: what to call; see `lsp.Callback`.
      quiet: whether nobody wants to see a header and progress.
      begin: trains, saying what it does to a stream and calling hooks.

    Raises:
      ConfigError, Fault: as of `lsp.train`.
      KeyboardInterrupt: after Ctrl-C; other signals do what they do otherwise.
    """
    from lsp.training.callbacks import Hooks
    from lsp.training.divergence import Diverged
    from lsp.training.endings import Ended

    hooks = Hooks(callbacks)
    try:
        with ExitStack() as stack:
            stack.enter_context(one_line(run.folder.absolute(), run.folder))
            stack.enter_context(lend(given))
            ending = begin(stack.enter_context(open(os.devnull, "w")) if quiet else None, hooks)
    except (Diverged, Ended) as fault:
        _tell(hooks, run, fault)
        raise
    _tell(hooks, run)
    if ending.failures and all(each.failed for each in run.seeds.values()):
        raise Ended(f"every seed failed: {as_typed(ending.failures[0], run.folder.absolute(), run.folder)}")


def _tell(hooks: "Hooks", run: "Run", fault: Fault | None = None) -> None:
    """Tell the callbacks that it has ended, and raise what ended it, if anything did."""
    for function in hooks.on_end:
        function(run)
    if hooks.error is not None:
        raise hooks.error from fault
    number = hooks.interrupt.signal
    if number == signal.SIGINT:
        raise KeyboardInterrupt(f"stopped at step {run.step:,}; to continue: lsp.load({str(run.folder)!r}).resume()")
    if number is not None:
        signal.raise_signal(number)
