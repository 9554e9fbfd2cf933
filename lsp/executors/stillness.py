"""When a body does not move: the steps of an episode that it spends in one place, in collection and evaluation alike.

An episode is parted into stretches. A stretch begins at a step and goes on for as long as the steps after it stay near
that one; the first that does not begins the next stretch. Where `info` says a position (`POSITION`), near is within
`RADIUS` in a straight line; so a body on its back that kicks its legs stays, and one that swings farther to and fro, or
goes round in circles, does not. Where it says none, near is that no number of the observation has changed by more than
`CHANGE`, or by that part of itself where it was beyond 1; legs that kick are then motion, and so is noise.

A step is motionless where its stretch has `STILL_STEPS` steps or more, all of which count:

    share of an episode = steps in stretches of at least STILL_STEPS / its steps

So it is 1 of a body that stands from the first step to the last, 0 of one that covers RADIUS in fewer than STILL_STEPS
steps all the time, and 0 of any shorter episode. It says nothing of whether standing is wrong: a pole that is balanced,
and an arm that has reached its goal, are motionless too.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lsp.config.executors import STILL_STEPS

POSITION = ("x_position", "y_position")
"""The `info` terms that say where a body is, as Gymnasium's MuJoCo tasks and our ants have them."""
RADIUS = 0.3
"""In the unit of the position: meters in MuJoCo's tasks. On its back the study's ant crawls less far within STILL_STEPS
steps, which are 2 s of it, while one that has learned to run needs 5 to 15 steps for it."""
CHANGE = 0.01
"""Of a number of the observation."""


class Stillness:
    """The stretches of the episode in progress. It remembers one place and two counts, however long that is."""

    def __init__(self) -> None:
        """Begin an episode."""
        self._position: tuple[float, ...] = ()  # where the stretch in progress began; empty where nobody said
        self._observation = np.zeros(0)  # f64[S] the same, where it goes by that
        self.steps = 0  # of the stretch in progress, the last step included
        self._motionless = 0  # steps of the stretches before it that were long enough

    def add(self, position: Sequence[float | None], observation: np.ndarray) -> None:
        """Count one step, after which the body was at `position` (None: not said) and `observation` f[S] was seen."""
        said = tuple(each for each in position if each is not None)
        if self.steps > 0 and self._is_near(said, observation):
            self.steps += 1
            return
        self._motionless += self._counted()
        self.steps, self._position = 1, said
        self._observation = np.array([] if said else observation, np.float64)

    def _is_near(self, position: tuple[float, ...], observation: np.ndarray) -> bool:
        """Whether the step belongs to the stretch in progress."""
        if len(position) != len(self._position):
            return False
        if position:
            return math.dist(position, self._position) < RADIUS
        change = np.abs(observation - self._observation)
        return bool((change <= CHANGE * np.maximum(1.0, np.abs(self._observation))).all())

    def _counted(self) -> int:
        """Motionless steps of the stretch in progress, as it stands."""
        return self.steps if self.steps >= STILL_STEPS else 0

    def finish(self) -> int:
        """Motionless steps of the episode, which ends here; and begin the next."""
        motionless = self._motionless + self._counted()
        self.steps = self._motionless = 0
        return motionless

    def get_state(self) -> list[Any]:
        """All of it as JSON values."""
        return [list(self._position), self._observation.tolist(), self.steps, self._motionless]

    def set_state(self, state: Sequence[Any]) -> None:
        """Continue from `get_state`'s result."""
        position, observation, self.steps, self._motionless = state
        self._position, self._observation = tuple(position), np.array(observation, np.float64)
