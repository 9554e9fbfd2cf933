"""SAC-LSP with categorical critics: they predict the distribution of the soft return, and the policy climbs its mean.

`modern` is C51's loss, Bellemare et al. (2017), arXiv 1707.06887, with the entropy cost of the sampled next action in
every atom of the target. What differs: the atoms widen to fit the returns, so that one support suits any task, and the
logits are a tenth of what the critics' last layers say, so that these take smaller steps of themselves.

`dissertation` has the study's 51 atoms on [-100, 5000], and its loss as written, which learns nothing (the study's
negative result; see `lsp.agents.critics.as_written`). `--critic.distribution-target=soft` is the right loss on the
same atoms.
"""

import dataclasses

from lsp.config import Config


def configure(config: Config) -> Config:
    """`config` with categorical critics."""
    critic = dataclasses.replace(config.critic, kind="categorical")
    if config.preset == "dissertation":
        atoms = dataclasses.replace(critic, num_atoms=51, support="even", v_min=-100.0, v_max=5000.0)
        critic = dataclasses.replace(atoms, distribution_target="as_written", logit_scale=1.0)
    return dataclasses.replace(config, critic=critic)
