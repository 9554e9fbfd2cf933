"""Progress of a run, shown to a person: a bar or plain lines."""

import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from tqdm import tqdm


class Progress:
    """Progress of a run: a bar on a terminal, elsewhere a plain line every `seconds`.

    Args:
        total: environment steps of the whole run.
        initial: steps done before this process, by the run that it resumes.
        stream: where to show it; None: standard error.
        seconds: time between two plain lines.
    """

    def __init__(self, total: int, initial: int = 0, stream: TextIO | None = None, seconds: float = 10.0) -> None:
        self._stream = stream or sys.stderr
        self._bar = None
        if self._stream.isatty():
            look = {"unit": " steps", "unit_scale": True, "dynamic_ncols": True, "mininterval": 0.0}
            self._bar = tqdm(total=total, initial=initial, file=self._stream, **look)
            seconds = 0.25
        self._total, self._initial, self._seconds = total, initial, seconds
        self._step = self._shown_step = initial
        self._returns: Sequence[float] = ()
        self._shown_at = time.monotonic()
        self._due = self._shown_at + seconds

    def update(self, step: int, returns: Sequence[float]) -> None:
        """Take note that `step` is done; `returns` are those of the latest episodes, whose mean is shown.

        Cheap enough for every environment step: nothing is formatted until it is time to show it.
        """
        self._step, self._returns = step, returns
        if time.monotonic() >= self._due:
            self._show()

    def busy(self, text: Callable[[], str]) -> None:
        """Take note that no steps are made for the time being, but something else, which `text` says when it is due."""
        if time.monotonic() < self._due:
            return
        if self._bar is None:
            self.note(f"  {text()}")
        else:
            self._bar.set_description_str(text())
        self._due = time.monotonic() + self._seconds

    def note(self, text: str) -> None:
        """Print a line of its own."""
        if self._bar is None:
            print(text, file=self._stream, flush=True)
        else:
            tqdm.write(text, file=self._stream)

    def close(self) -> None:
        """Show the last state, unless it is already there."""
        if self._step != self._shown_step:
            self._show()
        if self._bar is not None:
            self._bar.close()

    def _show(self) -> None:
        now = time.monotonic()
        steps, elapsed = self._step - self._shown_step, now - self._shown_at
        score = ""
        if self._returns:
            mean = sum(self._returns) / len(self._returns)
            score = f"return {mean:,.0f}" if abs(mean) >= 100 else f"return {mean:.2f}"
        if self._bar is None:
            speed = steps / elapsed if elapsed > 0 else math.inf
            # Compiling is part of the first stretch, whose speed says little of the rest.
            known = speed > 0 and self._shown_step > self._initial and self._step < self._total
            left = _duration((self._total - self._step) / speed) + " left" if known else ""
            parts = (f"{self._step:,}/{self._total:,} steps", f"{speed:,.0f} steps/s", score, left)
            self.note("  " + "  ".join(part for part in parts if part))
        else:
            self._bar.set_description_str(score, refresh=False)
            self._bar.update(steps)
        self._shown_step, self._shown_at, self._due = self._step, now, now + self._seconds


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
