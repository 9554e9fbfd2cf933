"""Reasons to stop between two steps: Ctrl-C, SIGTERM, a terminal that hung up, and a reader of the output that left."""

import contextlib
import os
import signal
import sys
from types import FrameType, TracebackType
from typing import Any, Self, TextIO

MESSAGE = b"\nstopping after this step; Ctrl-C once more to end without a checkpoint\n"


class Interrupted(Exception):
    """Somebody wants the run to stop, and something that takes long was abandoned for it."""


class Watched:
    """A text stream that tells when nobody can read it any longer, and from then on leads nowhere; it never raises."""

    def __init__(self, stream: TextIO, interrupt: "Interrupt") -> None:
        """Write to `stream`; when that fails, `interrupt` is requested."""
        self._stream, self._interrupt, self._gone = stream, interrupt, False

    def write(self, text: str) -> int:
        """Write, if anybody reads."""
        if not self._gone:
            try:
                self._stream.write(text)
            except OSError:
                self._leave()
        return len(text)

    def flush(self) -> None:
        """Flush, if anybody reads."""
        if not self._gone:
            try:
                self._stream.flush()
            except OSError:
                self._leave()

    def _leave(self) -> None:
        self._gone = True
        self._interrupt.requested = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Interrupt:
    """While entered, the first signal sets `requested`; a second Ctrl-C ends at once.

    So does a write to standard output or standard error that fails: their reader, such as `head` or a terminal, is
    gone. Signals are left alone outside of the main thread, and SIGHUP where it is ignored already, as `nohup` wants.
    """

    def __init__(self) -> None:
        """Nothing requested."""
        self.requested = False
        self.signal: int | None = None  # which one asked, if one did
        self._previous: dict[int, Any] = {}
        self._streams: dict[str, tuple[TextIO, Watched]] = {}

    def check(self) -> None:
        """Raise Interrupted where it is requested."""
        if self.requested:
            raise Interrupted

    def __enter__(self) -> Self:
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        try:
            for number in numbers:
                self._previous[number] = signal.signal(number, self._handle)
        except ValueError:
            self._previous = {}  # signals belong to the main thread
        for name in ("stdout", "stderr"):
            if (stream := getattr(sys, name)) is not None:
                self._streams[name] = stream, Watched(stream, self)
                setattr(sys, name, self._streams[name][1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        for name, (before, ours) in self._streams.items():
            if getattr(sys, name) is ours:
                setattr(sys, name, before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        self.signal = number
        # Not print: the signal may have come while the progress bar holds the lock of stderr.
        with contextlib.suppress(OSError):  # a terminal that hung up
            os.write(2, MESSAGE)
