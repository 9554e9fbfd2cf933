"""Seeds that train together are the seeds that train alone, lanes never mix, and a step is one dispatch for all."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
import pytest

from lsp import envs
from lsp.agents import build, presets
from lsp.config import Config
from lsp.executors.executor import Executor
from lsp.executors.inproc import InProcess
from lsp.training import sweep
from lsp.training.device import Dispatches
from lsp.training.loop import Loop
from lsp.training.sweep import Lane, Sweep
from lsp.types import Recipe
from tests.support.builders import tiny_config
from tests.support.loops import POINT_MASS, make_loop, toy_config, toy_recipe
from tests.support.runs import compiled_once  # noqa: F401  # a fixture

pytestmark = pytest.mark.usefixtures("compiled_once")

SEEDS = (3, 1, 4)  # on two devices: the fourth lane is idle
STEPS = 40


@functools.cache
def recipe_of(agent: str) -> Recipe:
    """The toy, or a tiny agent on the point mass: 2 executors, 3-step returns, a dispatch every 2 steps."""
    if agent == "toy":
        return toy_recipe(toy_config(count=2, block=2, utd=0.5))
    tiny = {"env": "lsp/PointMass-v0", "n_step": 3, "block": 2, "utd": 0.5, "warmup_steps": 10, "learning_starts": 20}
    config = tiny_config(**tiny, **{"executors.count": 2, "replay.batch_size": 8})
    replay = dataclasses.replace(presets(agent).replay, capacity=64, batch_size=8)
    return build(dataclasses.replace(config, agent=agent, replay=replay), POINT_MASS)


@functools.cache
def _compiled(recipe: Recipe, num_updates: int, devices: tuple[jax.Device, ...]) -> Dispatches:
    return ORIGINAL(recipe, POINT_MASS, num_updates, devices)


ORIGINAL = sweep.make_dispatches


@pytest.fixture(autouse=True)
def _shared_compilations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "make_dispatches", lambda recipe, spec, n, devices: _compiled(recipe, n, tuple(devices)))


def seeded(recipe: Recipe, seed: int) -> Config:
    return dataclasses.replace(recipe.config, seed=seed)


def started(recipe: Recipe, seeds: tuple[int, ...] = SEEDS) -> tuple[Sweep, list[Lane]]:
    """A sweep whose lanes have taken their first observations: episodes of 7 and 8 steps."""
    many = Sweep(recipe, POINT_MASS, seeds)
    lanes = []
    for seed in seeds:

        def executor(index: int, seed: int = seed) -> Executor:
            env = envs.make(recipe.config.env, max_episode_steps=7 + index)
            return Executor(env, 100 * seed + index, recipe.config.gamma, recipe.config.n_step)

        lanes.append(many.join(seeded(recipe, seed), InProcess(executor, recipe.config.executors.count)))
        lanes[-1].start()
    many.start(lanes)
    return many, lanes


def advance(many: Sweep, lanes: list[Lane], steps: int) -> list[Any]:
    """Step `lanes` until each has made so many environment steps; returns the episodes that ended."""
    episodes = []
    while lanes[0].step < steps:
        episodes += [lane.collect() for lane in lanes]
        many.answer(lanes)
    return episodes


def leaves(state: Any) -> list[np.ndarray]:
    return [np.array(leaf) for leaf in jax.tree.leaves(state)]


def poisoned(leaf: np.ndarray) -> np.ndarray:
    return leaf + np.float32(np.nan) if leaf.dtype == np.float32 else leaf


def single(recipe: Recipe, seed: int) -> Loop:
    loop = make_loop(recipe._replace(config=seeded(recipe, seed)))
    loop.start()
    return loop


@pytest.mark.parametrize("agent", ["sac_lsp", "prioritized"])
def test_seeds_are_their_single_runs(agent: str) -> None:
    """Two devices, an idle lane. Batched products sum in another order, hence 1e-3 of each array's size at the end."""
    recipe = recipe_of(agent)
    many, lanes = started(recipe)
    assert jax.tree.leaves(many.state)[0].shape[:2] == (2, 2)
    assert len(jax.tree.leaves(many.state)[0].sharding.device_set) == 2
    advance(many, lanes, STEPS)
    for lane in lanes:
        loop = single(recipe, lane.config.seed)
        while loop.step < STEPS:
            loop.advance()
        assert (lane.step, lane.updates) == (loop.step, loop.updates)
        assert lane.updates == 10
        for ours, alone in zip(leaves(lane.state), leaves(loop.state), strict=True):
            np.testing.assert_allclose(ours, alone, rtol=1e-3, atol=1e-3 * max(1e-3, float(np.abs(alone).max())))
        host, alone_host = lane.get_state(), loop.get_state()
        np.testing.assert_allclose(host.pop("actions"), alone_host.pop("actions"), atol=1e-3)
        np.testing.assert_allclose(list(lane.metrics().values()), list(loop.metrics().values()), rtol=0.01, atol=1e-3)
        assert lane.metrics().keys() == loop.metrics().keys()
        assert host.keys() == alone_host.keys()


