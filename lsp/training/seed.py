"""The host's half of one seed: its executors, what they have sent, and the updates that this has earned."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from lsp.config import Config
from lsp.types import ActionSample, Episode, Executors


class StageChange(NamedTuple):
    """What a loop must know of the step from one stage of a run to the next."""

    same_actions: bool  # whether the layer in training is still the same, so that transitions on their way stay valid
    fresh: bool  # whether replay is empty, so that learning waits for `learning_starts` steps again
    extra_updates: int  # updates that were made in between and that `utd` does not count
    reward: str | None  # of the new stage, where it is another: transitions on their way are dropped


@dataclass
class UpdateBudget:
    """Updates that `utd` allows, and transitions still to come in the terms of an earlier stage."""

    learning_starts: int  # the step from which `utd` counts
    uncounted: int = 0  # updates that `utd` does not count
    stale: int = 0  # chunks still to come whose actions are those of the layer below
    mixed: bool = False  # whether some actions in them are not, because executors were started again meanwhile

    def updates_due(self, config: Config, step: int, updates: int) -> int:
        """Updates that `utd` has earned since learning started and that are still to be made."""
        return int(config.utd * max(0, step - self.learning_starts)) - (updates - self.uncounted)

    def begin_stage(self, change: StageChange, config: Config, step: int, updates: int) -> None:
        """Begin a stage at environment step `step`, after so many updates, extra ones included."""
        self.uncounted += change.extra_updates
        if change.fresh:
            self.learning_starts, self.uncounted = step + config.learning_starts, updates
        if not change.same_actions:
            # What n-step returns hold back, and the actions already chosen, are still to come in the old terms.
            held = 0 if change.reward is not None else min(config.n_step - 1, step // config.executors.count)
            self.stale, self.mixed = held + 1, False

    def note_unforeseen_actions(self) -> None:
        """Executors act as the layer in training has just chosen, whatever was chosen before."""
        self.mixed = self.mixed or self.stale > 0

    def take_stale(self) -> bool:
        """Whether the chunk that has just come is a stale one; it is counted off."""
        self.stale -= (stale := self.stale > 0)
        return stale

    def get_state(self) -> list[int]:
        """All of it."""
        return [self.learning_starts, self.uncounted, self.stale, self.mixed]


class Seed:
    """One seed of a run. `index` is its place among all seeds on the device."""

    def __init__(self, index: int, config: Config, executors: Executors) -> None:
        """Take over `executors`; no environment is touched yet. `config` is that of the whole run."""
        self.index, self.config, self.executors = index, config, executors
        self.root = jax.random.key(config.seed)
        self.step, self.updates = 0, 0  # environment steps of all executors; gradient steps
        self.budget = UpdateBudget(config.learning_starts)
        self.actions = np.zeros((config.executors.count, 2 * executors.spec.action_dim), np.float32)
        self.observations = np.zeros((config.executors.count, executors.spec.observation_dim), np.float32)
        self.waiting: list[tuple[np.ndarray, np.ndarray]] = []  # packed transitions and returns since the last dispatch
        self.unsettled = 0  # the newest of them that are still in the terms of the layer below

    def start(self) -> None:
        """Reset every environment."""
        self.observations = self.executors.reset()

    def collect(self) -> Sequence[Episode]:
        """Step every executor once with the actions that were chosen for it; returns the episodes that ended."""
        chunk = self.executors.step(split_actions(self.actions))
        self.step += len(chunk.observations)
        if chunk.complete:
            self.waiting.append((chunk.packed, chunk.returns))
            self.unsettled += self.budget.take_stale()
        self.observations = chunk.observations
        return chunk.episodes

    def take_waiting(self) -> list[np.ndarray]:
        """Packed transitions and returns for a dispatch."""
        taken = [np.concatenate(part) for part in zip(*self.waiting, strict=True)]
        self.waiting.clear()
        return taken

    def learns(self, num_updates: int) -> bool:
        """Whether so many updates are due."""
        return self.budget.updates_due(self.config, self.step, self.updates) >= num_updates

    def begin_stage(self, change: StageChange) -> None:
        """Continue with the next stage of a run."""
        self.updates += change.extra_updates
        self.budget.begin_stage(change, self.config, self.step, self.updates)
        if change.reward is not None:
            self.executors.set_reward(change.reward)
            self.waiting.clear()
        self.unsettled = 0 if change.same_actions else len(self.waiting)

    def get_state(self, lost: bool = False) -> dict[str, Any]:
        """The host's part of the seed, as nested dicts of NumPy arrays and JSON values.

        `lost`: a fault has left the executors, or the step between them and the learner, in a state that nobody knows.
        Then what was data stays, and executors begin new episodes, as where an environment cannot be saved.
        """
        waiting, budget = self.waiting, self.budget
        if lost:
            # Neither what was not put into the terms of the layer in training, nor a block that is full but not sent.
            waiting = waiting[: min(len(waiting) - self.unsettled, self.config.block - 1)]
            budget = dataclasses.replace(budget, stale=0)
        return {
            "step": self.step,
            "updates": self.updates,
            "stage": budget.get_state(),
            "actions": self.actions.copy(),
            "waiting": [[packed.copy(), returns.copy()] for packed, returns in waiting],
            "executors": self.executors.new_episodes(self.step) if lost else self.executors.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `get_state`'s result."""
        self.step, self.updates = state["step"], state["updates"]
        self.budget = UpdateBudget(*state["stage"])
        self.actions = np.asarray(state["actions"])
        self.waiting = [(np.asarray(packed), np.asarray(returns)) for packed, returns in state["waiting"]]
        self.executors.set_state(state["executors"])

    def observe_again(self) -> None:
        """Take over the observations of executors that have begun episodes in `set_state`."""
        self.observations = np.stack([each["observation"] for each in self.executors.get_state()["executors"]])


def split_actions(actions: np.ndarray) -> ActionSample:
    """Actions [E, 2A], the two spaces side by side, as a sample."""
    return ActionSample(*np.split(actions, 2, axis=1))
