"""Ending what the environments of worker processes have started, also where the learner is killed.

A worker leads a process group, which processes that its environments start are in. The learner ends the whole group
with the worker. Where the learner itself is killed, nobody would: the worker dies with it, and simulators would stay
behind. So a small process waits for the learner's end and then ends the groups that it was told of.
"""

import contextlib
import os
import signal
import subprocess
import sys

_PROGRAM = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    word, number = line.split()
    (groups.add if word == "watch" else groups.discard)(int(number))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""


class Janitor:
    """The learner's end of that process."""

    def __init__(self) -> None:
        """Start it, without waiting for it. It ends when its input does, that is with the learner."""
        self._groups: set[int] = set()
        # A session of its own: whatever is sent to the learner's terminal or process group passes it by.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def watch(self, group: int) -> None:
        """End this process group after the learner, or when asked to."""
        self._groups.add(group)
        self._tell(f"watch {group}")

    def end(self, group: int) -> None:
        """Kill what is left of a group, once: afterwards its number may be another's."""
        if group in self._groups:
            self._groups.remove(group)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
            self._tell(f"forget {group}")

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has been killed or closed; nothing depends on it
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._process.communicate()
