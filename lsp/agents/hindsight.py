"""SAC-LSP for tasks with goals: a policy, critics and normalizers that see the goal, and hindsight replay.

`modern` is Andrychowicz et al. (2017), arXiv 1707.01495, relabelled when sampling, on `lsp/Reacher2D-v0` unless told
otherwise. `dissertation` is the study's section 3.4 on `lsp/RllabAntStudy-v0`, of which `--env-kwargs` chooses one of
six variants, such as {"goal": "velocity", "reward": "sum"}; its code stored five rows where here one is relabelled.
"""

import dataclasses
from typing import TYPE_CHECKING

from lsp.config import Config, ConfigError, GoalsConfig

if TYPE_CHECKING:
    from lsp.types import EnvSpec, Replay


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


def with_hindsight(memory: "Replay", config: Config, spec: "EnvSpec") -> "Replay":
    """`memory` as `--goals` asks for. Raises ConfigError where the environment has no goals."""
    if config.goals.kind == "none":
        return memory
    if spec.goals is None:
        remedy = "choose one that has, such as lsp/Reacher2D-v0, or --goals.kind=none"
        raise ConfigError(f"--goals.kind={config.goals.kind}: environment {config.env} has no goals: {remedy}")
    # JAX is imported here and not above, because the command line reads the registry before it needs any of this.
    from lsp.replay import make_hindsight

    goals: GoalsConfig = config.goals
    return make_hindsight(
        memory,
        spec.goals,
        config.gamma,
        num_executors=config.executors.count,
        strategy=goals.strategy,
        k=goals.k,
        include_own=goals.include_own,
    )
