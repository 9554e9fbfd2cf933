"""Folders of runs that hold a policy and were never trained."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from lsp.agents import stack
from lsp.config import to_dict
from lsp.storage import checkpoint
from lsp.storage.run_folder import write_document
from lsp.training import growth
from lsp.types import EnvSpec
from tests.support.builders import random_params, tiny_config

PENDULUM = EnvSpec(observation_dim=3, action_dim=1)


def untrained(
    folder: Path, preset: str = "modern", spec: EnvSpec = PENDULUM, layers: int = 1, **overrides: Any
) -> Path:
    """A run with a checkpoint at step 100, whose parameters and statistics are random; for the pendulum."""
    layering = {"layers": layers, "layer_steps": (100,) * layers, "steps": 100 * layers} if layers > 1 else {}
    config = tiny_config(preset, **{"env": "Pendulum-v1"} | layering | overrides)
    write_document(folder, {"config": to_dict(config)})
    rng = np.random.default_rng(0)
    stage = growth.first(config, spec)
    for number in range(1, layers):
        frozen = stack.frozen_flow(config.flow, spec, config.normalize.observations)
        values = random_params(frozen.init, rng, scale=0.3)
        variance = np.abs(values.observation_stats.variance) + np.float32(0.1)
        values = values._replace(observation_stats=values.observation_stats._replace(variance=variance))
        layer = stack.Layer(config.flow, spec, config.normalize.observations, values)
        stage = growth.Stage(number, (*stage.layers, layer), 0.0)
    init = stage.recipe(config, spec).agent.init
    actor = random_params(lambda key: init(key).actor, rng, scale=0.3)
    actor = actor._replace(layers=tuple(layer.values for layer in stage.layers))
    stats = actor.observation_stats
    actor = actor._replace(observation_stats=stats._replace(variance=np.abs(stats.variance) + np.float32(0.1)))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(init, jax.random.key(0)))
    state = zeros._replace(actor=actor)
    checkpoint.save(folder / "checkpoints", 100, {"learner": state}, {"stage": growth.to_host(stage)})
    return folder
