"""The training loop: step environments on the host, do everything else in one dispatch.

The loop is lock-step over the seeds of a run: each seed's executors take a step, one seed after the other, and then one
dispatch serves all seeds, so that what a dispatch costs is paid once. A seed that nobody steps any longer, because it
failed, receives zeros for experience, and no other seed sees it.

With `block` K the host steps K times between dispatches, acting on the parameters of the last one, and the dispatch
then carries K transitions an executor and the updates due for them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from lsp.training.device import Device, RunState
from lsp.training.seed import Seed, StageChange, split_actions
from lsp.types import ActionSample, Array, Episode, Executors, Recipe


class TrainingLoop(Protocol):
    """Training in steps. The caller says which seeds are still trained, and may put a run aside between two steps."""

    device: Device

    def start(self, seeds: Sequence[Seed]) -> None:
        """Reset every environment and choose the first actions."""

    def collect(self, seed: Seed) -> Sequence[Episode]:
        """Gather a seed's next experience; returns the episodes that ended."""

    def answer(self, seeds: Sequence[Seed]) -> None:
        """After each of `seeds` has collected: learn what is due, and choose the next actions."""

    def metrics(self, seed: Seed) -> dict[str, float]:
        """Of a seed's interval so far; waits for its updates. The learner's are absent where there were none."""

    def begin_interval(self, seed: Seed) -> None:
        """Begin the next interval of a seed's metrics: the line of this one has been written."""

    def begin_stage(self, recipe: Recipe, state: RunState, change: StageChange, seeds: Sequence[Seed]) -> None:
        """Continue with the next stage of a run: its recipe, and the first `state` of all seeds."""

    def renew_executors(self, seed: Seed, make: Callable[[], Executors], reward: str) -> None:
        """Give executors that act themselves the policy of the stage that has begun, and its reward."""

    def act_again(self, seeds: Sequence[Seed]) -> None:
        """Choose actions of executors that have begun episodes in `set_state`, whose actions were for other ones."""

    def renew_policy(self, seed: Seed) -> None:
        """The learner has changed otherwise than by a dispatch: act as it does now."""

    def get_state(self, seed: Seed, lost: bool = False) -> dict[str, Any]:
        """The host's part of a seed, as nested dicts of NumPy arrays and JSON values; `lost`: see `Seed.get_state`."""

    def set_state(self, seed: Seed, host: dict[str, Any], state: RunState) -> None:
        """Continue from `get_state`'s result and the device's part."""


class Now(NamedTuple):
    """What acting depends on, beside parameters and root keys."""

    step: np.int32  # environment steps so far, the same for all seeds
    observations: np.ndarray  # of all seeds
    random: np.bool_  # whether to act uniformly


class Schedule(Protocol):
    """When actions are chosen: after the updates of a dispatch, or before."""

    def act(self, device: Device, now: Now) -> np.ndarray | Array:
        """Actions of all seeds between two dispatches."""

    def dispatch(self, device: Device, packed: np.ndarray, returns: np.ndarray, now: Now, learns: bool) -> Any:
        """Store new transitions of all seeds, learn if it `learns`; returns the next actions of all seeds."""

    def forget(self) -> None:
        """The parameters have changed otherwise than by a dispatch."""

    def get_state(self) -> dict[str, Any]:
        """What a checkpoint needs beside `Seed.get_state`. Of one seed."""

    def set_state(self, device: Device, host: dict[str, Any]) -> None:
        """Continue from `get_state`'s result."""


class ActAfterUpdates:
    """`--executors.mode=sync`: a dispatch ends with the next actions, from the parameters that it has just learned."""

    def act(self, device: Device, now: Now) -> Array:
        """Act on the latest parameters."""
        return device.compiled.act(device.actor_params(), device.roots, *now)

    def dispatch(self, device: Device, packed: np.ndarray, returns: np.ndarray, now: Now, learns: bool) -> Array:
        """Everything in one call."""
        function = device.compiled.advance if learns else device.compiled.collect
        step, *acting = now
        state, actions, metrics = function(device.state, device.roots, step, packed, returns, *acting)
        device.replace(state, metrics if learns else None)
        return actions

    def forget(self) -> None:
        """Nothing to forget."""

    def get_state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def set_state(self, device: Device, host: dict[str, Any]) -> None:
        """Nothing to restore."""


