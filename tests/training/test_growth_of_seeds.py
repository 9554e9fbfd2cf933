"""Seeds that grow together are the seeds that grow alone, up to rounding."""

from typing import Any

import jax
import numpy as np
import pytest

from lsp import agents
from lsp.config import Config, validate
from lsp.training import growth
from tests.support.builders import tiny_config
from tests.support.loops import POINT_MASS, Training, make_many
from tests.support.runs import compiled_once  # noqa: F401  # a fixture

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_once")]

SEEDS = (3, 1, 4)  # on two devices: the fourth place is idle
GROWS, STEPS, WARM_UP = 38, 60, 4


def make_config(kind: str) -> Config:
    """38 steps of a layer and 22 of the next: 2 executors, 3-step returns, a dispatch every 2 steps."""
    tiny = {"env": "lsp/PointMass-v0", "n_step": 3, "block": 2, "utd": 0.5, "warmup_steps": 10, "learning_starts": 12}
    sizes = {"executors.count": 2, "replay.batch_size": 8, "replay.capacity": 64, "growth.critic_warmup": WARM_UP}
    rewards = ("env", "2*env") if kind == "another reward" else ("env",)
    layers = {"layers": 2, "steps": STEPS, "layer_steps": (GROWS, STEPS - GROWS), "layer_rewards": rewards}
    return validate(tiny_config(**tiny, **sizes, **layers, **{"normalize.rewards": True}))


def grown(config: Config, seeds: tuple[int, ...]) -> tuple[Training, list[growth.Stage]]:
    """Trained to the end, with transitions that wait at growth, of the layer below."""
    training = make_many(agents.build(config, POINT_MASS), seeds)
    training.start()
    training.until(GROWS)
    assert len(training.seed.waiting) == 1
    stages, left = growth.grow(config, growth.Stage(0, (), 0.0), training.loop, training.seeds, lambda: None)
    assert training.device.recipe.config.warmup_steps == 0
    assert growth.warm_up(config, stages[0], training.device, left, lambda text: None) == 0
    training.until(STEPS)
    return training, stages


def leaves(state: Any) -> list[np.ndarray]:
    return [np.array(leaf) for leaf in jax.tree.leaves(state)]


@pytest.mark.parametrize("kind", ["the same reward", "another reward"])
def test_seeds_grow_as_they_do_alone(kind: str) -> None:
    """Rounding apart: 1e-3 of each array's size at the end."""
    config = make_config(kind)
    many, stages = grown(config, SEEDS)
    assert [(stage.number, len(stage.layers), stage.dropped) for stage in stages] == [(1, 1, 0.0)] * 3
    ours = Training(many.loop, [many.seeds[1]])
    alone, _ = grown(config, (SEEDS[1],))
    assert (ours.step, ours.updates) == (alone.step, alone.updates)
    for mine, its in zip(leaves(ours.state), leaves(alone.state), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-3, atol=1e-3 * max(1e-3, float(np.abs(its).max())))
    host, its_host = ours.get_state(), alone.get_state()
    assert host["stage"] == its_host["stage"]
    assert len(host["waiting"]) == len(its_host["waiting"])
    assert ours.metrics().keys() == alone.metrics().keys()
    frozen = [np.array(many.device.state_of(seed.index).agent.actor.layers[0].params) for seed in many.seeds]
    assert not np.allclose(frozen[0], frozen[1])
