"""Requests are bounded, parameters arrive with the next one, and no transition is lost or comes twice."""

import time

import numpy as np
import pytest

from lsp.envs import EnvironmentFault
from lsp.executors.async_workers import AsyncWorkers, Collector
from lsp.executors.inproc import InProcess
from lsp.types import ActionSample, Rollout, RolloutRequest
from tests.support.workers import (
    CHUNK,
    COUNT,
    DEPTH,
    MAKER,
    SPEC,
    RandomPolicy,
    account,
    assert_no_hole_and_no_duplicate,
    local_workers,
)

REQUEST = RolloutRequest([np.array([2.0])], 5, False)


def collector() -> Collector:
    return Collector(InProcess(MAKER, COUNT), RandomPolicy(SPEC, range(COUNT), 0), CHUNK)


def test_transitions_of_a_collector_are_the_executors_own() -> None:
    """Those that they yield under the same actions."""
    ours, reference, policy = collector(), InProcess(MAKER, COUNT), RandomPolicy(SPEC, range(COUNT), 0)
    np.testing.assert_array_equal(ours.reset(), reference.reset())
    rollouts = [ours.collect(REQUEST) for _ in range(3)]
    chunks = []
    for step in range(3 * CHUNK + MAKER.config.n_step - 1):
        action = policy.act(np.zeros((COUNT, 4)), step, False)
        chunks.append(reference.step(ActionSample(*action)))
    complete = [chunk for chunk in chunks if chunk.complete]
    for name in ("packed", "returns", "origins"):
        expected = np.concatenate([getattr(chunk, name) for chunk in complete])
        np.testing.assert_array_equal(np.concatenate([getattr(rollout, name) for rollout in rollouts]), expected)
    episodes = [episode for chunk in chunks for episode in chunk.episodes]
    assert [episode for rollout in rollouts for episode in rollout.episodes] == episodes
    assert [rollout.version for rollout in rollouts] == [5] * 3
    for rollout in rollouts:
        np.testing.assert_allclose(rollout.priorities, 2 * np.abs(rollout.packed[:, -6]))


def test_a_collector_continues_with_its_state() -> None:
    ours, resumed = collector(), collector()
    ours.reset()
    ours.collect(REQUEST)
    resumed.set_state(ours.get_state())
    np.testing.assert_equal(resumed.collect(REQUEST)._asdict(), ours.collect(REQUEST)._asdict())


def collect(pool: AsyncWorkers, polls: int) -> list[Rollout]:
    """Request and poll, with new parameters each time, whose value is their version."""
    rollouts = []
    for version in range(polls):
        pool.publish([np.array([float(version)])], version)
        pool.request_rollouts(False)
        assert pool.in_flight() == DEPTH * len(pool._workers)
        rollouts += pool.poll(0.0)
    return rollouts


@pytest.mark.parametrize("workers", [1, 2, COUNT])
def test_what_arrives(workers: int) -> None:
    pool = local_workers(workers)
    assert pool.reset().shape == (COUNT, 4)
    rollouts = collect(pool, 30)
    rollouts += pool.drain()
    assert pool.in_flight() == 0
    assert pool.poll(0.0) == []
    assert {len(rollout.packed) for rollout in rollouts} == {CHUNK * COUNT // workers}
    numbers = account(rollouts)
    assert_no_hole_and_no_duplicate(numbers)
    assert numbers.keys() == {(executor, 0) for executor in range(COUNT)}
    assert all(worker.most <= DEPTH for worker in pool._workers)
    for rollout in rollouts:  # a rollout is of the parameters that it says
        np.testing.assert_allclose(rollout.priorities, rollout.version * np.abs(rollout.packed[:, -6]), rtol=1e-6)
    assert len({rollout.version for rollout in rollouts}) > 5


@pytest.mark.parametrize("fatal", range(1, 6))
def test_a_death_costs_only_what_was_under_way(fatal: int) -> None:
    pool = local_workers(2, lambda first, life, answered: first == 0 and life < 2 and answered == fatal + life)
    pool.reset()
    rollouts = collect(pool, 60) + pool.drain()
    assert pool.stats() == {"executor_deaths": COUNT, "executor_restarts": COUNT}
    numbers = account(rollouts)
    assert_no_hole_and_no_duplicate(numbers)
    assert {life for executor, life in numbers if executor == 0} >= {2}
    assert {life for executor, life in numbers if executor == COUNT - 1} == {0}
    assert all(np.isfinite(rollout.priorities).all() for rollout in rollouts)  # a new worker was given parameters


def test_only_silence_that_was_listened_to_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A learner that was suspended, or evaluated for an hour, does not blame its workers."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    pool = local_workers(2)
    pool.reset()
    pool._timeout, pool._wait = 10.0, lambda busy, timeout: [0]  # the other one is silent
    pool._workers[1].ready = lambda seconds: False  # type: ignore[method-assign]
    pool.publish([np.array([1.0])], 1)
    for _ in range(8):
        clock[0] += 3600.0
        pool.request_rollouts(False)
        assert [rollout.origins[0, 0] for rollout in pool.poll(0.0)] == [0]
    assert pool.stats()["executor_deaths"] == 0
    for _ in range(3):
        clock[0] += 1.0
        pool.request_rollouts(False)
        pool.poll(0.0)
    assert pool.stats() == {"executor_deaths": COUNT // 2, "executor_restarts": COUNT // 2}


def test_a_death_when_asked_for_its_state() -> None:
    pool = local_workers(2, lambda first, life, answered: (first, life, answered) == (0, 0, 3))
    pool.reset()
    pool.publish([np.array([1.0])], 1)
    pool.request_rollouts(False)
    rollouts = pool.drain()
    pool.get_state()
    pool.request_rollouts(False)
    rollouts += pool.drain()
    assert pool.stats()["executor_restarts"] == COUNT // 2
    assert all(np.isfinite(rollout.priorities).all() for rollout in rollouts)
    assert_no_hole_and_no_duplicate(account(rollouts))


def test_continues_with_its_state() -> None:
    first, second = local_workers(2), local_workers(3)
    first.reset()
    before = collect(first, 10) + first.drain()
    second.set_state(first.get_state())
    after = collect(second, 10) + second.drain()
    assert_no_hole_and_no_duplicate(account(before + after))


def test_one_that_cannot_live() -> None:
    pool = local_workers(2, lambda first, life, answered: first == 0 and answered == 1)
    pool.reset()
    pool.publish([np.array([1.0])], 1)
    pool.request_rollouts(False)
    with pytest.raises(EnvironmentFault, match="3 times in a row"):
        pool.drain()
