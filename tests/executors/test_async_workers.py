"""Orders are bounded, parameters arrive with the next order, and no row is lost or comes twice."""

import time

import numpy as np
import pytest

from lsp.envs import EnvironmentFault
from lsp.executors.async_workers import Fleet
from lsp.types import Haul
from tests.support.fleets import CHUNK, COUNT, DEPTH, account, assert_no_hole_and_no_duplicate, local_fleet


def collect(fleet: Fleet, polls: int) -> list[Haul]:
    """Order and poll, with new parameters each time, whose value is their version."""
    hauls = []
    for version in range(polls):
        fleet.publish([np.array([float(version)])], version)
        fleet.order(False)
        assert fleet.in_flight() == DEPTH * len(fleet._workers)
        hauls += fleet.poll(0.0)
    return hauls


@pytest.mark.parametrize("workers", [1, 2, COUNT])
def test_what_arrives(workers: int) -> None:
    fleet = local_fleet(workers)
    assert fleet.reset().shape == (COUNT, 4)
    hauls = collect(fleet, 30)
    hauls += fleet.drain()
    assert fleet.in_flight() == 0
    assert fleet.poll(0.0) == []
    assert {len(haul.rows) for haul in hauls} == {CHUNK * COUNT // workers}
    numbers = account(hauls)
    assert_no_hole_and_no_duplicate(numbers)
    assert numbers.keys() == {(executor, 0) for executor in range(COUNT)}
    assert all(worker.most <= DEPTH for worker in fleet._workers)
    for haul in hauls:  # a haul is of the parameters that it says
        np.testing.assert_allclose(haul.priorities, haul.version * np.abs(haul.rows[:, -6]), rtol=1e-6)
    assert len({haul.version for haul in hauls}) > 5


@pytest.mark.parametrize("fatal", range(1, 6))
def test_a_death_costs_only_what_was_under_way(fatal: int) -> None:
    fleet = local_fleet(2, lambda first, life, answered: first == 0 and life < 2 and answered == fatal + life)
    fleet.reset()
    hauls = collect(fleet, 60) + fleet.drain()
    assert fleet.stats() == {"executor_deaths": COUNT, "executor_restarts": COUNT}
    numbers = account(hauls)
    assert_no_hole_and_no_duplicate(numbers)
    assert {life for executor, life in numbers if executor == 0} >= {2}
    assert {life for executor, life in numbers if executor == COUNT - 1} == {0}
    assert all(np.isfinite(haul.priorities).all() for haul in hauls)  # a new worker was given parameters


def test_only_silence_that_was_listened_to_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A learner that was suspended, or evaluated for an hour, does not blame its workers."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    fleet = local_fleet(2)
    fleet.reset()
    fleet._timeout, fleet._wait = 10.0, lambda busy, timeout: [0]  # the other one is silent
    fleet._workers[1].ready = lambda seconds: False  # type: ignore[method-assign]
    fleet.publish([np.array([1.0])], 1)
    for _ in range(8):
        clock[0] += 3600.0
        fleet.order(False)
        assert [haul.origins[0, 0] for haul in fleet.poll(0.0)] == [0]
    assert fleet.stats()["executor_deaths"] == 0
    for _ in range(3):
        clock[0] += 1.0
        fleet.order(False)
        fleet.poll(0.0)
    assert fleet.stats() == {"executor_deaths": COUNT // 2, "executor_restarts": COUNT // 2}


def test_a_death_when_asked_for_its_state() -> None:
    fleet = local_fleet(2, lambda first, life, answered: (first, life, answered) == (0, 0, 3))
    fleet.reset()
    fleet.publish([np.array([1.0])], 1)
    fleet.order(False)
    hauls = fleet.drain()
    fleet.get_state()
    fleet.order(False)
    hauls += fleet.drain()
    assert fleet.stats()["executor_restarts"] == COUNT // 2
    assert all(np.isfinite(haul.priorities).all() for haul in hauls)
    assert_no_hole_and_no_duplicate(account(hauls))


def test_goes_on_with_its_state() -> None:
    first, second = local_fleet(2), local_fleet(3)
    first.reset()
    before = collect(first, 10) + first.drain()
    second.set_state(first.get_state())
    after = collect(second, 10) + second.drain()
    assert_no_hole_and_no_duplicate(account(before + after))


def test_one_that_cannot_live() -> None:
    fleet = local_fleet(2, lambda first, life, answered: first == 0 and answered == 1)
    fleet.reset()
    fleet.publish([np.array([1.0])], 1)
    fleet.order(False)
    with pytest.raises(EnvironmentFault, match="3 times in a row"):
        fleet.drain()
