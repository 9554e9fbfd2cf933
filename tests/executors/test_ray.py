"""Actors of a Ray cluster do what executors in this process do, in lock-step to the bit, and survive being killed."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from lsp.config import ConfigError, ExecutorsConfig
from lsp.envs import EnvironmentFault
from lsp.executors.inproc import InProcess
from lsp.types import ActionSample
from tests.support.environments import broken
from tests.support.processes import gone
from tests.support.workers import (
    CHUNK,
    COUNT,
    DEPTH,
    MAKER,
    SPEC,
    RandomPolicy,
    account,
    assert_no_hole_and_no_duplicate,
    hasten,
)

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # starting Ray takes half a minute


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster on this machine, for all tests."""
    from lsp.executors import ray as engine

    engine._connect(ExecutorsConfig(engine="ray", count=COUNT, workers=2))
    yield
    ray.shutdown()


def make(workers: int = 2, make_executor: Any = MAKER, **fields: Any) -> Any:
    from lsp.executors.ray import make_ray

    config = ExecutorsConfig(engine="ray", count=COUNT, workers=workers, chunk=CHUNK, in_flight=DEPTH, **fields)
    return make_ray(config, make_executor, RandomPolicy, SPEC)


@pytest.mark.usefixtures("cluster")
def test_equal_executors_in_process_to_the_bit() -> None:
    pool, reference = make(), InProcess(MAKER, COUNT)
    np.testing.assert_array_equal(pool.reset(), reference.reset())
    for action in np.random.default_rng(1).uniform(-1, 1, (300, COUNT, 2)).astype(np.float32):
        both = ActionSample(action, action + 10)
        np.testing.assert_equal(pool.step(both)._asdict(), reference.step(both)._asdict())
    np.testing.assert_equal(pool.get_state(), reference.get_state())
    pool.set_state(reference.get_state())
    np.testing.assert_equal(pool.step(both)._asdict(), reference.step(both)._asdict())
    pool.close()


@pytest.mark.usefixtures("cluster")
def test_every_row_once_under_kills() -> None:
    pool = make(mode="async")
    pool.reset()
    rollouts: list[Any] = []
    for version in range(1, 10**6):
        pool.publish([np.full(100_000, version, np.float32)], version)
        pool.request_rollouts(False)
        rollouts += pool.poll(1.0)
        assert pool.in_flight() <= 2 * DEPTH
        if version == 40:
            victim = pool._workers[0].process_id()
            os.kill(victim, signal.SIGKILL)
        if version > 40 and pool.stats()["executor_restarts"] and len(rollouts) > 120:
            break
    rollouts += pool.drain()
    assert gone([victim])
    assert pool.stats() == {"executor_deaths": COUNT // 2, "executor_restarts": COUNT // 2}
    numbers = account(rollouts)
    assert_no_hole_and_no_duplicate(numbers)
    assert numbers.keys() >= {(0, 0), (0, 1), (COUNT - 1, 0)}
    for rollout in rollouts:
        np.testing.assert_allclose(rollout.priorities, rollout.version * np.abs(rollout.packed[:, -6]), rtol=1e-6)
    pool.close()


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_an_actor_that_hangs(mode: str) -> None:
    pool = make(mode=mode, timeout=60.0)
    pool.reset()
    victim = pool._workers[1].process_id()
    hasten(pool, 2.0)
    os.kill(victim, signal.SIGSTOP)
    if mode == "sync":
        action = np.zeros((COUNT, 2), np.float32)
        origins = [tuple(each) for _ in range(20) for each in pool.step(ActionSample(action, action)).origins.tolist()]
        assert len(set(origins)) == len(origins) > 0
    else:
        pool.publish([np.ones(1)], 1)
        rollouts: list[Any] = []
        while len(rollouts) < 100 or not pool.stats()["executor_restarts"]:
            pool.request_rollouts(False)
            rollouts += pool.poll(1.0)
        assert_no_hole_and_no_duplicate(account(rollouts + pool.drain()))
    assert pool.stats() == {"executor_deaths": COUNT // 2, "executor_restarts": COUNT // 2}
    assert gone([victim])
    pool.close()


@pytest.mark.usefixtures("cluster")
def test_a_fault_in_an_environment_is_told_as_in_process() -> None:
    pool = make(make_executor=broken)
    action = np.zeros((COUNT, 1), np.float32)
    pool.reset()
    pool.step(ActionSample(action, action))
    with pytest.raises(EnvironmentFault, match=r"^environment countdown raised ArithmeticError: no more at step 2$"):
        pool.step(ActionSample(action, action))
    pool.close()


@pytest.mark.usefixtures("cluster")
def test_more_workers_than_the_cluster_has_room_for() -> None:
    with pytest.raises(ConfigError, match=r"--executors.workers=5: the cluster has 2 CPUs, and a worker takes one"):
        make(workers=5)
