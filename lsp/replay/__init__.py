"""Replay memories: bundles of pure functions over arrays that stay on the device."""

from lsp.replay.hindsight import make_hindsight, relabel
from lsp.replay.prioritized import make_prioritized
from lsp.replay.uniform import make_uniform

__all__ = ["make_hindsight", "make_prioritized", "make_uniform", "relabel"]
