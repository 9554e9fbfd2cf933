"""SAC-LSP with prioritized replay: transitions of large TD error are drawn more often.

`modern` is LAP, Fujimoto et al. (2020), arXiv 2007.06049: priorities of at least 1, Huber's loss in place of importance
weights; and a policy that learns on uniformly drawn states, after Saglam et al. (2023), arXiv 2209.00532.

`dissertation` is Schaul et al. (2016), arXiv 1511.05952, as the study planned it: importance weights on the loss of Q
alone, annealed by epoch. `--replay.beta-bug` is as the study ran it.
"""

import dataclasses

from lsp.config import Config


def configure(config: Config) -> Config:
    """`config` with prioritized replay, and the critics' loss that its priorities ask for."""
    replay = dataclasses.replace(config.replay, kind="prioritized")
    loss = "huber" if replay.priority == "lap" else config.critic.loss
    return dataclasses.replace(config, replay=replay, critic=dataclasses.replace(config.critic, loss=loss))