def test_seeds_differ() -> None:
    many, lanes = started(recipe_of("toy"))
    advance(many, lanes, 12)
    weights = [lane.state.agent.weights for lane in lanes]
    assert not np.allclose(weights[0], weights[1])
    assert not np.allclose(weights[1], weights[2])


def test_a_broken_lane_stays_alone() -> None:
    """One lane's learner turns to NaN and is stepped no longer; the others do not change by a bit."""
    recipe = recipe_of("sac_lsp")
    many, lanes = started(recipe)
    advance(many, lanes, STEPS)
    broken_many, (first, broken, last) = started(recipe)
    advance(broken_many, [first, broken, last], 24)
    broken_many.set_lane(broken.index, jax.tree.map(poisoned, broken.state))
    advance(broken_many, [first, last], STEPS)
    assert np.isnan(leaves(broken.state.agent)[0]).all()
    for lane, other in ((lanes[0], first), (lanes[2], last)):
        np.testing.assert_equal(leaves(other.state), leaves(lane.state))
        np.testing.assert_equal(other.get_state(), lane.get_state())


def test_one_dispatch_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many the lanes, and nothing is compiled anew once each function has run."""
    many, lanes = started(recipe_of("toy"))
    advance(many, lanes, 24)
    calls: list[str] = []

    def counted(name: str) -> Any:
        function = getattr(many.dispatches, name)
        return lambda *arguments: (calls.append(name), function(*arguments))[1]

    counters = {name: counted(name) for name in ("act", "collect", "learn", "actor_params")}
    monkeypatch.setattr(many, "dispatches", many.dispatches._replace(**counters))
    with jax.log_compiles(False), jax.no_tracing():
        advance(many, lanes, 32)
    assert calls == ["actor_params", "act", "learn"] * 2


def test_lanes_and_loops_take_over_from_each_other() -> None:
    """A checkpoint of a lane goes on in a single run and back, in another lane, without a changed bit."""
    recipe = recipe_of("toy")
    many, lanes = started(recipe)
    advance(many, lanes, 25)
    lane = lanes[1]
    loop = single(recipe, lane.config.seed)
    assert jax.tree.map(lambda leaf: leaf.shape, lane.release()) == jax.tree.map(np.shape, lane.state)
    host, state = lane.get_state(), jax.tree.map(jax.numpy.array, lane.state)
    loop.set_state(host, state)
    np.testing.assert_equal(loop.get_state(), host)

    others, back = started(recipe, (9, 7, 1))
    back[2].set_state(loop.get_state(), loop.state)
    np.testing.assert_equal(leaves(back[2].state), leaves(state))
    np.testing.assert_equal(back[2].get_state(), host)
    assert back[2].metrics() == lane.metrics() != {}
    loop_params, params = loop.actor_params(), back[2].actor_params()
    np.testing.assert_equal(leaves(params), leaves(loop_params))
    assert all(len(leaf.sharding.device_set) == 1 for leaf in jax.tree.leaves(params))
    del others


def test_one_seed_is_a_sweep() -> None:
    recipe = recipe_of("toy")
    many, lanes = started(recipe, (3,))
    three, three_lanes = started(recipe)
    advance(many, lanes, 20)
    advance(three, three_lanes, 20)
    for ours, theirs in zip(leaves(lanes[0].state), leaves(three_lanes[0].state), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
