"""Transitions packed into rows, the layout that replay stores and executors send.

    row = [observation (S), action (A), reward, discount, next_observation (S)],     W = 2S + A + 2 numbers

One row is one gather out of replay and one array across the boundary of a dispatch.
"""

from typing import Any

import numpy as np

from lsp.types import Array, Transition


def width(observation_dim: int, action_dim: int) -> int:
    """Numbers in a row."""
    return 2 * observation_dim + action_dim + 2


def pack(transition: Transition) -> Array:
    """Rows of a transition with any leading axes, [..., W]. NumPy in, NumPy out."""
    xp: Any = np
    if not isinstance(transition.observation, np.ndarray):
        import jax.numpy as xp  # here, because an executor's process does without JAX
    reward, discount = transition.reward[..., None], transition.discount[..., None]
    parts = [transition.observation, transition.action, reward, discount, transition.next_observation]
    return xp.concatenate(parts, axis=-1)


def unpack(rows: Array, observation_dim: int) -> Transition:
    """Inverse of `pack`, [..., W] -> a transition with the same leading axes; NumPy rows give views."""
    action_end = rows.shape[-1] - observation_dim - 2
    return Transition(
        observation=rows[..., :observation_dim],
        action=rows[..., observation_dim:action_end],
        reward=rows[..., action_end],
        discount=rows[..., action_end + 1],
        next_observation=rows[..., action_end + 2 :],
    )
