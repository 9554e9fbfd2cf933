"""Making the executors of a configuration, in the engine it asks for."""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from lsp import envs
from lsp.config import Config, ConfigError, stages
from lsp.config.reward_terms import OWN
from lsp.envs.rewards import LayerReward, RewardFault
from lsp.executors.async_process import make_fleet
from lsp.executors.collector import Actor
from lsp.executors.executor import Executor
from lsp.executors.inproc import InProcess
from lsp.executors.process import make_process
from lsp.executors.terminals_last import TerminalsLast
from lsp.types import EnvSpec, Executors


@dataclass(frozen=True)
class ExecutorMaker:
    """Makes executors by number, here or, being plain values, wherever it is sent."""

    config: Config
    seeds: Sequence[int]  # one for each executor
    stage: int = 0  # number of the layer in training (`lsp.config.stages`), whose reward they give

    def __call__(self, index: int, incarnation: int = 0) -> Executor:
        """Executor `index`. A later incarnation has episodes of its own. Raises ConfigError."""
        seed = self.seeds[index]
        if incarnation:
            seed = int(np.random.SeedSequence((seed, incarnation)).generate_state(1)[0])
        reward = stages.reward_of(self.config, self.stage)
        return Executor(envs.make_env(self.config), seed, self.config.gamma, self.config.n_step, reward)


def make(
    config: Config,
    seeds: Sequence[int],
    make_actor: Callable[[EnvSpec, range, int], Actor] | None = None,
    stage: int = 0,
) -> Executors:
    """The executors of a configuration.

    Args:
      config: of the whole run.
      seeds: one for each executor.
      make_actor: (spec, part, incarnation), picklable; called in the workers of the async mode.
      stage: number of the layer in training (`lsp.config.stages`), whose reward they give.

    Raises:
      ConfigError: an environment or a reward that cannot be made.
    """
    executors = _make(config, seeds, make_actor, stage)
    return TerminalsLast(executors) if config.executors.queue == "as-coded" else executors


def _make(
    config: Config, seeds: Sequence[int], make_actor: Callable[[EnvSpec, range, int], Actor] | None, stage: int
) -> Executors:
    arguments = json.loads(config.env_kwargs)
    reward = stages.reward_of(config, stage)
    maker = ExecutorMaker(config.env, arguments, tuple(seeds), config.gamma, config.n_step, reward)
    count = config.executors.count
    if config.executors.engine == "inproc":
        return InProcess(maker, count)
    if config.executors.engine == "ray":
        return _require_ray()(config.executors, maker, make_actor, spec_of(maker))
    spec, workers = spec_of(maker), config.executors.workers or min(count, cores())
    if config.executors.mode == "async":
        assert make_actor is not None
        return make_fleet(config.executors, maker, make_actor, spec, workers)
    return make_process(maker, spec, count, workers, config.executors.timeout)


def _require_ray() -> Callable[..., Executors]:
    try:
        from lsp.executors.ray import make_ray
    except ImportError as error:
        raise ConfigError(f"--executors.engine=ray needs Ray: pip install 'lsp[ray]' ({error})") from error
    return make_ray


def spec_of(maker: ExecutorMaker) -> EnvSpec:
    """Sizes of the environment that `maker` makes."""
    env = envs.make(maker.env, **maker.env_kwargs)
    spec = envs.spec_of(env)
    env.close()
    return spec


def cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def env_spec(config: Config) -> EnvSpec:
    """Sizes of the environment of a configuration. Raises ConfigError."""
    with closing(envs.make(config.env, **json.loads(config.env_kwargs))) as env:
        return envs.spec_of(env)


def check_rewards(config: Config) -> None:
    """Try the rewards of all layers on one step of the environment. Raises ConfigError, in one line."""
    rewards = [LayerReward(text) for text in dict.fromkeys(config.layer_rewards) if text != OWN]
    if not rewards:
        return
    with closing(envs.make(config.env, **json.loads(config.env_kwargs))) as env:
        before, _ = env.reset(seed=0)
        action = np.zeros(envs.spec_of(env).action_dim, np.float32)
        after, env_reward, _, _, info = env.step(action)
    for reward in rewards:
        try:
            reward(env_reward, before, action, after, info)
        except RewardFault as error:
            raise ConfigError(f"--layer-rewards: {reward.text} on {config.env}: {error}") from error
