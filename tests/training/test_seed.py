"""Seeds that train together are the seeds that train alone, they never mix, and a step is one dispatch for all."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
import pytest

from lsp.agents import build, presets
from lsp.types import Recipe
from tests.support.builders import tiny_config
from tests.support.loops import (
    POINT_MASS,
    Training,
    device_state,
    make_many,
    share_compilations,
    toy_config,
    toy_recipe,
)
from tests.support.runs import compiled_once  # noqa: F401  # a fixture

pytestmark = pytest.mark.usefixtures("compiled_once")

SEEDS = (3, 1, 4)  # on two devices: the fourth place is idle
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


def started(recipe: Recipe, seeds: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> Training:
    share_compilations(monkeypatch, recipe.config, len(seeds))
    many = make_many(recipe, seeds)
    many.start()
    return many


def alone(recipe: Recipe, seed: int, monkeypatch: pytest.MonkeyPatch) -> Training:
    return started(recipe, (seed,), monkeypatch)


def leaves(tree: Any) -> list[np.ndarray]:
    return [np.array(leaf) for leaf in jax.tree.leaves(tree)]


def poisoned(leaf: np.ndarray) -> np.ndarray:
    return leaf + np.float32(np.nan) if leaf.dtype == np.float32 else leaf


def of(many: Training, index: int) -> Training:
    """One of several seeds, to look at."""
    return Training(many.loop, [many.seeds[index]])


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["sac_lsp", "prioritized"])
def test_seeds_are_their_single_runs(agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two devices, an idle place. Batched products sum in another order, hence 1e-3 of each array's size at the end."""
    recipe = recipe_of(agent)
    many = started(recipe, SEEDS, monkeypatch)
    assert jax.tree.leaves(many.device.state)[0].shape[:2] == (2, 2)
    assert len(jax.tree.leaves(many.device.state)[0].sharding.device_set) == 2
    many.until(STEPS)
    for index, seed in enumerate(SEEDS):
        ours, single = of(many, index), alone(recipe, seed, monkeypatch)
        single.until(STEPS)
        assert (ours.step, ours.updates) == (single.step, single.updates)
        assert ours.updates == 10
        for mine, its in zip(leaves(ours.state), leaves(single.state), strict=True):
            np.testing.assert_allclose(mine, its, rtol=1e-3, atol=1e-3 * max(1e-3, float(np.abs(its).max())))
        host, its_host = ours.get_state(), single.get_state()
        np.testing.assert_allclose(host.pop("actions"), its_host.pop("actions"), atol=1e-3)
        metrics, its_metrics = ours.metrics(), single.metrics()
        np.testing.assert_allclose(list(metrics.values()), list(its_metrics.values()), rtol=0.01, atol=1e-3)
        assert metrics.keys() == its_metrics.keys() != set()
        assert host.keys() == its_host.keys()


def test_seeds_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    many = started(recipe_of("toy"), SEEDS, monkeypatch)
    many.until(12)
    weights = [np.array(of(many, index).state.agent.weights) for index in range(3)]
    assert not np.allclose(weights[0], weights[1])
    assert not np.allclose(weights[1], weights[2])


def test_a_broken_seed_stays_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One seed's learner turns to NaN and is stepped no longer; the others do not change by a bit."""
    recipe = recipe_of("sac_lsp")
    many = started(recipe, SEEDS, monkeypatch)
    many.until(STEPS)
    other = started(recipe, SEEDS, monkeypatch)
    other.until(24)
    broken = other.seeds.pop(1)
    state = jax.tree.map(poisoned, other.device.state_of(broken.index))
    other.device.set_state(broken.index, state)
    other.until(STEPS)
    assert np.isnan(leaves(other.device.state_of(broken.index).agent)[0]).all()
    for index, survivor in ((0, other.seeds[0]), (2, other.seeds[1])):
        ours, theirs = of(many, index), Training(other.loop, [survivor])
        np.testing.assert_equal(device_state(theirs), device_state(ours))
        np.testing.assert_equal(theirs.get_state(), ours.get_state())


def test_one_dispatch_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many the seeds, and nothing is compiled again once each function has run."""
    many = started(recipe_of("toy"), SEEDS, monkeypatch)
    many.until(24)
    calls: list[str] = []

    def counted(name: str) -> Any:
        function = getattr(many.device.compiled, name)
        return lambda *arguments: (calls.append(name), function(*arguments))[1]

    counters = {name: counted(name) for name in ("act", "collect", "advance", "store", "learn", "actor_params")}
    monkeypatch.setattr(many.device, "compiled", many.device.compiled._replace(**counters))
    with jax.log_compiles(False), jax.no_tracing():
        many.until(32)
    assert calls == ["actor_params", "act", "advance"] * 2


def test_seeds_take_over_from_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint of one of several continues in a single run and back, in another place, without a changed bit."""
    recipe = recipe_of("toy")
    many = started(recipe, SEEDS, monkeypatch)
    many.until(25)
    ours = of(many, 1)
    single = alone(recipe, SEEDS[1], monkeypatch)
    host, state = ours.get_state(), jax.tree.map(jax.numpy.array, ours.state)
    shapes = many.device.release(1)
    assert jax.tree.map(lambda leaf: leaf.shape, shapes) == jax.tree.map(np.shape, state)
    single.set_state(host, state)
    np.testing.assert_equal(single.get_state(), host)

    back = of(started(recipe, (9, 7, 1), monkeypatch), 2)
    back.set_state(single.get_state(), single.state)
    np.testing.assert_equal(leaves(back.state), leaves(state))
    np.testing.assert_equal(back.get_state(), host)
    assert back.metrics() == ours.metrics() != {}
    np.testing.assert_equal(leaves(back.actor_params()), leaves(single.actor_params()))
    assert all(len(leaf.sharding.device_set) == 1 for leaf in jax.tree.leaves(back.actor_params()))


def test_one_of_several_is_close_to_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of("toy")
    one, three = alone(recipe, SEEDS[0], monkeypatch), started(recipe, SEEDS, monkeypatch)
    one.until(20)
    three.until(20)
    for ours, theirs in zip(leaves(one.state), leaves(of(three, 0).state), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_an_unusable_transition_is_left_out_of_all_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that they stay in step; the other seeds' chunks that can be used stay as they are."""
    many = started(recipe_of("toy"), SEEDS, monkeypatch)
    verdicts = iter([True, True, True, False, True, True])  # two chunks a seed; the second seed's latter is unusable
    encode = lambda _, packed: (packed + 10, np.full(2, next(verdicts)))  # noqa: E731
    monkeypatch.setattr(many.device, "compiled", many.device.compiled._replace(encode=encode))
    for seed in many.seeds:
        seed.waiting = [(np.full((2, 12), i, np.float32), np.zeros(2, np.float32)) for i in range(3)]
        seed.unsettled = 2
    many.loop._settle(many.seeds)  # type: ignore[attr-defined]
    for seed in many.seeds:
        assert [packed[0, 0] for packed, _ in seed.waiting] == [0, 11]
        assert seed.unsettled == 0
