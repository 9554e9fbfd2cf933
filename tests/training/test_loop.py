"""The schedule of updates, what is compiled and when, what is donated, and that nothing but the seed decides."""

import dataclasses
import logging
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp.replay import make_uniform
from lsp.training import device
from lsp.training.device import act
from lsp.training.loop import ActAfterUpdates
from lsp.training.pipelined import ActBeforeUpdates
from lsp.training.seed import StageChange
from lsp.types import Chunk, Recipe
from tests.support.loops import (
    CAPACITY,
    POINT_MASS,
    ant_recipe,
    device_state,
    make_many,
    make_toy,
    record_only,
    share_compilations,
    started,
    toy_config,
    toy_recipe,
)


@pytest.fixture(autouse=True)
def _shared(monkeypatch: pytest.MonkeyPatch) -> None:
    share_compilations(monkeypatch)


# Schedule


@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize(("utd", "count"), [(0.25, 1), (1.0, 1), (1.5, 1), (3.0, 1), (0.5, 3), (1.5, 2)])
def test_updates_are_those_that_the_data_earned(
    utd: float, count: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatched = record_only(monkeypatch)
    loop = started(toy_recipe(toy_config(utd=utd, count=count, block=block)))
    per_dispatch = int(np.ceil(utd * block * count))
    for steps in range(1, 201):
        loop.advance()
        earned = int(utd * max(0, count * steps - 10))
        assert loop.step == count * steps
        assert loop.updates <= earned
        if steps % block == 0:
            assert earned - loop.updates < per_dispatch
    assert earned - per_dispatch < loop.updates == sum(number for number, _ in dispatched)
    assert {number for number, _ in dispatched} == {0, per_dispatch}  # two shapes to compile, whatever the ratio


@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize("n_step", [1, 3])
def test_every_row_is_sent_once_and_in_order(n_step: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dispatched = record_only(monkeypatch)
    loop = started(toy_recipe(toy_config(n_step=n_step, block=block, count=2)))
    chunks = record(loop)
    for steps in range(1, 25):
        loop.advance()
        complete = [chunk.packed for chunk in chunks if chunk.complete]
        assert len(complete) == max(0, steps - n_step + 1)
        assert len(dispatched) == len(complete) // block
        assert {rows.shape for _, rows in dispatched} <= {(2 * block, 12)}
    sent = np.concatenate([rows for _, rows in dispatched])
    np.testing.assert_array_equal(sent, np.concatenate(complete)[: len(sent)])


def record(loop: Any) -> list[Chunk]:
    """Every chunk that the executors hand over from now on."""
    chunks, step = [], loop.executors.step

    def recording(actions: Any) -> Chunk:
        chunks.append(step(actions))
        return chunks[-1]

    loop.executors.step = recording
    return chunks


@pytest.mark.parametrize("block", [1, 4])
def test_actions_come_from_the_latest_parameters_and_observations(block: int) -> None:
    loop = started(toy_recipe(toy_config(block=block, count=2, utd=2.0)))
    chunks = record(loop)
    jitted = jax.jit(act, static_argnums=0)
    seen = []
    for _ in range(16):
        loop.advance()
        random = loop.step < 5
        arguments = (loop.actor_params(), loop.root, np.int32(loop.step), chunks[-1].observations, np.bool_(random))
        np.testing.assert_allclose(loop.get_state()["actions"], jitted(make_toy(POINT_MASS), *arguments), rtol=1e-5)
        seen.append(int(loop.actor_params().updates))
    changes = [after != before for before, after in pairwise(seen)]
    assert changes[10:] == ([True] * 5 if block == 1 else [True, False, False, False, True])


# Acting


def test_random_actions_are_uniform_and_stored_before_tanh() -> None:
    count = 1000
    agent = ant_recipe().agent
    params = jax.jit(lambda key: agent.actor_params(agent.init(key)))(jax.random.key(0))
    arguments = (np.int32(7), np.ones((count, 125), np.float32), np.bool_(True))
    actions = np.asarray(jax.jit(partial(act, agent))(params, jax.random.key(0), *arguments))
    env_action, layer_action = np.split(actions, 2, axis=1)
    np.testing.assert_allclose(np.tanh(layer_action), env_action, atol=1e-6)
    for column in env_action.T:
        distance = np.abs(np.sort(column) - np.linspace(-1, 1, count)).max() / 2  # Kolmogorov-Smirnov
        assert distance < 1.95 / np.sqrt(count)  # passed by all but one in a thousand
    assert np.abs(np.corrcoef(env_action.T) - np.eye(8)).max() < 0.15


# Compilation


def compilations(records: list[logging.LogRecord]) -> list[str]:
    """What JAX says it compiled, in the order of time."""
    return [record.getMessage().split()[1] for record in records if record.getMessage().startswith("Compiling ")]


def test_nothing_is_compiled_twice_and_nothing_runs_outside_jit(caplog: pytest.LogCaptureFixture) -> None:
    """An operation outside jit would be compiled on its own, and so be seen here."""
    config = toy_config(n_step=3, block=4, count=2)
    recipe = Recipe(make_toy(POINT_MASS), make_uniform(CAPACITY, 8), config)
    loop = started(recipe)
    jax.clear_caches()
    with jax.log_compiles():
        for _ in range(300):
            loop.advance()
    assert loop.updates > 500
    once = ["jit(act)", "jit(advance)", "jit(advance)", "jit(copy_actor_params)"]  # advance: with updates and without
    assert sorted(compilations(caplog.records)) == once


@pytest.mark.slow
def test_the_real_agent_compiles_once(caplog: pytest.LogCaptureFixture) -> None:
    """No leaf of its state changes its dtype, weak type or shape on the way."""
    loop = started(ant_recipe())
    for _ in range(24):
        loop.advance()
    assert loop.updates > 0
    loop.metrics()
    caplog.clear()
    with jax.log_compiles():
        for _ in range(100):
            loop.advance()
        assert all(map(np.isfinite, loop.metrics().values()))
    assert compilations(caplog.records) == []


# Memory


def test_state_is_donated_and_stays_where_it_is() -> None:
    loop = started(toy_recipe(toy_config(utd=2.0)))
    for _ in range(20):
        before, where = loop.state, loop.state.replay.rows.unsafe_buffer_pointer()
        kept = loop.actor_params()
        loop.metrics()
        loop.get_state()
        loop.advance()
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))
        assert loop.state.replay.rows.unsafe_buffer_pointer() == where
        assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(kept))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's account of memory")
