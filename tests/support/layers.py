"""A frozen layer that nobody trained."""

import numpy as np

from lsp import normalizers
from lsp.agents import stack
from lsp.agents.stack import Layer
from lsp.config import FlowConfig
from lsp.hierarchy import Frozen
from tests.support.builders import SPEC, random_params, tiny_config

CONFIG = tiny_config().flow


def make_layer(seed: int = 0, config: FlowConfig = CONFIG, normalized: bool = True, scale: float = 1.0) -> Layer:
    """A layer of random parameters and of statistics unlike those of no data."""
    rng = np.random.default_rng(seed)
    shapes = stack.frozen_flow(config, SPEC, normalized).init
    params = random_params(lambda key: shapes(key).params, rng, scale)
    stats = normalizers.Moments(np.float32(9), np.float32([1, -2, 0.5]), np.float32([4, 0.25, 1]))
    return Layer(config, SPEC, normalized, Frozen(params, stats))
