"""Environments: making them, and the ids `lsp/RllabAnt-v0` and `lsp/PointMass-v0`, which importing this registers."""

from typing import TYPE_CHECKING, Any

import gymnasium

from lsp.envs.box import BoxEnv, EnvironmentFault
from lsp.envs.making import make, spec_of
from lsp.envs.state import can_restore, get_state, set_state

if TYPE_CHECKING:
    from lsp.envs.rllab_ant import RllabAntEnv

__all__ = ["BoxEnv", "EnvironmentFault", "RllabAntEnv", "can_restore", "get_state", "make", "set_state", "spec_of"]

gymnasium.register("lsp/RllabAnt-v0", "lsp.envs.rllab_ant:RllabAntEnv", max_episode_steps=1000)
gymnasium.register("lsp/PointMass-v0", "lsp.envs.toys:PointMassEnv", max_episode_steps=50)


def __getattr__(name: str) -> Any:
    # The class on demand: it imports MuJoCo, which other environments do not need.
    if name == "RllabAntEnv":
        from lsp.envs.rllab_ant import RllabAntEnv

        return RllabAntEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
