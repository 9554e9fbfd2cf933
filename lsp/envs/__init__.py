"""Environments: making them, and the ids of our own, which importing this registers.

`lsp/RllabAnt-v0` is the study's task, `lsp/PointMass-v0` a toy; `lsp/MultiDirectionAnt-v0` and `lsp/CrossMazeAnt-v0`
are a skill and a maze to use it in. With goals: `lsp/Reacher2D-v0`, a toy as well,
`lsp/RllabAntGoal-v0`, `lsp/RllabAntVelocity-v0`, and `lsp/RllabAntStudy-v0`, the study's six variants.
"""

from typing import TYPE_CHECKING, Any

import gymnasium

from lsp.envs.box import BoxEnv, EnvironmentFault
from lsp.envs.factory import env_spec, learner_spec, make, make_env, make_seeded, spec_of
from lsp.envs.goal_box import GoalBoxEnv
from lsp.envs.state import can_restore, get_state, set_state

if TYPE_CHECKING:
    from lsp.envs.latent import make_latent_env
    from lsp.envs.rllab_ant import RllabAntEnv

__all__ = [
    "BoxEnv",
    "EnvironmentFault",
    "GoalBoxEnv",
    "RllabAntEnv",
    "can_restore",
    "env_spec",
    "get_state",
    "learner_spec",
    "make",
    "make_env",
    "make_latent_env",
    "make_seeded",
    "set_state",
    "spec_of",
]

gymnasium.register("lsp/RllabAnt-v0", "lsp.envs.rllab_ant:RllabAntEnv", max_episode_steps=1000)
gymnasium.register("lsp/MultiDirectionAnt-v0", "lsp.envs.ant_tasks:MultiDirectionAntEnv", max_episode_steps=1000)
gymnasium.register("lsp/CrossMazeAnt-v0", "lsp.envs.ant_tasks:CrossMazeAntEnv", max_episode_steps=1000)
gymnasium.register("lsp/PointMass-v0", "lsp.envs.toys:PointMassEnv", max_episode_steps=50)
gymnasium.register("lsp/Reacher2D-v0", "lsp.envs.reacher:Reacher2DEnv", max_episode_steps=50)
gymnasium.register("lsp/RllabAntGoal-v0", "lsp.envs.ant_goals:RllabAntGoalEnv", max_episode_steps=500)
gymnasium.register("lsp/RllabAntVelocity-v0", "lsp.envs.ant_goals:RllabAntVelocityEnv", max_episode_steps=500)
gymnasium.register("lsp/RllabAntStudy-v0", "lsp.envs.ant_goals:RllabAntStudyEnv", max_episode_steps=1000)


def __getattr__(name: str) -> Any:
    # On demand: the one imports MuJoCo, the other JAX, which other environments do not need.
    if name == "RllabAntEnv":
        from lsp.envs.rllab_ant import RllabAntEnv

        return RllabAntEnv
    if name == "make_latent_env":
        from lsp.envs.latent import make_latent_env

        return make_latent_env
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
