"""Parameters, configurations and batches that several tests share; small, so that they compile and run at once."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lsp.config import Config, FlowConfig, dissertation
from lsp.types import Batch, EnvSpec, Transition

SPEC = EnvSpec(observation_dim=3, action_dim=2)
FLOWS: dict[str, dict[str, Any]] = {
    "modern": {"hidden_sizes": (8,), "embedding_sizes": (8, 4), "zero_init": False},
    "dissertation": {
        "hidden_sizes": (0,),
        "embedding_sizes": (8, 0),
        "zero_init": False,
        "activation": "tanh",
        "separate_nets": True,
        "max_log_scale": math.inf,
        "bias_std": 1.0,
    },
}


def random_params(init: Callable[[jax.Array], Any], rng: np.random.Generator, scale: float = 1.0) -> Any:
    """Parameters of `init`'s structure, drawn by NumPy: kernels N(0, 1/fan-in), the rest N(0, 1/4), times `scale`.

    Nothing is compiled, and no initializer's zeros hide a term.
    """

    def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        std = scale / math.sqrt(leaf.shape[0]) if len(leaf.shape) == 2 else scale / 2
        return rng.normal(0.0, std, leaf.shape).astype(np.float32)

    return jax.tree.map(draw, jax.eval_shape(init, jax.random.key(0)))


def tiny_config(preset: str = "modern", **overrides: Any) -> Config:
    """A preset with networks of a few units. `overrides` by dotted name: `**{"flow.num_couplings": 1}`."""
    config = dissertation(Config()) if preset == "dissertation" else Config(flow=FlowConfig(zero_init=False))
    sizes = {"flow.hidden_sizes": (4,), "flow.embedding_sizes": (4,), "critic.hidden_sizes": (8, 8)}
    for name, value in (sizes | overrides).items():
        *section, field = name.split(".")
        if section:
            value = dataclasses.replace(getattr(config, section[0]), **{field: value})
        config = dataclasses.replace(config, **{section[0] if section else field: value})
    return config


def make_batch(rng: np.random.Generator, size: int = 6, spec: EnvSpec = SPEC, discount: float = 0.99) -> Batch:
    """Random rows as NumPy arrays; weights differ from one, so that a test sees whether they are used."""

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    observation_dim, action_dim, _ = spec
    transitions = Transition(
        observation=normal(size, observation_dim),
        action=normal(size, action_dim),
        reward=normal(size),
        discount=np.full(size, discount, np.float32),
        next_observation=normal(size, observation_dim),
    )
    weights = rng.uniform(0.5, 1.0, size).astype(np.float32)
    return Batch(transitions, np.arange(size, dtype=np.int32), weights)
