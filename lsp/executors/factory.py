"""Making the executors of a configuration, in the engine it asks for."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from lsp import envs
from lsp.config import Config, ConfigError, ExecutorsConfig, packaging, stages
from lsp.config.reward_terms import OWN
from lsp.envs.rewards import LayerReward, RewardFault
from lsp.executors.async_workers import PolicyMaker
from lsp.executors.executor import Executor
from lsp.executors.inproc import InProcess
from lsp.executors.process import make_process
from lsp.executors.terminals_last import TerminalsLast
from lsp.types import Executors


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


def make(config: Config, seeds: Sequence[int], make_policy: PolicyMaker | None = None, stage: int = 0) -> Executors:
    """The executors of a configuration.

    Args:
      config: of the whole run.
      seeds: one for each executor.
      make_policy: picklable; called in the workers of the async mode.
      stage: number of the layer in training (`lsp.config.stages`), whose reward they give.

    Raises:
      ConfigError: an environment or a reward that cannot be made.
    """
    executors = _make(config.executors, ExecutorMaker(config, tuple(seeds), stage), make_policy)
    return TerminalsLast(executors) if config.executors.queue == "as-coded" else executors


def _make(config: ExecutorsConfig, maker: ExecutorMaker, make_policy: PolicyMaker | None) -> Executors:
    if config.engine == "inproc":
        return InProcess(maker, config.count)
    make_engine = _require_ray() if config.engine == "ray" else make_process
    return make_engine(config, maker, make_policy, envs.env_spec(maker.config))


def _require_ray() -> Callable[..., Executors]:
    try:
        from lsp.executors.ray import make_ray
    except ImportError as error:
        raise ConfigError(f"--executors.engine=ray needs Ray: {packaging.install('ray')} ({error})") from error
    return make_ray


def check_rewards(config: Config) -> None:
    """Try the rewards of all layers on one step of the environment. Raises ConfigError, in one line."""
    rewards = [LayerReward(text) for text in dict.fromkeys(config.layer_rewards) if text != OWN]
    if not rewards:
        return
    with closing(envs.make_env(config)) as env:
        before, _ = env.reset(seed=0)
        action = np.zeros(envs.spec_of(env).action_dim, np.float32)
        after, env_reward, _, _, info = env.step(action)
    for reward in rewards:
        try:
            reward(env_reward, before, action, after, info)
        except RewardFault as error:
            raise ConfigError(f"--layer-rewards: {reward.text} on {config.env}: {error}") from error
