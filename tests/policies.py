"""Folders of runs that hold a policy and were never trained."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from lsp import agents, checkpoint
from lsp.config import to_dict
from lsp.run_dir import write_document
from lsp.types import EnvSpec
from tests.builders import random_params, tiny_config

PENDULUM = EnvSpec(observation_dim=3, action_dim=1)


def untrained(folder: Path, preset: str = "modern", spec: EnvSpec = PENDULUM, **overrides: Any) -> Path:
    """A run with a checkpoint at step 100, whose parameters and statistics are random; for the pendulum."""
    config = tiny_config(preset, **{"env": "Pendulum-v1"} | overrides)
    write_document(folder, {"config": to_dict(config)})
    init = agents.build(config, spec).agent.init
    actor = random_params(lambda key: init(key).actor, np.random.default_rng(0))
    stats = actor.observation_stats
    actor = actor._replace(observation_stats=stats._replace(variance=np.abs(stats.variance) + np.float32(0.1)))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(init, jax.random.key(0)))
    state = zeros._replace(actor=actor)
    checkpoint.save(folder / "checkpoints", 100, {"learner": state}, {})
    return folder
