"""Asynchronous processes deliver every transition once, also while they are killed."""

import dataclasses
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from lsp.executors.async_workers import AsyncWorkers
from lsp.executors.process import make_process
from tests.support.processes import gone
from tests.support.workers import (
    CONFIG,
    COUNT,
    MAKER,
    SPEC,
    RandomPolicy,
    account,
    assert_no_hole_and_no_duplicate,
    hasten,
    pids,
)


def start(**fields: float) -> AsyncWorkers:
    """Two workers."""
    pool = make_process(dataclasses.replace(CONFIG, workers=2, **fields), MAKER, RandomPolicy, SPEC)
    assert isinstance(pool, AsyncWorkers)
    return pool


@pytest.mark.slow
def test_a_worker_that_hangs() -> None:
    seconds = 1.5
    pool = start(timeout=seconds)
    pool._timeout = 60.0  # to start up
    try:
        pool.reset()
        rollouts, victim = [], pids(pool)[1]
        for version in range(1, 10**6):
            pool.publish([np.full(100_000, version, np.float32)], version)
            pool.request_rollouts(False)
            rollouts += pool.poll(1.0)
            if version == 20:
                hasten(pool, seconds)
                os.kill(victim, signal.SIGSTOP)
            if version > 20 and pool.stats()["executor_restarts"] and len(rollouts) > 100:
                break
        rollouts += pool.drain()
        assert pool.stats() == {"executor_deaths": COUNT // 2, "executor_restarts": COUNT // 2}
        assert gone([victim], 0.0)
    finally:
        pool.close()
    numbers = account(rollouts)
    assert_no_hole_and_no_duplicate(numbers)
    assert len(numbers) == 3 * COUNT // 2


def test_every_row_once_under_kills() -> None:
    shared = set(os.listdir("/dev/shm"))
    pool = start()
    try:
        pool.reset()
        rollouts, kills = [], 0
        for version in range(1, 10**6):
            pool.publish([np.full(100_000, version, np.float32)], version)  # more than a pipe holds
            pool.request_rollouts(False)
            rollouts += pool.poll(1.0)
            if len(rollouts) > 60 * (kills + 1) and kills < 2:
                os.kill(pids(pool)[kills], signal.SIGKILL)
                kills += 1
            if len(rollouts) > 250:
                break
        rollouts += pool.drain()
        assert pool.stats() == {"executor_deaths": COUNT, "executor_restarts": COUNT}
        state, processes = pool.get_state(), pids(pool)
    finally:
        pool.close()
    assert gone(processes, 0.0)
    assert set(os.listdir(Path("/dev/shm"))) <= shared
    numbers = account(rollouts)
    assert_no_hole_and_no_duplicate(numbers)
    assert len(numbers) == 2 * COUNT
    for rollout in rollouts:
        np.testing.assert_allclose(rollout.priorities, rollout.version * np.abs(rollout.packed[:, -6]), rtol=1e-6)
    for executor, life, following in state["origins"].tolist():
        assert following == len(numbers[executor, life])
