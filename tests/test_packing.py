"""Packing and unpacking are inverses, and cost NumPy users no copy."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from lsp import packing
from lsp.types import GoalTask, Transition

OBSERVATION, ACTION = 5, 3


def transition(rng: np.random.Generator, *leading: int) -> Transition:
    def numbers(*shape: int) -> np.ndarray:
        return rng.standard_normal((*leading, *shape)).astype(np.float32)

    return Transition(numbers(OBSERVATION), numbers(ACTION), numbers(), numbers(), numbers(OBSERVATION))


@pytest.mark.parametrize("library", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_rows_of_tasks_with_goals_hold_outcomes_at_their_end(
    rng: np.random.Generator, library: Callable[..., Any]
) -> None:
    task = GoalTask(2, lambda *goals: goals, lambda *goals: goals)
    original = Transition(*map(library, [*transition(rng, 7)[:5], rng.normal(size=(7, 4)).astype(np.float32)]))
    packed = packing.pack(original)
    assert packed.shape == (7, packing.width(OBSERVATION, ACTION, task))
    np.testing.assert_array_equal(packed[:, -4:], original.outcome)
    for field, back in zip(original, packing.unpack(packed, OBSERVATION, packing.outcome_dim(task)), strict=True):
        np.testing.assert_array_equal(field, back)


def test_another_goal(rng: np.random.Generator) -> None:
    observation, goal = rng.normal(size=(3, OBSERVATION)), rng.normal(size=(3, 2))
    changed = packing.with_goal(observation, goal)
    np.testing.assert_allclose(changed[:, :3], observation[:, :3], rtol=1e-6)
    np.testing.assert_allclose(changed[:, 3:], goal, rtol=1e-6)


@pytest.mark.parametrize("leading", [(), (7,), (2, 3), (0,)])
@pytest.mark.parametrize("library", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_unpack_inverts_pack(rng: np.random.Generator, leading: tuple[int, ...], library: Callable[..., Any]) -> None:
    original = Transition(*map(library, transition(rng, *leading)[:5]))
    packed = packing.pack(original)
    assert packed.shape == (*leading, packing.width(OBSERVATION, ACTION))
    assert isinstance(packed, np.ndarray) == (library is np.asarray)
    assert packing.unpack(packed, OBSERVATION).outcome is None
    for field, back in zip(original[:5], packing.unpack(packed, OBSERVATION)[:5], strict=True):
        assert type(back) is type(field)
        np.testing.assert_array_equal(back, field, strict=True)


def test_pack_inverts_unpack(rng: np.random.Generator) -> None:
    packed = rng.standard_normal((4, packing.width(OBSERVATION, ACTION))).astype(np.float32)
    np.testing.assert_array_equal(packing.pack(packing.unpack(packed, OBSERVATION)), packed, strict=True)


def test_order_in_a_row() -> None:
    packed = packing.pack(Transition(np.array([1, 2]), np.array([3]), np.array(4), np.array(5), np.array([6, 7])))
    np.testing.assert_array_equal(packed, [1, 2, 3, 4, 5, 6, 7])


def test_unpacked_numpy_rows_are_views() -> None:
    packed = np.zeros((2, packing.width(OBSERVATION, ACTION)), np.float32)
    for number, field in enumerate(packing.unpack(packed, OBSERVATION)[:5], start=1):
        field[...] = number
    expected = np.repeat([1, 2, 3, 4, 5], [OBSERVATION, ACTION, 1, 1, OBSERVATION])
    np.testing.assert_array_equal(packed, [expected, expected])