def test_memory_does_not_grow() -> None:
    loop = started(toy_recipe(toy_config(env="lsp/RllabAnt-v0", utd=0.25, block=4)), limit=50)

    def resident_after(steps: int) -> int:
        for _ in range(steps):
            loop.advance()
        return 4096 * int(Path("/proc/self/statm").read_text().split()[1])

    before = resident_after(1_000)
    assert resident_after(4_000) - before < 2**21  # a row kept from each step would be 2**22


# What decides


def run(recipe: Recipe, steps: int = 30) -> list[np.ndarray]:
    loop = started(recipe)
    for _ in range(steps):
        loop.advance()
    return device_state(loop)


@pytest.mark.parametrize("agent", ["real", "toy"])
def test_the_seed_decides_everything(agent: str) -> None:
    recipe = {"real": ant_recipe(), "toy": toy_recipe(toy_config())}[agent]
    once, again = run(recipe), run(recipe)
    other = run(recipe._replace(config=dataclasses.replace(recipe.config, seed=1)))
    np.testing.assert_equal(again, once)
    differs = [not np.array_equal(*leaves) for leaves in zip(other, once, strict=True) if leaves[0].dtype == np.float32]
    assert sum(differs) >= 2  # replay's rows and the learner


def test_metrics_never_steer() -> None:
    recipe = toy_recipe(toy_config(utd=2.0))

    def silent_update(*arguments: Any) -> Any:
        state, info = recipe.agent.update(*arguments)
        return state, info._replace(metrics={})

    def one_metric(*_: Any) -> Any:
        return {"nothing": jnp.zeros(())}

    silent = recipe._replace(
        agent=recipe.agent._replace(update=silent_update), replay=recipe.replay._replace(metrics=one_metric)
    )
    np.testing.assert_equal(run(silent), run(recipe))


