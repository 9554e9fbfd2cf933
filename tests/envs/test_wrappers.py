"""Wrappers are found from the outside in."""

import gymnasium
from gymnasium.wrappers import TimeLimit

from lsp.envs.toys import PointMassEnv
from lsp.envs.wrappers import unwrap


def test_from_the_outside_in() -> None:
    base = PointMassEnv()
    inner = TimeLimit(base, 5)
    outer: gymnasium.Wrapper = TimeLimit(inner, 3)
    assert unwrap(outer) == ([outer, inner], base)
    assert unwrap(base) == ([], base)
