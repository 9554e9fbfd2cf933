"""Asynchronous processes deliver every row once, also while they are killed."""

import dataclasses
import os
import signal
from pathlib import Path

import numpy as np

from lsp.config.executors import ExecutorsConfig
from lsp.executors.async_process import make_fleet
from tests.support.fleets import (
    CHUNK,
    COUNT,
    DEPTH,
    MAKER,
    SPEC,
    NumpyActor,
    account,
    assert_no_hole_and_no_duplicate,
    hasten,
    pids,
)
from tests.support.processes import gone

CONFIG = ExecutorsConfig(engine="process", mode="async", count=COUNT, chunk=CHUNK, in_flight=DEPTH)


def test_a_worker_that_hangs() -> None:
    seconds = 1.5
    fleet = make_fleet(dataclasses.replace(CONFIG, timeout=seconds), MAKER, NumpyActor, SPEC, 2)
    fleet._timeout = 60.0  # to start up
    try:
        fleet.reset()
        hauls, victim = [], pids(fleet)[1]
        for version in range(1, 10**6):
            fleet.publish([np.full(100_000, version, np.float32)], version)
            fleet.order(False)
            hauls += fleet.poll(1.0)
            if version == 20:
                hasten(fleet, seconds)
                os.kill(victim, signal.SIGSTOP)
            if version > 20 and fleet.stats()["executor_restarts"] and len(hauls) > 100:
                break
        hauls += fleet.drain()
        assert fleet.stats() == {"executor_deaths": COUNT // 2, "executor_restarts": COUNT // 2}
        assert gone([victim], 0.0)
    finally:
        fleet.close()
    numbers = account(hauls)
    assert_no_hole_and_no_duplicate(numbers)
    assert len(numbers) == 3 * COUNT // 2


def test_every_row_once_under_kills() -> None:
    shared = set(os.listdir("/dev/shm"))
    fleet = make_fleet(CONFIG, MAKER, NumpyActor, SPEC, 2)
    try:
        fleet.reset()
        hauls, kills = [], 0
        for version in range(1, 10**6):
            fleet.publish([np.full(100_000, version, np.float32)], version)  # more than a pipe holds
            fleet.order(False)
            hauls += fleet.poll(1.0)
            if len(hauls) > 60 * (kills + 1) and kills < 2:
                os.kill(pids(fleet)[kills], signal.SIGKILL)
                kills += 1
            if len(hauls) > 250:
                break
        hauls += fleet.drain()
        assert fleet.stats() == {"executor_deaths": COUNT, "executor_restarts": COUNT}
        state, processes = fleet.get_state(), pids(fleet)
    finally:
        fleet.close()
    assert gone(processes, 0.0)
    assert set(os.listdir(Path("/dev/shm"))) <= shared
    numbers = account(hauls)
    assert_no_hole_and_no_duplicate(numbers)
    assert len(numbers) == 2 * COUNT
    for haul in hauls:
        np.testing.assert_allclose(haul.priorities, haul.version * np.abs(haul.rows[:, -6]), rtol=1e-6)
    for executor, life, following in state["origins"].tolist():
        assert following == len(numbers[executor, life])