def test_metrics_are_of_the_updates_since_the_last_line() -> None:
    loop = started(toy_recipe(toy_config(utd=3.0)))
    while loop.updates == 0:
        assert loop.metrics() == {}
        loop.advance()
    line = loop.metrics()
    assert sorted(line) == ["batch_age", "replay_size", "updates", "weights"]
    assert line["updates"] == np.mean([0, 1, 2])
    assert line["replay_size"] == loop.step
    assert loop.metrics() == {}
    for _ in range(100):
        loop.advance()
    line = loop.metrics()
    assert line["updates"] == np.mean(range(3, 303))
    assert line["replay_size"] == CAPACITY
    assert int(loop.state.agent.updates) == loop.updates


@pytest.mark.parametrize("schedule", [ActAfterUpdates, ActBeforeUpdates])
def test_metrics_of_a_dispatch_that_is_not_finite_show_in_the_line(schedule: Any) -> None:
    recipe = toy_recipe(toy_config())
    update = recipe.agent.update

    def broken_once(state: Any, *arguments: Any) -> Any:
        after, info = update(state, *arguments)
        strange = jnp.where(state.updates == 20, jnp.nan, info.metrics["weights"])
        return after, info._replace(metrics=info.metrics | {"weights": strange})

    loop = make_many(recipe._replace(agent=recipe.agent._replace(update=broken_once)), (0,), schedule=schedule())
    loop.start()
    loop.until(100)
    assert np.isnan(loop.metrics()["weights"])
    loop.until(120)
    assert np.isfinite(loop.metrics()["weights"])


def test_every_action_and_every_update_has_a_key_of_its_own() -> None:
    recipe = toy_recipe(toy_config(utd=3.0, count=2))
    agent, keys, draws = recipe.agent, [], []

    def spying_act(params: Any, observation: Any, key: Any) -> Any:
        jax.debug.callback(lambda data: keys.append(tuple(data.tolist())), jax.random.key_data(key))
        return agent.act(params, observation, key)

    def spying_update(state: Any, batch: Any, key: Any) -> Any:
        jax.debug.callback(lambda indices: draws.append(tuple(indices.tolist())), batch.indices)
        jax.debug.callback(lambda data: keys.append(tuple(data.tolist())), jax.random.key_data(key))
        return agent.update(state, batch, key)

    loop = started(recipe._replace(agent=agent._replace(act=spying_act, update=spying_update)))
    for _ in range(20):
        loop.advance()
    jax.effects_barrier()
    assert len(set(keys)) == len(keys) == 1 + 20 + loop.updates
    assert len(set(draws)) == len(draws) == loop.updates > 60


# Growth


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("reward", [None, "0*env"])
def test_rows_on_their_way_at_growth(reward: str | None, n_step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the layer below are re-encoded, here marked by 100, and no others; or dropped with the old reward."""
    fake = record_only(monkeypatch)
    make = device.compile
    marked = np.zeros(12, np.float32)
    marked[4:6] = 100

    def encode(_: Any, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return rows + marked, np.ones(len(rows), bool)

    monkeypatch.setattr(device, "compile", lambda *arguments: make(*arguments)._replace(encode=encode))
    recipe = toy_recipe(toy_config(count=2, block=4, n_step=n_step))
    plain, grown = started(recipe), started(recipe)
    rows: dict[Any, np.ndarray] = {}
    for loop in (plain, grown):
        fake.clear()
        for step in range(42):
            if loop is grown and step == 10:
                loop.begin_stage(recipe, loop.state, StageChange(False, reward is not None, 0, reward))
            loop.advance()
        rows[loop] = np.concatenate([part for _, part in fake])
    ours, theirs = rows[grown], rows[plain]
    before = 2 * (10 - n_step + 1)  # rows that were complete
    sent = before // 8 * 8
    if reward is None:
        until = 2 * (10 + 1)  # the actions of the next step had been chosen already
        np.testing.assert_array_equal(ours[:sent], theirs[:sent])
        np.testing.assert_array_equal(ours[sent:until], theirs[sent:until] + marked)
        np.testing.assert_array_equal(ours[until:], theirs[until:])
        return
    np.testing.assert_array_equal(ours[:sent], theirs[:sent])
    later = ours[sent:]
    assert np.all(later[:, 6] == 0)
    assert np.any(theirs[:, 6] != 0)
    np.testing.assert_array_equal(later[:2, :6], theirs[20:22, :6] + marked[:6])
    both = min(len(later), len(theirs) - 20)
    np.testing.assert_array_equal(later[2:both, :6], theirs[22 : 20 + both, :6])
    assert both > 50
