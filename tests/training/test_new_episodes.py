"""Where a worker is started again, its executors get actions for what they observe, above frozen layers as well."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp.config import ExecutorsConfig
from lsp.executors.worker_pool import WorkerPool
from lsp.training.device import Device
from lsp.training.loop import ActAfterUpdates, Loop
from lsp.training.pipelined import ActBeforeUpdates
from lsp.training.seed import Seed, StageChange, UpdateBudget
from lsp.types import ActionSample, Agent, Recipe
from tests.support.loops import POINT_MASS, Training, make_toy, toy_config, toy_replay
from tests.support.workers import Mortal, maker
from tests.support.workers import executed as executed

COUNT = 5  # executors, of 3-step returns
SPARED = frozenset[int | str]()


def layered() -> Agent:
    """An agent whose stored action is a latent: what it stands for depends on the observation."""

    def decode(params: Any, latent: Any, observation: Any) -> ActionSample:
        return ActionSample(jnp.tanh(latent + jnp.tanh(observation @ params.weights)[..., None]), latent)

    def act(params: Any, observation: Any, key: Any) -> ActionSample:
        return decode(params, jax.random.normal(key, (*observation.shape[:-1], 2)), observation)

    return make_toy(POINT_MASS)._replace(act=act, act_random=act)


def started(schedule: Any, block: int, fatal: frozenset[int | str] = SPARED, learns: bool = False) -> Training:
    """Of two workers, the first of which dies of the requests whose numbers or names are fatal."""
    config = toy_config(count=COUNT, n_step=3, block=block, learning_starts=10 if learns else 10**6)
    recipe = Recipe(layered(), toy_replay(), config)

    def is_fatal(part: range, life: int, number: int, request: str) -> bool:
        return (part[0], life) == (0, 0) and bool(fatal & {number, request})

    def launch(part: range, incarnation: int) -> Mortal:
        return Mortal(part, incarnation, is_fatal)

    assert maker(count=COUNT).config.n_step == 3
    executors = WorkerPool(launch, POINT_MASS, ExecutorsConfig(count=COUNT), 2)
    training = Training(Loop(Device(recipe, executors.spec, [0]), schedule()), [Seed(0, config, executors)])
    training.start()
    return training


@pytest.mark.parametrize("fatal", [3, 9, "get_state"])
@pytest.mark.parametrize(("schedule", "block"), [(ActAfterUpdates, 1), (ActBeforeUpdates, 2)])
def test_a_stored_latent_decodes_to_the_action_executed(
    fatal: int | str, schedule: Any, block: int, executed: list[tuple[np.ndarray, ...]]
) -> None:
    loop = started(schedule, block, frozenset([fatal]))
    for number in range(16):
        loop.advance()
        if number == 6:
            loop.get_state()
    assert loop.executors.stats()["executor_restarts"] == 2
    weights = np.asarray(loop.actor_params().weights)
    for observation, env_action, latent in executed:
        np.testing.assert_allclose(env_action, np.tanh(latent + np.tanh(observation @ weights)), rtol=1e-5, atol=1e-6)
    latents = [latent for _, _, latent in executed]
    assert len(np.unique(latents, axis=0)) == len(latents) >= 16 * COUNT  # no random number is used twice
    state = loop.state.replay
    stored = np.asarray(state.rows).reshape(-1, state.rows.shape[-1])[: int(state.size)]
    assert len(stored) == 64
    pairs = {(observation.tobytes(), latent.tobytes()) for observation, _, latent in executed}
    assert {(row[:4].tobytes(), row[4:6].tobytes()) for row in stored} <= pairs


def test_all_are_trained_on_as_many_transitions_as_if_nobody_had_died() -> None:
    plain, mortal = (started(ActAfterUpdates, 1, fatal, learns=True) for fatal in (SPARED, frozenset([9])))
    for loop in (plain, mortal):
        loop.until(20 * COUNT)
    assert (mortal.step, mortal.updates) == (plain.step, plain.updates)
    assert mortal.updates > 0


def test_transitions_of_two_layers_in_one_chunk_are_left_out() -> None:
    """At growth the next chunks are still of the layer below, but for those of a worker that is started again then."""
    above = layered()._replace(encode=lambda _, rows: (rows._replace(action=rows.action + 100), rows.reward < 1e9))
    kept = []
    for fatal in (SPARED, frozenset([12])):
        loop = started(ActAfterUpdates, 4, fatal)
        loop.until(10 * COUNT)
        recipe = loop.device.recipe._replace(agent=above)
        waiting = len(loop.seed.waiting)
        loop.begin_stage(recipe, jax.tree.map(jnp.copy, loop.state), StageChange(False, False, 0, None))
        assert loop.seed.budget.stale == 3
        chunks = []
        for _ in range(3):
            before = len(loop.seed.waiting)
            loop.advance()
            chunks.append(len(loop.seed.waiting) - before)
        kept.append((waiting, chunks, loop.seed.budget.mixed))
        assert loop.executors.stats()["executor_restarts"] == (2 if fatal else 0)
    assert kept[0] == (0, [1, 1, 1], False)
    assert kept[1] == (0, [0, 0, 0], True)


def test_what_a_budget_remembers() -> None:
    budget = UpdateBudget(10)
    budget.note_unforeseen_actions()
    assert not budget.mixed
    budget.begin_stage(StageChange(False, False, 0, None), dataclasses.replace(toy_config(), n_step=3), 100, 0)
    budget.note_unforeseen_actions()
    assert budget.mixed
    assert UpdateBudget(*budget.get_state()) == budget
    budget.begin_stage(StageChange(False, False, 0, None), toy_config(), 200, 0)
    assert not budget.mixed
