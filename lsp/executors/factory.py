"""Making the executors of a configuration, in the engine it asks for."""

from collections.abc import Callable, Sequence
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
from lsp.types import EnvSpec, Executors


@dataclass(frozen=True)
class ExecutorMaker:
    """Makes executors by number, here or, being plain values, wherever it is sent."""

    config: Config
    seeds: Sequence[int]  # one for each executor
    stage: int = 0  # number of the layer in training (`lsp.config.stages`), whose reward they give

    def __call__(self, index: int, incarnation: int = 0, env: envs.BoxEnv | None = None) -> Executor:
        """Executor `index`, of `env` or a new one. A later incarnation has episodes of its own. Raises ConfigError."""
        seed = self.seeds[index]
        if incarnation:
            seed = int(np.random.SeedSequence((seed, incarnation)).generate_state(1)[0])
        reward = stages.reward_of(self.config, self.stage)
        env = envs.make_seeded(self.config, seed) if env is None else env
        config = self.config
        return Executor(env, seed, config.gamma, config.n_step, reward, config.truncate_stuck)


def make(
    config: Config,
    seeds: Sequence[int],
    make_policy: PolicyMaker | None = None,
    stage: int = 0,
    spec: EnvSpec | None = None,
    first: envs.BoxEnv | None = None,
) -> Executors:
    """The executors of a configuration.

    Args:
      config: of the whole run.
      seeds: one for each executor.
      make_policy: picklable; called in the workers of the async mode.
      stage: number of the layer in training (`lsp.config.stages`), whose reward they give.
      spec: sizes of the environment; None: it is made once to read them, where worker processes need them.
      first: an environment that the first executor may use, where it is in this process (closed with it).

    Raises:
      ConfigError: an environment or a reward that cannot be made.
    """
    maker = ExecutorMaker(config, tuple(seeds), stage)
    executors = _make(config.executors, maker, make_policy, spec, first)
    return TerminalsLast(executors) if config.executors.queue == "as-coded" else executors


def _make(
    config: ExecutorsConfig,
    maker: ExecutorMaker,
    make_policy: PolicyMaker | None,
    spec: EnvSpec | None,
    first: envs.BoxEnv | None,
) -> Executors:
    def make_executor(index: int) -> Executor:
        try:
            return maker(index, env=None if index else first)
        except ConfigError as error:
            if index == 0:
                raise
            made = f"{index} of --executors.count={config.count} environments could be made"
            raise ConfigError(f"{made}: {error}; where a task allows a few only, lower that") from error

    if config.engine == "inproc":
        return InProcess(make_executor, config.count)
    make_engine = _require_ray() if config.engine == "ray" else make_process
    return make_engine(config, maker, make_policy, spec or envs.env_spec(maker.config))


def _require_ray() -> Callable[..., Executors]:
    try:
        from lsp.executors.ray import make_ray
    except ImportError as error:
        raise ConfigError(f"--executors.engine=ray needs Ray: {packaging.install('ray')} ({error})") from error
    return make_ray


def check_rewards(config: Config, env: envs.BoxEnv) -> None:
    """Try the rewards of all layers on one step of their environment. Raises ConfigError, in one line."""
    rewards = [LayerReward(text) for text in dict.fromkeys(config.layer_rewards) if text != OWN]
    if not rewards:
        return
    before, _ = env.reset(seed=0)
    action = np.zeros(envs.spec_of(env).action_dim, np.float32)
    after, env_reward, _, _, info = env.step(action)
    for reward in rewards:
        try:
            reward(env_reward, before, action, after, info)
        except RewardFault as error:
            raise ConfigError(f"--layer-rewards: {reward.text} on {config.env}: {error}") from error
