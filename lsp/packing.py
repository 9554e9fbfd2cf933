"""Transitions packed into rows, the format that replay stores and executors send.

    row = [observation (S), action (A), reward, discount, next_observation (S)],     W = 2S + A + 2 numbers

and of a task with goals G + 2 more, its `outcome`: [goal achieved by the step (G), step in its episode, failure], where
failure is 1 if the episode terminated for another reason than its goal. Where steps may have a reward beside that of
their goal (`GoalTask.beside`), that part of the reward is one number more, the last.

One row is one gather out of replay and one array across the boundary of a dispatch. `Layout` alone knows what lies
where in it.
"""

from typing import Any, NamedTuple

import numpy as np

from lsp.types import Array, EnvSpec, Transition


class Layout(NamedTuple):
    """Places of a transition's fields in its row f32[W]: a slice, or an index where the field is one number."""

    observation_dim: int  # S
    action_dim: int  # A
    outcome_dim: int = 0  # G + 2, or 0 without goals
    beside_dim: int = 0  # 1, or 0 where no step has a reward beside its goal's

    @classmethod
    def of(cls, spec: EnvSpec) -> "Layout":
        """Of the transitions of an environment."""
        task = spec.goals
        goals = () if task is None else (task.dim + 2, int(task.beside))
        return cls(spec.observation_dim, spec.action_dim, *goals)

    @classmethod
    def like(cls, example: Transition) -> "Layout":
        """Of transitions whose fields have the last axes of the example's."""
        outcome_dim = 0 if example.outcome is None else example.outcome.shape[-1]
        beside_dim = int(example.beside is not None)
        return cls(example.observation.shape[-1], example.action.shape[-1], outcome_dim, beside_dim)

    @property
    def width(self) -> int:
        """Numbers in a row, W."""
        return 2 * self.observation_dim + self.action_dim + 2 + self.outcome_dim + self.beside_dim

    @property
    def observation(self) -> slice:
        """S numbers."""
        return slice(0, self.observation_dim)

    @property
    def action(self) -> slice:
        """A numbers."""
        return slice(self.observation_dim, self.observation_dim + self.action_dim)

    @property
    def reward(self) -> int:
        """One number."""
        return self.action.stop

    @property
    def discount(self) -> int:
        """One number."""
        return self.reward + 1

    @property
    def next_observation(self) -> slice:
        """S numbers."""
        return slice(self.discount + 1, self.discount + 1 + self.observation_dim)

    @property
    def outcome(self) -> slice:
        """G + 2 numbers; empty without goals."""
        return slice(self.next_observation.stop, self.next_observation.stop + self.outcome_dim)

    @property
    def achieved_goal(self) -> slice:
        """Of the outcome, G numbers."""
        return slice(self.outcome.start, self.episode_step)

    @property
    def episode_step(self) -> int:
        """Of the outcome, one number: the step in its episode, from 0."""
        assert self.outcome_dim, "without goals there is no outcome"
        return self.outcome.stop - 2

    @property
    def beside(self) -> int | slice:
        """One number: the part of the reward that is not of the goal; empty where no step has such a part."""
        return self.outcome.stop if self.beside_dim else slice(self.outcome.stop, self.width)

    def unpack(self, rows: Array) -> Transition:
        """Inverse of `pack`, [..., W] -> a transition with the same leading axes; NumPy rows give views."""
        return Transition(
            observation=rows[..., self.observation],
            action=rows[..., self.action],
            reward=rows[..., self.reward],
            discount=rows[..., self.discount],
            next_observation=rows[..., self.next_observation],
            outcome=rows[..., self.outcome] if self.outcome_dim else None,
            beside=rows[..., self.beside] if self.beside_dim else None,
        )


def pack(transition: Transition) -> Array:
    """Rows of a transition with any leading axes, [..., W]. NumPy in, NumPy out."""
    xp: Any = np
    if not isinstance(transition.observation, np.ndarray):
        import jax.numpy as xp  # here, because an executor's process does without JAX
    reward, discount = transition.reward[..., None], transition.discount[..., None]
    parts = [transition.observation, transition.action, reward, discount, transition.next_observation]
    if transition.outcome is not None:
        parts.append(transition.outcome)
    if transition.beside is not None:
        parts.append(transition.beside[..., None])
    return xp.concatenate(parts, axis=-1)


def split_outcome(outcome: Array) -> tuple[Array, Array, Array]:
    """Goal achieved [..., G], step in the episode [...] and failure [...] of an outcome [..., G + 2]."""
    return outcome[..., :-2], outcome[..., -2], outcome[..., -1]


def with_goal(observation: Array, goal: Array) -> Array:
    """Flat observations [..., S] with their last numbers replaced by other goals [..., G]."""
    import jax.numpy as jnp  # as above

    return jnp.concatenate([observation[..., : -goal.shape[-1]], goal], axis=-1)
