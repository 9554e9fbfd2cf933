"""Folders of runs that hold a policy and were never trained."""

from pathlib import Path
from typing import Any

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
    rng = np.random.default_rng(0)
    state = random_params(agents.build(config, spec).agent.init, rng)
    stats = state.actor.observation_stats
    stats = stats._replace(variance=np.abs(stats.variance) + np.float32(0.1))
    state = state._replace(actor=state.actor._replace(observation_stats=stats))
    checkpoint.save(folder / "checkpoints", 100, {"learner": state}, {})
    return folder
