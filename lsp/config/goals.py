"""Configuration of tasks with goals, and of hindsight; a section of `lsp.config`."""

from dataclasses import dataclass
from typing import Literal

from lsp.config.schema import NonNegative


@dataclass(frozen=True)
class GoalsConfig:
    """Tasks with goals: Dict observations of observation, achieved_goal and desired_goal."""

    kind: Literal["none", "hindsight"] = "none"
    """Learn from the goals that were asked for alone, or in hindsight also from those that were achieved."""
    strategy: Literal["future", "final", "episode", "random"] = "future"
    """Where a transition's other goal is from: what its episode achieves later on, or in its last step, or at any time;
    or what any transition achieved."""
    k: NonNegative = 4.0
    """Transitions drawn with another goal for each with its own; 0 relabels none."""
    include_own: bool = True
    """Whether a transition may take as its goal what it achieves itself, and so meet it at once."""
    one_by_one: bool = False
    """Call an environment's own compute_reward with one goal after the other, where it takes no batch: slower."""
