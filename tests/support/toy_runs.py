"""Whole runs of a learner of a few numbers: all that a session does, and next to nothing to compile."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsp import agents
from lsp.config import Config, stages
from lsp.replay import make_uniform
from lsp.storage import checkpoint
from lsp.training import device
from lsp.training.device import Compiled
from lsp.training.run import Run
from lsp.training.transforms import Transform
from lsp.types import EnvSpec, Recipe, Replay
from tests.support.loops import BATCH, ORIGINAL, make_toy
from tests.support.runs import command, newest, records, snapshot

POINT_MASS = {"env": "lsp/PointMass-v0", "env-kwargs": "{}"}


@functools.cache
def replay() -> Replay:
    return make_uniform(512, BATCH)


def build(config: Config, spec: EnvSpec, layers: Sequence[Any] = (), stage: int = 0) -> Recipe:
    """As `lsp.agents.build`, of the toy."""
    return Recipe(make_toy(spec), replay(), stages.of_stage(config, stage, len(layers)))


@pytest.fixture(scope="module")
def toy_agents() -> Iterator[None]:
    """Runs train the toy, and share what is compiled."""
    compiled: dict[Any, Compiled] = {}

    def shared(recipe: Recipe, spec: EnvSpec, num_updates: int, transform: Transform) -> Compiled:
        key = spec, num_updates, getattr(transform, "_shape", None)
        if key not in compiled:
            compiled[key] = ORIGINAL(recipe, spec, num_updates, transform)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agents, "build", build)
        patch.setattr(device, "compile", shared)
        patch.setattr(Run, "save_layers", lambda run: None)
        yield


def toy_command(folder: Path, **overrides: Any) -> list[str]:
    """The command line of such a run."""
    return command(folder, **POINT_MASS | overrides)


def assert_same(one: Path, other: Path) -> None:
    """Two runs did and wrote the same, up to the wall clock."""
    arrays, others = (
        {name: data for name, data in snapshot(newest(each)).items() if name.endswith(".npy")} for each in (one, other)
    )
    assert arrays == others
    hosts = [checkpoint.load(newest(each))[1] for each in (one, other)]
    for host in hosts:
        for different in ("seconds", "offsets", "config"):
            del host[different]
    np.testing.assert_equal(*hosts)
    for name in ("metrics.jsonl", "eval.jsonl"):
        assert records(one / name) == records(other / name)
