"""How a run ends before its last step: what is saved of it, and the line that says why and how to continue."""

import contextlib
import traceback
from typing import NamedTuple

from lsp.config.schema import Fault
from lsp.storage import checkpoint
from lsp.storage.outputs import Outputs
from lsp.storage.run_folder import resume_command
from lsp.training.divergence import Diverged
from lsp.training.run import Run

TRACEBACK = "traceback.txt"


class Ended(Fault):
    """A fault ended a run. The message is one line: which, what was saved, and how to continue."""


class Ending(NamedTuple):
    """How a session ended."""

    finished: bool  # false where it was interrupted
    failures: list[str]  # a line for each seed that was left out


def cause_of(run: Run, error: BaseException) -> BaseException:
    """Divergence where that is what broke the run: a broken policy breaks environments. Else `error`."""
    if isinstance(error, OSError | checkpoint.CheckpointError):
        return error
    try:
        run.require_finite_agent()
    except Diverged as cause:
        return cause
    except Exception:  # the learner's memory is gone, with whatever failed
        return error
    return error


def rescue(run: Run, error: BaseException, outputs: Outputs, lost: bool, usable: bool = True) -> Fault:
    """Save what is sound of a run that an error ends.

    Args:
      run: the run.
      error: what ends it.
      outputs: its files.
      lost: whether the executors, or the step in progress, are in a state that nobody knows (`Seed.get_state`).
      usable: false where the learner itself is half of one stage and half of the next.

    Returns:
      The error to end with: one line.
    """
    error = cause_of(run, error)
    if isinstance(error, Diverged):
        return error
    fault = _describe(run, error)
    if not isinstance(error, OSError):
        run.give_up_line()
    problem = ""
    if not isinstance(error, checkpoint.CheckpointError):  # else this is what has just failed
        problem = _save(run, outputs, lost) if usable else "a layer was half grown"
    return Ended(f"{fault}{'; no checkpoint of this step: ' * bool(problem)}{problem}; {_remedy(run)}")


def _describe(run: Run, error: BaseException) -> str:
    """The error as people need it; of one that nobody foresaw, the traceback goes to a file."""
    if isinstance(error, Fault | OSError):
        return _one_line(str(error))
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    path = run.dir / TRACEBACK
    with contextlib.suppress(OSError):
        path.write_text("".join(traceback.format_exception(error)))
        text += f" (where: {path})"
    return f"training failed at step {run.seed.step:,}: {_one_line(text)}"


def _save(run: Run, outputs: Outputs, lost: bool) -> str:
    """Try to write a checkpoint; returns why that failed, or nothing."""
    try:
        run.require_sound()
        run.save(outputs, lost)
    except Exception as error:  # it may be what ended the run that prevents this, too
        return _one_line(str(error))[:300] or type(error).__name__
    return ""


def _remedy(run: Run) -> str:
    """How to continue."""
    steps = checkpoint.steps(run.dir / "checkpoints")
    if not steps:
        return "there is no checkpoint to continue from"
    return f"to continue from step {steps[-1]:,}: {resume_command(run.dir)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
