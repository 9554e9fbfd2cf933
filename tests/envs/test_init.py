import gymnasium
import pytest

import lsp.envs
from lsp.envs.rllab_ant import RllabAntEnv


def test_importing_registers_the_ids_with_their_time_limits():
    limits = {
        "lsp/RllabAnt-v0": 1000,
        "lsp/PointMass-v0": 50,
        "lsp/Reacher2D-v0": 50,
        "lsp/RllabAntGoal-v0": 500,
        "lsp/RllabAntVelocity-v0": 500,
        "lsp/RllabAntStudy-v0": 1000,
    }
    assert {name: gymnasium.spec(name).max_episode_steps for name in limits} == limits


@pytest.mark.parametrize("name", lsp.envs.__all__)
def test_every_public_name_is_there(name):
    assert getattr(lsp.envs, name).__name__ == name


def test_the_ants_class_comes_on_demand_and_nothing_else_does():
    assert lsp.envs.RllabAntEnv is RllabAntEnv
    with pytest.raises(AttributeError, match=r"'lsp\.envs' has no attribute 'Nothing'"):
        _ = lsp.envs.Nothing
