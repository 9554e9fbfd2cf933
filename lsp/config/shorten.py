"""Runs made short by an environment variable, so that tests can execute every command that the documents show.

`LSP_TEST_STEPS=200` caps a run at 200 environment steps, and everything that is counted in steps along with it.
"""

import os
import sys
from dataclasses import replace

from lsp.config import Config, ConfigError, first_full_batch, stages

VARIABLE = "LSP_TEST_STEPS"
BATCH, EPISODES, CRITIC_WARMUP = 16, 2, 10


def for_tests(config: Config, resumed: bool = False) -> Config:
    """`config`, shortened where the environment variable asks for it; a line says so.

    What continues a run may be twice as long as a new one, so that there is something left to do.

    Raises:
      ConfigError: in one line, that the variable is no whole number above 0.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return config
    if not text.isdecimal() or int(text) == 0:
        raise ConfigError(f"{VARIABLE}={text}: must be a whole number above 0, or not set")
    short = shorten(config, int(text) * (2 if resumed else 1))
    print(f"lsp: note: {VARIABLE}={text}: shortened for tests, to at most {short.steps} steps", file=sys.stderr)
    return short


def shorten(config: Config, limit: int) -> Config:
    """`config` with at most `limit` environment steps, and all that is counted in steps in proportion.

    Layers keep their shares of the steps. Learning starts after a quarter of them, or once a batch is full; metrics are
    written four times and the policy is evaluated twice, in short episodes. What is off stays off.
    """
    config = stages.resolve(config)
    steps = min(config.steps, limit)
    config = replace(
        config,
        steps=steps,
        layer_steps=_shares(config.layer_steps, steps),
        log_every=_at_most(config.log_every, steps // 4),
        growth=replace(config.growth, critic_warmup=min(config.growth.critic_warmup, CRITIC_WARMUP)),
        evaluation=replace(
            config.evaluation,
            every=_at_most(config.evaluation.every, steps // 2),
            episodes=min(config.evaluation.episodes, EPISODES),
            max_episode_steps=_at_most(config.evaluation.max_episode_steps, steps // 4),
        ),
        replay=replace(config.replay, batch_size=min(config.replay.batch_size, BATCH)),
    )
    least = first_full_batch(config)
    starts = max(least, min(config.learning_starts, steps // 4))
    capacity = max(2 * steps, least, config.block * config.executors.count)
    return replace(
        config,
        warmup_steps=min(config.warmup_steps, starts),
        learning_starts=starts,
        replay=replace(config.replay, capacity=min(config.replay.capacity, capacity)),
    )


def _at_most(value: int, cap: int) -> int:
    """`value`, but no more than `cap`, which is at least 1; 0 stays 0."""
    return min(value, max(cap, 1))


def _shares(layer_steps: tuple[int, ...], steps: int) -> tuple[int, ...]:
    """Steps of each layer, in the same proportions, that add up to `steps`; (0,), which asks for none, as it is."""
    total = sum(layer_steps)
    if total == 0:
        return layer_steps
    *first, _ = (number * steps // total for number in layer_steps)
    return (*first, steps - sum(first))
