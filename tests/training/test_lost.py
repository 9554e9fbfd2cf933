"""After a fault the executors are asked nothing: what was data stays, and new episodes begin."""

from typing import Any

import numpy as np
import pytest

from lsp.executors.terminals_last import TerminalsLast
from lsp.training.pipelined import ActBeforeUpdates
from tests.support.loops import (
    POINT_MASS,
    make_executors,
    make_loop,
    share_compilations,
    started,
    toy_config,
    toy_recipe,
)


class Deaf:
    """What is left of executors that a fault has hit: it knows which there were."""

    def __init__(self, executors: Any) -> None:
        self.new_episodes, self.spec = executors.new_episodes, executors.spec


@pytest.mark.parametrize("schedule", [None, ActBeforeUpdates])
@pytest.mark.parametrize("steps", [1, 3, 9])
def test_a_run_goes_on(steps: int, schedule: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the transitions that wait for their block none is lost, however many there are; shapes stay what they were."""
    recipe = toy_recipe(toy_config(count=2, block=4, n_step=3))
    share_compilations(monkeypatch, recipe.config)
    run = started(recipe, schedule=schedule and schedule())
    run.until(2 * steps)
    waiting = [packed.copy() for packed, _ in run.seed.waiting]
    assert len(waiting) == max(0, steps - 2) % 4
    run.seed.executors = Deaf(run.executors)  # type: ignore[assignment]
    host = run.loop.get_state(run.seed, lost=True)
    other = make_loop(recipe, schedule=schedule and schedule())
    other.set_state(host, run.state)
    other.loop.act_again(other.seeds)
    np.testing.assert_array_equal([packed for packed, _ in other.seed.waiting], waiting)
    first = np.stack([each["observation"] for each in other.executors.get_state()["executors"]])
    np.testing.assert_array_equal(other.seed.observations, first)
    actions, before = np.array(other.seed.actions), other.updates
    other.advance()
    other.advance()
    assert len(other.seed.waiting) == len(waiting)  # while three-step returns accumulate
    other.advance()
    packed = (other.seed.waiting or [(None, None)])[-1][0]
    if packed is not None:  # the first transition is of the actions that were chosen for the first observation
        layout = POINT_MASS.observation_dim
        np.testing.assert_array_equal(packed[:, :layout], first)
        np.testing.assert_array_equal(packed[:, layout : layout + 2], actions[:, 2:])
    other.until(2 * steps + 100)
    assert other.updates > before + 80


@pytest.mark.parametrize("wrap", [lambda executors: executors, lambda executors: TerminalsLast(executors, 3)])
def test_new_episodes_are_new(wrap: Any) -> None:
    """Other first states and other origins each time, also where nothing happened in between; the queue stays."""
    config = toy_config(count=2)
    executors = wrap(make_executors(config, 0))
    firsts = [executors.reset()]
    states = []
    for step in (40, 40, 42):
        states.append(executors.new_episodes(step))
        executors = wrap(make_executors(config, 0))
        executors.set_state(states[-1])
        firsts.append(np.stack([each["observation"] for each in executors.get_state()["executors"]]))
    assert len(np.unique(np.concatenate(firsts), axis=0)) == 8
    assert [state["origins"].tolist() for state in states] == [[[0, i, 0], [1, i, 0]] for i in (1, 2, 3)]


def test_what_is_not_in_the_terms_of_the_layer_is_left_out() -> None:
    run = started(toy_recipe(toy_config(block=8)))
    run.until(5)
    run.seed.unsettled, run.seed.budget.stale = 2, 1
    host = run.loop.get_state(run.seed, lost=True)
    assert len(host["waiting"]) == 3
    assert host["stage"][-1] == 0
    run.seed.unsettled = 0
    run.seed.waiting += run.seed.waiting[:3]  # a block that is full, and was not sent
    assert len(run.loop.get_state(run.seed, lost=True)["waiting"]) == 7
    assert len(run.loop.get_state(run.seed)["waiting"]) == 8


def test_asynchronous_workers_act_with_keys_that_nobody_used() -> None:
    """How often each has acted only they know; it was less often than all together have been heard of."""
    from lsp.executors import async_workers

    workers = async_workers.AsyncWorkers.__new__(async_workers.AsyncWorkers)
    workers.spec, workers._incarnations, workers._parts = POINT_MASS, [0, 4], [range(2), range(2, 3)]
    state = workers.new_episodes(1_000)
    assert state["acted"].tolist() == [1_000 + async_workers.BEYOND] * 3
    assert state["origins"].tolist() == [[0, 1, 0], [1, 1, 0], [2, 5, 0]]
    assert len({each["steps"] for each in state["executors"]}) == 2
