"""SAC-LSP with several executors, after Ape-X: Horgan et al. (2018), arXiv 1803.00933.

Executors step side by side, and new rows enter prioritized replay with the TD errors that they have on arrival. One
dispatch of the learner stores the rows of a step, ranks them, updates, and chooses all the next actions.

`modern` keeps the base agent's ratio of an update a transition. `dissertation` is the study's lock-step: eight
executors take one step each between two updates, so that at equal updates it has eight times the data.
"""

import dataclasses

from lsp.agents import prioritized
from lsp.config import Config

COUNT = 8
"""Executors of the study."""
QUEUE = 10_000
"""Transitions that the study's learner waited for."""


def configure(config: Config) -> Config:
    """`config` with eight executors, and actions from parameters at most eight transitions old."""
    executors = dataclasses.replace(config.executors, count=COUNT)
    config = dataclasses.replace(config, executors=executors, block=1)
    if config.preset == "dissertation":
        return dataclasses.replace(config, utd=1 / COUNT, learning_starts=QUEUE)
    return config


def configure_prioritized(config: Config) -> Config:
    """The same with prioritized replay, in which a new row has the priority that its TD error earns."""
    config = configure(prioritized.configure(config))
    return dataclasses.replace(config, replay=dataclasses.replace(config.replay, initial="td"))
