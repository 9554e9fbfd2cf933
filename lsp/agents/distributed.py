"""SAC-LSP with several executors, after Ape-X: Horgan et al. (2018), arXiv 1803.00933.

Executors step side by side, and new rows enter prioritized replay with the TD errors that they have on arrival. One
dispatch of the learner stores the rows of a step, ranks them, updates, and chooses all the next actions.

Eight executors take one step each between two updates, in both presets: at equal updates there is eight times the data
of one executor, and on one core most of a run's time is still the learner's. `--utd=1` makes an update a transition
instead, for where steps are dear and minutes are not.
"""

import dataclasses

from lsp.agents import prioritized
from lsp.config import Config

COUNT = 8
"""Executors of the study."""
QUEUE = 10_000
"""Transitions that the study's learner waited for."""
LEARNING_RATE = 1e-3
"""Adam's step size, in `modern`: with eight new transitions an update, larger steps do not overfit. On the study's ant
seed 1 returned 6,513 after 300,000 updates, where 3e-4 had 4,297 (`runs/published/headline_s1`, `headline_3e-4_s1`)."""


def configure(config: Config) -> Config:
    """`config` with eight executors, an update for a step of all, and actions from the parameters before it."""
    executors = dataclasses.replace(config.executors, count=COUNT)
    config = dataclasses.replace(config, executors=executors, block=1, utd=1 / COUNT)
    if config.preset == "dissertation":
        return dataclasses.replace(config, learning_starts=QUEUE)
    return dataclasses.replace(
        config,
        critic=dataclasses.replace(config.critic, learning_rate=LEARNING_RATE),
        policy=dataclasses.replace(config.policy, learning_rate=LEARNING_RATE),
        temperature=dataclasses.replace(config.temperature, learning_rate=LEARNING_RATE),
    )


def configure_prioritized(config: Config) -> Config:
    """The same with prioritized replay, in which a new row has the priority that its TD error earns."""
    config = configure(prioritized.configure(config))
    return dataclasses.replace(config, replay=dataclasses.replace(config.replay, initial="td"))
