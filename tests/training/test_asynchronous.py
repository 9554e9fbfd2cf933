"""The asynchronous loop keeps the ratio of updates to data, learns from every row once, and resumes without loss."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from lsp.config import Config
from lsp.config.executors import ExecutorsConfig
from lsp.storage import checkpoint
from lsp.training.asynchronous import AsyncLoop
from lsp.training.device import Device, RunState
from lsp.training.seed import Seed, StageChange
from lsp.types import Recipe
from tests.support.loops import POINT_MASS, Training, make_toy, toy_config, toy_replay
from tests.support.workers import CHUNK, COUNT, DEPTH, assert_no_hole_and_no_duplicate, local_workers


def config(**overrides: Any) -> Config:
    executors = ExecutorsConfig(
        engine="process", mode="async", count=COUNT, chunk=CHUNK, in_flight=DEPTH, publish_every=5
    )
    return dataclasses.replace(toy_config(**overrides), executors=executors)


def recipe(**overrides: Any) -> Recipe:
    return Recipe(make_toy(POINT_MASS), toy_replay(), config(**overrides))


def make(chosen: Recipe, **workers: Any) -> Training:
    executors = local_workers(**workers)
    loop = AsyncLoop(Device(chosen, executors.spec, [chosen.config.seed]))
    return Training(loop, [Seed(0, chosen.config, executors)])


def started(chosen: Recipe, **workers: Any) -> Training:
    training = make(chosen, **workers)
    training.start()
    return training


def pool_of(training: Training) -> AsyncLoop:
    assert isinstance(training.loop, AsyncLoop)
    return training.loop


def consumed(training: Training) -> list[tuple[int, int, int]]:
    """Origins of the rows that are learned from, from now on."""
    found: list[tuple[int, int, int]] = []
    loop = pool_of(training)
    consume = loop._consume

    def spying(seed: Seed) -> None:
        origins = np.concatenate([parts[3] for parts in loop._pool])
        found.extend(map(tuple, origins[: loop._size].tolist()))
        consume(seed)

    loop._consume = spying  # type: ignore[method-assign]
    return found


@pytest.mark.parametrize("utd", [0.5, 1.0, 2.0])
def test_the_limiter(utd: float) -> None:
    loop = started(recipe(utd=utd))
    ages = []
    for _ in range(400):
        loop.advance()
        assert pool_of(loop)._pooled() < pool_of(loop)._size + DEPTH * CHUNK * COUNT  # nobody runs ahead
        metrics = loop.metrics()
        ages.append(metrics.get("staleness", 0.0))
        assert metrics.get("staleness_max", 0.0) >= ages[-1]
        if loop.step > 300:
            assert 0.9 * utd <= metrics["utd_realized"] <= 1.1 * utd
    ahead = pool_of(loop)._size + DEPTH * CHUNK * COUNT
    assert 0 < np.mean(ages) <= utd * ahead + 5 + loop.device.updates_per_dispatch
    assert loop.step > 1000
    assert loop.updates == int(loop.state.agent.updates)


def test_every_row_is_learned_from_once_through_deaths_and_a_resume(tmp_path: Path) -> None:
    chosen = recipe()
    loop = started(chosen, fatal=lambda first, life, answered: first == 0 and life == 0 and answered == 6)
    origins, episodes = consumed(loop), []
    for _ in range(60):
        episodes += loop.advance()
    host = loop.get_state()
    assert loop.executors.in_flight() == 0
    state = jax.tree.map(np.asarray, loop.state)
    _, read = checkpoint.load(checkpoint.save(tmp_path, loop.step, {}, {"loop": host}))
    assert loop.executors.stats()["executor_restarts"] == COUNT // 2

    resumed = make(chosen, workers=3, seed=1)
    resumed.set_state(read["loop"], RunState(*jax.tree.map(jax.numpy.array, state)))
    assert (resumed.step, resumed.updates) == (loop.step, loop.updates)
    line = loop.metrics()
    assert resumed.metrics() == line
    assert {"weights", "staleness"} <= line.keys()
    later = consumed(resumed)
    for _ in range(60):
        episodes += resumed.advance()
    resumed.get_state()
    rest = [tuple(origin) for parts in pool_of(resumed)._pool for origin in parts[3].tolist()]
    every = origins + later + rest
    assert len(set(every)) == len(every)
    numbers: dict[tuple[int, int], list[int]] = {}
    for executor, life, number in every:
        numbers.setdefault((executor, life), []).append(number)
    assert_no_hole_and_no_duplicate(numbers)
    assert all(min(found) == 0 for found in numbers.values())  # from the first row on
    assert len(episodes) > 40


def test_a_loop_that_goes_on_after_a_checkpoint() -> None:
    loop = started(recipe())
    for _ in range(30):
        loop.advance()
    loop.get_state()
    before = loop.step
    for _ in range(30):
        loop.advance()
    assert loop.step > before + 5 * pool_of(loop)._size


@pytest.mark.parametrize("reward", [None, "0*env"])
def test_growth(reward: str | None) -> None:
    """What has arrived is learned from in the new layer's terms, if it can be, or dropped with the old reward."""
    toy = make_toy(POINT_MASS)
    above = toy._replace(encode=lambda _, rows: (rows._replace(action=rows.action + 100), rows.reward > -0.5))
    loop = started(recipe())
    every = consumed(loop)
    while loop.step < 60:
        loop.advance()
    loop.get_state()
    before = [np.concatenate(part) for part in zip(*pool_of(loop)._pool, strict=True)]
    usable = before[0][:, 6] > -0.5
    assert 0 < sum(usable) < len(usable)
    state, updates, grown_at = jax.tree.map(jax.numpy.copy, loop.state), loop.updates, loop.step
    loop.begin_stage(recipe()._replace(agent=above), state, StageChange(False, reward is not None, 7, reward))
    assert loop.updates == updates + 7
    if reward:
        assert pool_of(loop)._pool == []
    else:
        ((rows, *others),) = pool_of(loop)._pool
        np.testing.assert_allclose(rows[:, 4:6], before[0][usable][:, 4:6] + 100)
        for ours, theirs in zip(others, before[1:], strict=True):
            np.testing.assert_array_equal(ours, theirs[usable])
    old = loop.seed.executors
    loop.loop.renew_executors(loop.seed, lambda: local_workers(workers=3, seed=1), reward or "env")
    assert loop.seed.executors is not old
    assert loop.seed.executors.stats() == old.stats()
    arrived: list[np.ndarray] = []
    receive = pool_of(loop)._receive
    pool_of(loop)._receive = lambda rollout: (arrived.append(rollout.packed), receive(rollout))  # type: ignore[method-assign, assignment]
    for _ in range(60):
        loop.advance()
    assert len(set(every)) == len(every) > 200
    assert np.any(np.concatenate(arrived)[:, 6] != 0) == (reward is None)
    since, made = (grown_at, loop.updates - updates - 7) if reward else (0, loop.updates - 7)
    assert made == pytest.approx(loop.step - since - 10, abs=pool_of(loop)._size)
