"""Acting one dispatch behind: with which parameters, by every engine alike, and exactly resumable."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from lsp.envs import env_spec
from lsp.executors.inproc import InProcess
from lsp.executors.process import make_process
from lsp.storage import checkpoint
from lsp.training.device import Device, RunState, act
from lsp.training.loop import ActAfterUpdates, Loop
from lsp.training.pipelined import ActBeforeUpdates
from lsp.training.seed import Seed
from lsp.types import Recipe
from tests.support.loops import (
    POINT_MASS,
    Training,
    device_state,
    make_loop,
    make_toy,
    share_compilations,
    toy_config,
    toy_recipe,
)
from tests.support.workers import maker

STEPS = 40


@pytest.fixture(autouse=True)
def _shared(monkeypatch: pytest.MonkeyPatch) -> None:
    share_compilations(monkeypatch)


def pipelined(recipe: Recipe) -> Training:
    return make_loop(recipe, schedule=ActBeforeUpdates())


@pytest.mark.parametrize("block", [1, 4])
def test_actions_come_from_the_parameters_before_the_latest_dispatch(block: int) -> None:
    loop = pipelined(toy_recipe(toy_config(block=block, count=2, utd=2.0)))
    loop.start()
    jitted = jax.jit(partial(act, make_toy(POINT_MASS)))
    seen, step = [], loop.executors.step
    loop.executors.step = lambda actions: seen.append(step(actions)) or seen[-1]
    behind = []
    for number in range(1, 25):
        before = loop.actor_params()
        loop.advance()
        if number % block == 0:
            acting = before
        elif number < block:
            acting = loop.actor_params()
        arguments = (acting, loop.root, np.int32(loop.step), seen[-1].observations, np.bool_(loop.step < 5))
        np.testing.assert_allclose(loop.get_state()["actions"], jitted(*arguments), rtol=1e-5)
        behind.append(loop.updates - int(acting.updates))
    assert set(behind[2 * block + 8 :]) == {2 * 2 * block}


def test_what_is_learned_is_what_strict_lock_step_would_learn_from_the_same_rows() -> None:
    """Warm-up makes the rows the same; the learner is then the same too, whatever it acted on."""
    recipe = toy_recipe(toy_config(block=2, count=2, warmup_steps=10**6))
    strict, behind = make_loop(recipe), pipelined(recipe)
    for loop in (strict, behind):
        loop.start()
        for _ in range(STEPS):
            loop.advance()
    assert strict.updates == behind.updates > 0
    for ours, theirs in zip(device_state(behind), device_state(strict), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert behind.metrics().keys() == strict.metrics().keys()


@pytest.mark.parametrize("block", [1, 3])
def test_goes_on_exactly(block: int, tmp_path: Path) -> None:
    recipe = toy_recipe(toy_config(block=block, n_step=3, count=2))
    straight = pipelined(recipe)
    straight.start()
    saved: dict[int, Any] = {}
    for number in range(STEPS):
        if number in (0, 1, 16, 20):
            state = jax.tree.map(np.asarray, straight.state)
            path = checkpoint.save(tmp_path, number, {}, {"loop": straight.get_state()})
            saved[number] = (path, jax.tree.map(np.array, state))
        straight.advance()
    for number, (path, state) in saved.items():
        resumed = pipelined(recipe)
        _, host = checkpoint.load(path)
        resumed.set_state(host["loop"], RunState(*jax.tree.map(jax.numpy.array, state)))
        for _ in range(STEPS - number):
            resumed.advance()
        np.testing.assert_equal(device_state(resumed), device_state(straight))
        np.testing.assert_equal(resumed.get_state(), straight.get_state())


@pytest.mark.parametrize("schedule", [ActAfterUpdates, ActBeforeUpdates])
def test_engines_are_equal_to_the_bit(schedule: Any) -> None:
    """300 lock-step iterations of a learner whose numbers depend on every transition, every key and their order."""
    recipe = toy_recipe(toy_config(block=1, n_step=3, count=8))
    make, spec = maker(recipe.config.env, count=8, limit=9), env_spec(recipe.config)
    found = []
    for workers in (0, 8, 2):
        config = dataclasses.replace(recipe.config.executors, engine="process", workers=workers)
        executors = make_process(config, make, None, spec) if workers else InProcess(make, 8)
        try:
            device = Device(recipe, executors.spec, [recipe.config.seed])
            loop = Training(Loop(device, schedule()), [Seed(0, recipe.config, executors)])
            loop.start()
            for _ in range(300):
                loop.advance()
            found.append((device_state(loop), loop.get_state()))
        finally:
            executors.close()
    np.testing.assert_equal(found[1], found[0])
    np.testing.assert_equal(found[2], found[0])
