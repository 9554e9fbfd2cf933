"""SAC-LSP with prioritized replay: rows of large TD error are drawn more often.

`modern` is LAP, Fujimoto et al. (2020), arXiv 2007.06049: priorities of at least 1, Huber's loss in place of importance
weights; and a policy that learns on uniformly drawn states, after Saglam et al. (2023), arXiv 2209.00532.

`dissertation` is Schaul et al. (2016), arXiv 1511.05952, as the study planned it: importance weights on the loss of Q
alone, annealed by epoch. `--replay.beta-bug` is as the study ran it.
"""

import dataclasses
from typing import TYPE_CHECKING

from lsp.config import Config, ReplayConfig

if TYPE_CHECKING:
    from lsp.replay.annealing import Schedule
    from lsp.types import Replay


def configure(config: Config) -> Config:
    """`config` with prioritized replay, and the critics' loss that its priorities ask for."""
    replay = dataclasses.replace(config.replay, kind="prioritized")
    loss = "huber" if replay.priority == "lap" else config.critic.loss
    return dataclasses.replace(config, replay=replay, critic=dataclasses.replace(config.critic, loss=loss))


def make_replay(config: ReplayConfig) -> "Replay":
    """The prioritized replay of a configuration."""
    # JAX is imported here and not above, because the command line reads the registry before it needs any of this.
    from lsp.replay import make_prioritized

    return make_prioritized(
        config.capacity,
        config.batch_size,
        alpha=config.alpha,
        beta=_beta(config),
        epsilon=config.epsilon,
        priority=config.priority,
        scheme=config.scheme,
        weights=config.weights,
        policy_batch=config.policy_batch,
        rank_refresh=config.rank_refresh,
    )


def _beta(config: ReplayConfig) -> "Schedule":
    from lsp.replay import annealing

    if config.beta_bug:
        return annealing.anneal_as_coded(config.beta, config.beta_final, config.beta_updates)
    every = annealing.EPOCH if config.beta_schedule == "epochs" else 1
    return annealing.anneal(config.beta, config.beta_final, config.beta_updates, every)
