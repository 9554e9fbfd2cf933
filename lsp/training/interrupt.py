"""Ctrl-C and SIGTERM as a request that the loop honours between two steps."""

import os
import signal
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupt:
    """While entered, the first signal sets `requested`; a second Ctrl-C ends at once. Inert outside the main thread."""

    def __init__(self) -> None:
        """Nothing requested."""
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        except ValueError:
            self._previous = {}  # signals belong to the main thread
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        # Not print: the signal may have come while the progress bar holds the lock of stderr.
        os.write(2, b"\nstopping after this step; Ctrl-C once more to end without a checkpoint\n")
