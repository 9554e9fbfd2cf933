"""Which evaluations of a run its score is the mean of, as functions of arrays over its T evaluations.

They are those in the last tenth of its steps, whatever the time between evaluations; where these have fewer than
`MIN_EPISODES` episodes, the evaluations before them, too, one by one until there are as many, but none from before the
policy in question began to learn. `steps` are environment steps, ascending, i64[T]; a step that appears twice is one
at which a layer was added: its policy was evaluated before and after.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MIN_EPISODES = 50
Integers = NDArray[np.int64]


class Bounds(NamedTuple):
    """Where a window begins, in environment steps."""

    after: int  # the policy began to learn here: only what comes later counts
    first: int  # of the first evaluation that counts


def repeats(steps: Integers) -> Integers:
    """How many evaluations came before each at the same step, [T]."""
    return np.arange(len(steps)) - np.searchsorted(steps, steps)


def start_of_learning(steps: Integers, updates: Integers) -> int:
    """The step after which evaluations are of the policy that was trained last, and has been trained; -1: all are.

    That is the last growth that anything was trained after, else the last evaluation before the first of the `updates`
    (those so far, [T]).
    """
    again = repeats(steps) > 0
    last = np.flatnonzero(~again)[-1]
    begins = [-1, *steps[:last][again[:last]]]
    if updates[last] > 0:
        begins += [*steps[updates == 0]]
    return int(max(begins))


def first_step(steps: Integers, episodes: Integers, after: int) -> int:
    """The step of the first evaluation that counts, of those after step `after`; `episodes` of each, [T]."""
    inside = np.flatnonzero((repeats(steps) == 0) & (steps > after))
    # With the episodes of an evaluation and all later ones, fewer than the minimum are missing before it.
    since = np.cumsum(episodes[inside][::-1])[::-1]
    tenth = np.flatnonzero(10 * steps[inside] > 9 * steps[-1])
    enough = np.flatnonzero(since >= MIN_EPISODES)
    return int(steps[inside[min(tenth[0], enough[-1] if len(enough) else 0)]])


def bounds(steps: Integers, updates: Integers, episodes: Integers) -> Bounds:
    """Of a run by itself."""
    after = start_of_learning(steps, updates)
    return Bounds(after, first_step(steps, episodes, after))


def counted(steps: Integers, within: Bounds) -> NDArray[np.bool_]:
    """The evaluations that count, [T]; not what was evaluated right after growth, which has not been trained."""
    return (repeats(steps) == 0) & (steps > within.after) & (steps >= within.first)
