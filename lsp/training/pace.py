"""How fast a run is, and how long the rest of it takes: of training alone, whatever else takes time in between."""

import math

MEMORY = 60.0
"""Seconds after which the past counts e times less: the speed shown is that of about the last minute."""
ENOUGH = 2.0
"""Seconds of training before which nothing is said: the first steps are slower or faster than all others."""


class Pace:
    """Environment steps a second of training, and what is done in between every so many steps."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._steps = self._seconds = 0.0  # of which those of long ago count less
        self._extra: dict[str, float] = {}  # seconds a step that other work takes, by its name

    def restart(self) -> None:
        """Forget the speed so far, for what comes is something else; `interruption`s stay as they are."""
        self._steps = self._seconds = 0.0

    def train(self, steps: int, seconds: float) -> None:
        """Take note of so many steps in so much time, in which nothing else was done."""
        kept = math.exp(-seconds / MEMORY)
        self._steps, self._seconds = self._steps * kept + steps, self._seconds * kept + seconds

    def interruption(self, name: str, seconds: float, every: int) -> None:
        """Take note of other work that took so long and comes again every so many steps; 0: never."""
        if every > 0:
            self._extra[name] = seconds / every

    @property
    def speed(self) -> float | None:
        """Steps a second of training; None where too little is known."""
        return self._steps / self._seconds if self._seconds >= ENOUGH else None

    def seconds_for(self, steps: int) -> float | None:
        """How long so many steps take, other work included; None where nobody can tell."""
        return steps * (1 / self.speed + sum(self._extra.values())) if self.speed else None
