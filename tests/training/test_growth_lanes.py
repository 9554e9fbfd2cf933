"""Seeds that grow together are the seeds that grow alone, up to rounding; and no lane sees another."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from lsp import agents, envs
from lsp.config import Config, stages, validate
from lsp.executors.executor import Executor
from lsp.executors.inproc import InProcess
from lsp.training import growth, growth_lanes
from lsp.training.loop import Loop
from lsp.training.sweep import Lane, Sweep
from lsp.types import Recipe
from tests.support.builders import tiny_config
from tests.support.loops import POINT_MASS
from tests.support.runs import compiled_once  # noqa: F401  # a fixture

pytestmark = pytest.mark.usefixtures("compiled_once")

SEEDS = (3, 1, 4)  # on two devices: the fourth lane is idle
GROWS, STEPS, WARM_UP = 38, 60, 4


def make_config(kind: str) -> Config:
    """38 steps of a layer and 22 of the next: 2 executors, 3-step returns, a dispatch every 2 steps."""
    tiny = {"env": "lsp/PointMass-v0", "n_step": 3, "block": 2, "utd": 0.5, "warmup_steps": 10, "learning_starts": 12}
    sizes = {"executors.count": 2, "replay.batch_size": 8, "replay.capacity": 64, "growth.critic_warmup": WARM_UP}
    rewards = ("env", "2*env") if kind == "another reward" else ("env",)
    layers = {"layers": 2, "steps": STEPS, "layer_steps": (GROWS, STEPS - GROWS), "layer_rewards": rewards}
    return validate(tiny_config(**tiny, **sizes, **layers, **{"normalize.rewards": True}))


def executors(config: Config, seed: int) -> InProcess:
    def make(index: int) -> Executor:
        env = envs.make(config.env, max_episode_steps=7 + index)
        return Executor(env, 100 * seed + index, config.gamma, config.n_step, stages.reward_of(config, 0))

    return InProcess(make, config.executors.count)


def seeded(recipe: Recipe, seed: int) -> Config:
    return dataclasses.replace(recipe.config, seed=seed)


def started(config: Config) -> tuple[Sweep, list[Lane]]:
    recipe = agents.build(config, POINT_MASS)
    many = Sweep(recipe, POINT_MASS, SEEDS)
    lanes = [many.join(seeded(recipe, seed), executors(config, seed)) for seed in SEEDS]
    for lane in lanes:
        lane.start()
    many.start(lanes)
    return many, lanes


def advance(many: Sweep, lanes: list[Lane], steps: int) -> None:
    while lanes[0].step < steps:
        for lane in lanes:
            lane.collect()
        many.answer(lanes)


def grown_alone(config: Config, seed: int) -> Loop:
    recipe = agents.build(config, POINT_MASS)
    loop = Loop(recipe._replace(config=seeded(recipe, seed)), executors(config, seed))
    loop.start()
    while loop.step < GROWS:
        loop.advance()
    growth.grow(config, growth.Stage(0, (), 0.0), recipe, loop)
    while loop.step < STEPS:
        loop.advance()
    return loop


def leaves(state: Any) -> list[np.ndarray]:
    return [np.array(leaf) for leaf in jax.tree.leaves(state)]


@pytest.mark.parametrize("kind", ["the same reward", "another reward"])
def test_seeds_grow_as_they_do_alone(kind: str) -> None:
    """With rows that wait at growth, of the layer below. Rounding apart: 1e-3 of each array's size at the end."""
    config = make_config(kind)
    many, lanes = started(config)
    advance(many, lanes, GROWS)
    assert len(lanes[0].waiting) == 1
    stages, recipe = growth_lanes.grow(config, growth.Stage(0, (), 0.0), many, lanes)
    assert [(stage.number, len(stage.layers), stage.dropped) for stage in stages] == [(1, 1, 0.0)] * 3
    assert recipe.config.warmup_steps == 0
    advance(many, lanes, STEPS)
    lane = lanes[1]
    loop = grown_alone(config, lane.config.seed)
    assert (lane.step, lane.updates) == (loop.step, loop.updates)
    for ours, alone in zip(leaves(lane.state), leaves(loop.state), strict=True):
        np.testing.assert_allclose(ours, alone, rtol=1e-3, atol=1e-3 * max(1e-3, float(np.abs(alone).max())))
    host, alone_host = lane.get_state(), loop.get_state()
    assert host["stage"] == alone_host["stage"]
    assert len(host["waiting"]) == len(alone_host["waiting"])
    assert lane.metrics().keys() == loop.metrics().keys()
    frozen = [np.array(lane.state.agent.actor.layers[0].params) for lane in lanes]
    assert not np.allclose(frozen[0], frozen[1])


def test_a_row_that_cannot_be_used_is_left_out_of_all_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that they stay in step; the other lanes' rows that can be used stay as they are."""
    config = make_config("the same reward")
    many, lanes = started(config)
    for lane in lanes:
        lane.waiting = [(np.full((2, 12), i, np.float32), np.zeros(2, np.float32)) for i in range(3)]
        lane.unsettled = 2
    verdicts = {3: [True, True], 1: [True, False], 4: [True, True]}

    def encode(lane: Lane) -> Any:
        pairs = zip(lane.waiting[1:], verdicts[lane.config.seed], strict=True)
        return [((rows + 10, returns), ok) for (rows, returns), ok in pairs]

    monkeypatch.setattr(Lane, "encode_unsettled", encode)
    many._settle(lanes)
    for lane in lanes:
        assert [rows[0, 0] for rows, _ in lane.waiting] == [0, 11]
        assert lane.unsettled == 0
