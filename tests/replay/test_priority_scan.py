"""What a scan finds: a bound of the largest mass that follows it down, and the transitions that were never replayed."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp.replay import priority_scan, sum_tree
from lsp.replay.sum_tree import FAN_OUT


class Slots(NamedTuple):
    """A tree, marks laid out like its leaves, and a scan."""

    tree: sum_tree.SumTree
    replayed: jax.Array
    scan: priority_scan.PriorityScan


def slots_of(capacity: int) -> Slots:
    tree = sum_tree.init(capacity)
    return Slots(tree, jnp.zeros(tree.levels[-1].shape, bool), priority_scan.init())


@pytest.fixture(autouse=True)
def eight_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short scans. 1000 slots are 63 nodes, and the last of 8 windows overlaps the one before it."""
    monkeypatch.setattr(priority_scan, "WINDOWS", 8)


@functools.partial(jax.jit, static_argnames="size")
def write_and_inspect(state: Slots, slots: jax.Array, masses: jax.Array, step: int, size: int) -> Slots:
    tree = sum_tree.set_leaves(state.tree, slots, masses)
    replayed = state.replayed.at[slots // FAN_OUT, slots % FAN_OUT].set(True)
    scan = priority_scan.after_writes(state.scan, masses)
    return Slots(tree, replayed, priority_scan.inspect_window(scan, tree, replayed, jnp.int32(size), step))


@pytest.mark.parametrize(("capacity", "calls"), [(3, 1), (16, 1), (100, 7), (1000, 8)])
def test_never_below_the_maximum_nor_far_behind(capacity: int, calls: int, rng: np.random.Generator) -> None:
    """Masses shrink without end; the bound stays within two scans."""
    state, masses, largest = slots_of(capacity), np.zeros(capacity, np.float32), []
    for step in range(5 * calls + 5):
        slots = rng.choice(capacity, min(capacity, 7), replace=False)
        values = (10.0 ** (1 - step / calls / 5) * rng.uniform(0.1, 1, len(slots))).astype(np.float32)
        before = masses.max()
        masses[slots] = values
        state = write_and_inspect(state, slots, values, step, capacity)
        largest.append(max(before, masses.max()))
        assert masses.max() <= state.scan.maximum <= max(largest[-2 * calls :])


def test_it_falls_when_a_scan_has_seen_that() -> None:
    state, slots = slots_of(1000), np.arange(1000)
    maxima = []
    for step in range(2 * 8):
        masses = np.full(1000, 5.0 if step < 8 else 0.25, np.float32)
        state = write_and_inspect(state, slots, masses, step, 1000)
        maxima.append(float(state.scan.maximum))
    assert maxima == [5.0] * 15 + [0.25]


def test_writes_that_do_not_happen_count_for_nothing() -> None:
    scan = priority_scan.after_writes(priority_scan.init(), jnp.array([np.nan, 0.5, np.nan]))
    assert tuple(scan.maxima) == (0.5, 0.5)
    assert priority_scan.after_writes(scan, jnp.full(2, np.nan)).maximum == 0.5


@pytest.mark.parametrize(("capacity", "size"), [(3, 2), (100, 100), (1000, 777), (1000, 995)])
def test_transitions_never_replayed_are_counted(capacity: int, size: int, rng: np.random.Generator) -> None:
    """All of one scan, none twice, and none that is not there."""
    state = slots_of(capacity)
    slots = rng.choice(size, size // 3, replace=False)
    for step in range({3: 1, 100: 7, 1000: 8}[capacity]):
        assert state.scan.never_replayed == 0
        state = write_and_inspect(state, slots, np.ones(len(slots), np.float32), step, size)
    assert state.scan.never_replayed == size - len(slots)
