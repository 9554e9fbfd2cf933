"""Packing and unpacking are inverses, cost NumPy users no copy, and fields lie where the layout says."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from lsp import packing
from lsp.packing import Layout
from lsp.types import EnvSpec, GoalTask, Transition

OBSERVATION, ACTION, GOAL = 5, 3, 2
TASK = GoalTask(GOAL, lambda *goals: goals, lambda *goals: goals)
TASKS = (None, TASK, TASK._replace(beside=True))
PLAIN, WITH_GOALS, BESIDE = (Layout.of(EnvSpec(OBSERVATION, ACTION, goals)) for goals in TASKS)
LAYOUTS = pytest.mark.parametrize("layout", [PLAIN, WITH_GOALS, BESIDE], ids=["plain", "goals", "beside"])


def transition(rng: np.random.Generator, layout: Layout, *leading: int) -> Transition:
    def numbers(*shape: int) -> np.ndarray:
        return rng.standard_normal((*leading, *shape)).astype(np.float32)

    sizes = (OBSERVATION,), (ACTION,), (), (), (OBSERVATION,)
    outcome = numbers(layout.outcome_dim) if layout.outcome_dim else None
    return Transition(*(numbers(*size) for size in sizes), outcome, numbers() if layout.beside_dim else None)


def test_another_goal(rng: np.random.Generator) -> None:
    observation, goal = rng.normal(size=(3, OBSERVATION)), rng.normal(size=(3, 2))
    changed = packing.with_goal(observation, goal)
    np.testing.assert_allclose(changed[:, :3], observation[:, :3], rtol=1e-6)
    np.testing.assert_allclose(changed[:, 3:], goal, rtol=1e-6)


@LAYOUTS
@pytest.mark.parametrize("leading", [(), (7,), (2, 3), (0,)])
@pytest.mark.parametrize("library", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_unpack_inverts_pack(
    rng: np.random.Generator, layout: Layout, leading: tuple[int, ...], library: Callable[..., Any]
) -> None:
    original = Transition(*(field if field is None else library(field) for field in transition(rng, layout, *leading)))
    packed = packing.pack(original)
    assert packed.shape == (*leading, layout.width)
    assert isinstance(packed, np.ndarray) == (library is np.asarray)
    back = layout.unpack(packed)
    assert (back.outcome is None) == (layout is PLAIN)
    assert (back.beside is None) == (layout is not BESIDE)
    for field, found in zip(original, back, strict=True):
        assert type(found) is type(field)
        if field is not None:
            np.testing.assert_array_equal(found, field, strict=True)


@LAYOUTS
def test_pack_inverts_unpack(rng: np.random.Generator, layout: Layout) -> None:
    packed = rng.standard_normal((4, layout.width)).astype(np.float32)
    np.testing.assert_array_equal(packing.pack(layout.unpack(packed)), packed, strict=True)


def test_order_in_a_row() -> None:
    packed = packing.pack(Transition(np.array([1, 2]), np.array([3]), np.array(4), np.array(5), np.array([6, 7])))
    np.testing.assert_array_equal(packed, [1, 2, 3, 4, 5, 6, 7])


@LAYOUTS
def test_places_are_those_of_the_fields(layout: Layout) -> None:
    """Field by field, in the order of `Transition`; they cover the row, and none overlaps another."""
    row = np.arange(layout.width)
    fields = [getattr(layout, name) for name in Transition._fields]
    expected = [[0, 1, 2, 3, 4], [5, 6, 7], 8, 9, [10, 11, 12, 13, 14], [15, 16, 17, 18][: layout.outcome_dim]]
    expected.append(19 if layout.beside_dim else [])
    assert [row[place].tolist() for place in fields] == expected
    assert np.concatenate([np.atleast_1d(row[place]) for place in fields]).tolist() == row.tolist()


@pytest.mark.parametrize("layout", [WITH_GOALS, BESIDE], ids=["goals", "beside"])
def test_places_in_an_outcome(rng: np.random.Generator, layout: Layout) -> None:
    """In a row and, of the same transition, in its outcome."""
    t = transition(rng, layout, 4)
    packed = packing.pack(t)
    achieved, step, failure = packing.split_outcome(t.outcome)
    np.testing.assert_array_equal(packed[:, layout.achieved_goal], achieved)
    np.testing.assert_array_equal(packed[:, layout.episode_step], step)
    np.testing.assert_array_equal(packed[:, layout.outcome][:, -1], failure)
    assert achieved.shape == (4, GOAL)
    with pytest.raises(AssertionError, match="without goals"):
        _ = PLAIN.episode_step


@LAYOUTS
def test_layouts_of_examples_are_those_of_environments(rng: np.random.Generator, layout: Layout) -> None:
    """Whatever the leading axes; and equal ones are one static argument of compiled functions."""
    for leading in ((), (3,)):
        found = Layout.like(transition(rng, layout, *leading))
        assert found == layout
        assert hash(found) == hash(layout)


@LAYOUTS
def test_unpacked_numpy_rows_are_views(layout: Layout) -> None:
    packed = np.zeros((2, layout.width), np.float32)
    fields = [field for field in layout.unpack(packed) if field is not None]
    for number, field in enumerate(fields, start=1):
        field[...] = number
    sizes = [OBSERVATION, ACTION, 1, 1, OBSERVATION, layout.outcome_dim, layout.beside_dim]
    expected = np.repeat(np.arange(1, 8), sizes)
    np.testing.assert_array_equal(packed, [expected, expected])
