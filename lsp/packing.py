"""Transitions packed into rows, the layout that replay stores and executors send.

    row = [observation (S), action (A), reward, discount, next_observation (S)],     W = 2S + A + 2 numbers

and of a task with goals G + 2 more, its `outcome`: [goal achieved by the step (G), step in its episode, failure], where
failure is 1 if the episode terminated for another reason than its goal.

One row is one gather out of replay and one array across the boundary of a dispatch.
"""

from typing import Any

import numpy as np

from lsp.types import Array, GoalTask, Transition


def width(observation_dim: int, action_dim: int, goals: GoalTask | None = None) -> int:
    """Numbers in a row."""
    return 2 * observation_dim + action_dim + 2 + outcome_dim(goals)


def outcome_dim(goals: GoalTask | None) -> int:
    """Numbers in the outcome of a row."""
    return 0 if goals is None else goals.dim + 2


def with_goal(observation: Array, goal: Array) -> Array:
    """Flat observations [..., S] with their last numbers replaced by other goals [..., G]."""
    import jax.numpy as jnp  # here, because an executor's process does without JAX

    return jnp.concatenate([observation[..., : -goal.shape[-1]], goal], axis=-1)


def pack(transition: Transition) -> Array:
    """Rows of a transition with any leading axes, [..., W]. NumPy in, NumPy out."""
    xp: Any = np
    if not isinstance(transition.observation, np.ndarray):
        import jax.numpy as xp  # as above
    reward, discount = transition.reward[..., None], transition.discount[..., None]
    parts = [transition.observation, transition.action, reward, discount, transition.next_observation]
    return xp.concatenate(parts if transition.outcome is None else [*parts, transition.outcome], axis=-1)


def unpack(rows: Array, observation_dim: int, outcome_dim: int = 0) -> Transition:
    """Inverse of `pack`, [..., W] -> a transition with the same leading axes; NumPy rows give views."""
    end = rows.shape[-1] - outcome_dim
    action_end = end - observation_dim - 2
    return Transition(
        observation=rows[..., :observation_dim],
        action=rows[..., observation_dim:action_end],
        reward=rows[..., action_end],
        discount=rows[..., action_end + 1],
        next_observation=rows[..., action_end + 2 : end],
        outcome=rows[..., end:] if outcome_dim else None,
    )
