"""SAC-LSP with categorical critics: they predict the law of the soft return, and the policy climbs its mean.

`modern` is C51's loss, Bellemare et al. (2017), arXiv 1707.06887, with the entropy cost of the sampled next action in
every atom of the target, and rewards divided by the spread of returns, so that one support suits any task. Even atoms:
symexp ones, which need no normalizer, are some 15 % of a return apart, and such laws tell too little of close actions.
Critics learn at a third of the scalar ones' step size: Adam moves every weight by its step size whatever the unit of
its loss, which is a small part of a return of some hundreds, and a large one of the logits of a law.

`dissertation` has the study's 51 atoms on [-100, 5000], and its loss as written, which learns nothing (the study's
negative result; see `lsp.agents.critics`). `--critic.law=soft` is the right loss on the same atoms.
"""

import dataclasses

from lsp.config import Config


def configure(config: Config) -> Config:
    """`config` with categorical critics."""
    critic = dataclasses.replace(config.critic, kind="categorical")
    if config.preset == "dissertation":
        critic = dataclasses.replace(critic, num_atoms=51, support="even", v_min=-100.0, v_max=5000.0, law="as_written")
        return dataclasses.replace(config, critic=critic)
    return dataclasses.replace(
        config,
        critic=dataclasses.replace(critic, support="even", v_min=-5.0, v_max=5.0, learning_rate=1e-4),
        normalize=dataclasses.replace(config.normalize, rewards=True),
        temperature=dataclasses.replace(config.temperature, initial=0.01),
    )