class Loop:
    """`TrainingLoop` in lock-step. Everything that changes is in `device.state` and in `get_state` of each seed."""

    def __init__(self, device: Device, schedule: Schedule | None = None) -> None:
        """Train the seeds of `device`; without a schedule, act after updates."""
        self.device, self._schedule = device, schedule or ActAfterUpdates()
        self._choices = 0  # made for observations that came between two steps

    def start(self, seeds: Sequence[Seed]) -> None:
        """Reset every environment and choose the first actions."""
        for seed in seeds:
            seed.executors.set_chooser(partial(self._choose, seed))
            seed.start()
        self._act(seeds)

    def collect(self, seed: Seed) -> Sequence[Episode]:
        """Step a seed's executors once."""
        return seed.collect()

    def answer(self, seeds: Sequence[Seed]) -> None:
        """Learn at the end of a block; act in any case."""
        if seeds[0].unsettled:
            self._settle(seeds)
        if len(seeds[0].waiting) == self.device.recipe.config.block:
            self._dispatch(seeds)
        else:
            self._act(seeds)

    def metrics(self, seed: Seed) -> dict[str, float]:
        """Metrics of a seed's updates in this interval; waits for them. Empty where there were none."""
        return self.device.interval.line(seed.index)

    def begin_interval(self, seed: Seed) -> None:
        """Begin the next interval."""
        self.device.interval.begin(seed.index)

    def begin_stage(self, recipe: Recipe, state: RunState, change: StageChange, seeds: Sequence[Seed]) -> None:
        """Continue with the next stage; what waits is re-encoded."""
        self.device.begin_stage(recipe, state)
        self._schedule.forget()
        for seed in seeds:
            seed.begin_stage(change)
        self._settle(seeds)

    def renew_executors(self, seed: Seed, make: Callable[[], Executors], reward: str) -> None:
        """Nothing: here executors only step."""

    def act_again(self, seeds: Sequence[Seed]) -> None:
        """Choose actions for the first observations of new episodes."""
        for seed in seeds:
            seed.observe_again()
        self._act(seeds)

    def renew_policy(self, seed: Seed) -> None:
        """Act on the present parameters."""
        self._schedule.forget()

    def get_state(self, seed: Seed, lost: bool = False) -> dict[str, Any]:
        """The host's part of a seed."""
        interval = {"interval": self.device.interval.get_state(seed.index)}
        return seed.get_state(lost) | interval | self._schedule.get_state()

    def set_state(self, seed: Seed, host: dict[str, Any], state: RunState) -> None:
        """Continue from `get_state`'s result and the device's part."""
        self.device.set_state(seed.index, state)
        seed.executors.set_chooser(partial(self._choose, seed))
        seed.set_state(host)
        self.device.interval.set_state(seed.index, host["interval"])
        self._schedule.set_state(self.device, host)

    def _settle(self, seeds: Sequence[Seed]) -> None:
        """Put chunks that came in the terms of the layer below into those of the layer in training.

        Where a transition cannot be used, its chunk is left out of all seeds, so that they stay in step.
        """
        count = seeds[0].unsettled  # the same for all
        encoded = [encode_unsettled(self.device, seed) for seed in seeds]
        usable = [all(chunks[i][1] for chunks in encoded) for i in range(count)]
        for seed, chunks in zip(seeds, encoded, strict=True):
            kept = [chunk for (chunk, _), ok in zip(chunks, usable, strict=True) if ok]
            seed.waiting[len(seed.waiting) - count :] = kept
            seed.unsettled = 0

    def _choose(self, seed: Seed, observations: np.ndarray) -> ActionSample:
        """Actions of a seed for observations [E, S] that nobody could know of between two steps."""
        seed.budget.note_unforeseen_actions()
        self._choices = max(self._choices + 1, seed.step)
        step = np.int32(-1 - self._choices)  # for its random numbers: no step has it
        random = np.bool_(seed.step < self.device.recipe.config.warmup_steps)
        actions = self._schedule.act(self.device, Now(step, self._stack([seed], [observations]), random))
        return split_actions(self.device.transform.unstack(actions)[seed.index])

    def _act(self, seeds: Sequence[Seed]) -> None:
        self._hand_out(seeds, self._schedule.act(self.device, self._now(seeds)))

    def _dispatch(self, seeds: Sequence[Seed]) -> None:
        updates = self.device.updates_per_dispatch
        learns = seeds[0].learns(updates)  # the same for all
        packed, returns = (
            self._stack(seeds, part) for part in zip(*(seed.take_waiting() for seed in seeds), strict=True)
        )
        actions = self._schedule.dispatch(self.device, packed, returns, self._now(seeds), learns)
        for seed in seeds if learns else ():
            seed.updates += updates
        self._hand_out(seeds, actions)

    def _now(self, seeds: Sequence[Seed]) -> Now:
        step, warmup_steps = seeds[0].step, self.device.recipe.config.warmup_steps  # the same for all
        observations = self._stack(seeds, [seed.observations for seed in seeds])
        return Now(np.int32(step), observations, np.bool_(step < warmup_steps))

    def _stack(self, seeds: Sequence[Seed], values: Sequence[np.ndarray]) -> np.ndarray:
        return self.device.transform.stack([seed.index for seed in seeds], values)

    def _hand_out(self, seeds: Sequence[Seed], actions: Array | np.ndarray) -> None:
        of_each = self.device.transform.unstack(actions)
        for seed in seeds:
            seed.actions = of_each[seed.index]


def encode_unsettled(device: Device, seed: Seed) -> list[tuple[tuple[np.ndarray, np.ndarray], bool]]:
    """A seed's unsettled chunks in the terms of the layer in training, and whether all of each can be used."""
    found = []
    for packed, returns in seed.waiting[len(seed.waiting) - seed.unsettled :]:
        assert device.compiled.encode is not None
        encoded, usable = map(np.asarray, device.compiled.encode(device.actor_params_of(seed.index), packed))
        found.append(((encoded, returns), bool(usable.all()) and not seed.budget.mixed))
    return found
