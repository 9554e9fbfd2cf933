"""SAC-LSP for tasks with goals: a policy, critics and normalizers that see the goal, and hindsight replay.

`modern` is Andrychowicz et al. (2017), arXiv 1707.01495, relabelled when sampling, on `lsp/Reacher2D-v0` unless told
otherwise. `dissertation` is the study's section 3.4 on `lsp/RllabAntStudy-v0`, of which `--env-kwargs` chooses one of
six variants, such as {"goal": "velocity", "reward": "sum"}; its code stored five transitions where one is relabelled
here.
"""

import dataclasses

from lsp.config import Config


def configure(config: Config) -> Config:
    """`config` with hindsight, single-step returns, and a task that has goals."""
    config = dataclasses.replace(config, n_step=1, goals=dataclasses.replace(config.goals, kind="hindsight"))
    if config.preset == "dissertation":
        return dataclasses.replace(config, env="lsp/RllabAntStudy-v0")
    critic = dataclasses.replace(config.critic, learning_rate=1e-3, tau=0.02)
    policy = dataclasses.replace(config.policy, learning_rate=1e-3)
    replay = dataclasses.replace(config.replay, batch_size=256)
    config = dataclasses.replace(config, critic=critic, policy=policy, replay=replay)
    return dataclasses.replace(config, env="lsp/Reacher2D-v0", gamma=0.95, warmup_steps=1_000, learning_starts=1_000)
