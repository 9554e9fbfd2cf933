"""Progress of a run, shown to a person: a bar or plain lines."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm

from lsp.training.pace import Pace

COMPILING = "compiling the updates: usually 5 to 15 s"


def _none() -> int:
    return 0


class Progress:
    """Progress of a run: a bar on a terminal, elsewhere a plain line every `seconds`.

    Speed is that of training: what `aside` encloses does not count, and nothing is said of it before `restart`, for
    the steps before learning are faster than all others.

    Args:
        total: environment steps of the whole run.
        initial: steps done before this process, by the run that it resumes.
        stream: where to show it; None: standard error. A stream that leads nowhere silences it.
        seconds: time between two plain lines.
        updates: says how many updates have been made; asked only when it is time to show them.
    """

    def __init__(
        self,
        total: int,
        initial: int = 0,
        stream: TextIO | None = None,
        seconds: float = 10.0,
        updates: Callable[[], int] = _none,
    ) -> None:
        self._stream = stream or sys.stderr
        self._bar = None
        if self._stream.isatty():
            look = {"bar_format": "{percentage:3.0f}%|{bar}| {desc}", "dynamic_ncols": True, "mininterval": 0.0}
            self._bar = tqdm(total=total, initial=initial, file=self._stream, desc="starting", **look)
            seconds = 0.25
        self._total, self._seconds, self._updates = total, seconds, updates
        self._step = self._shown_step = self._timed_step = initial
        self._returns: Sequence[float] = ()
        self._began = self._timed_at = time.monotonic()
        self._pace, self._started, self._paused, self._asides = Pace(), False, 0.0, 0
        self._told = ""
        self._due = self._began + seconds

    def update(self, step: int, returns: Sequence[float]) -> None:
        """Take note that `step` is done; `returns` are those of the latest episodes, whose mean is shown.

        Cheap enough for every environment step: nothing is formatted until it is time to show it.
        """
        self._step, self._returns = step, returns
        if time.monotonic() >= self._due:
            self._show()

    def restart(self) -> None:
        """Measure speed from now on: learning, or that of another layer, has begun."""
        self._take_time()
        self._pace.restart()
        self._started = True

    @contextmanager
    def aside(self, name: str, every: int = 0, text: str = "") -> Iterator[None]:
        """Around what makes no steps, such as an evaluation, so that speed does not count it.

        Args:
          name: of the kind of work.
          every: steps after which it comes again, for the time that is left; 0: never.
          text: what to say at once, if it is not what was said the last time.
        """
        began = time.monotonic()
        if text and text != self._told:
            self._say(text)
        self._told, self._asides = text, self._asides + 1
        try:
            yield
        finally:
            seconds, self._asides = time.monotonic() - began, self._asides - 1
            self._pace.interruption(name, seconds, every)
            self._paused += seconds if self._asides == 0 else 0.0  # else it is part of what is around it

    def busy(self, text: Callable[[], str]) -> None:
        """Take note that no steps are made for the time being, but something else, which `text` says when it is due."""
        if time.monotonic() >= self._due:
            self._say(text())

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

    def _say(self, text: str) -> None:
        """Show what is going on instead of steps."""
        if self._bar is None:
            self.note(f"  {text}")
        else:
            self._bar.set_description_str(text)
        self._due = time.monotonic() + self._seconds

    def _take_time(self) -> None:
        """Account for the steps, and the time that they took, since this was last called."""
        now = time.monotonic()
        self._pace.train(self._step - self._timed_step, max(0.0, now - self._timed_at - self._paused))
        self._timed_step, self._timed_at, self._paused = self._step, now, 0.0

    def _show(self) -> None:
        self._take_time()
        if self._bar is None:
            self.note("  " + "  ".join(filter(None, self._parts())))
        else:
            self._bar.n = self._step
            self._bar.set_description_str(self._short())
        self._shown_step = self._step
        self._due = time.monotonic() + self._seconds

    def _parts(self) -> Iterator[str]:
        """What a plain line says, where it is known."""
        speed, left = self._known()
        yield f"{self._step:,}/{self._total:,} steps"
        yield f"{self._updates():,} updates"
        yield "" if speed is None else f"{speed:,.0f} steps/s"
        yield self._score()
        yield f"elapsed {duration(self._timed_at - self._began)}"
        yield "" if left is None else f"left {duration(left)}"

    def _short(self) -> str:
        """What stands beside the bar, which says how many steps there are by its length: all fits into 80 columns."""
        speed, left = self._known()
        counts = f"{_brief(self._step)} steps", f"{_brief(self._updates())} updates"
        parts = (*counts, "" if speed is None else f"{speed:,.0f}/s", self._score())
        clock = tqdm.format_interval(self._timed_at - self._began)
        clock += "" if left is None else f"<{tqdm.format_interval(left)}"
        return f"{', '.join(filter(None, parts))} [{clock}]"

    def _known(self) -> tuple[float | None, float | None]:
        """Steps a second, and the seconds that are left, as far as they can be said."""
        if not self._started:
            return None, None
        rest = self._total - self._step
        return self._pace.speed, self._pace.seconds_for(rest) if rest > 0 else None

    def _score(self) -> str:
        if not self._returns:
            return ""
        mean = sum(self._returns) / len(self._returns)
        return f"return {mean:,.0f}" if abs(mean) >= 100 else f"return {mean:.2f}"


def _brief(number: int) -> str:
    return str(number) if number < 1000 else tqdm.format_sizeof(number)


def duration(seconds: float) -> str:
    """A time in words, as exact as it is of use."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
