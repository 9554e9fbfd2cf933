"""Making the executors of a configuration, in the engine it asks for."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lsp import envs
from lsp.config import Config, ConfigError
from lsp.executors.collector import Actor
from lsp.executors.executor import Executor
from lsp.executors.fleet_process import make_fleet
from lsp.executors.inproc import InProcess
from lsp.executors.process import make_process
from lsp.executors.terminals_last import TerminalsLast
from lsp.types import EnvSpec, Executors


@dataclass(frozen=True)
class ExecutorMaker:
    """Makes executors by number, here or, being plain values, wherever it is sent."""

    env: str
    env_kwargs: dict[str, Any]
    seeds: Sequence[int]
    gamma: float
    n_step: int

    def __call__(self, index: int, incarnation: int = 0) -> Executor:
        """Executor `index`. A later incarnation has episodes of its own. Raises ConfigError."""
        seed = self.seeds[index]
        if incarnation:
            seed = int(np.random.SeedSequence((seed, incarnation)).generate_state(1)[0])
        return Executor(envs.make(self.env, **self.env_kwargs), seed, self.gamma, self.n_step)


def make(
    config: Config, seeds: Sequence[int], make_actor: Callable[[EnvSpec, range, int], Actor] | None = None
) -> Executors:
    """The executors of a configuration; `seeds` has one for each.

    `make_actor(spec, part, incarnation)`, picklable, is called in the workers of the async mode. Raises ConfigError.
    """
    executors = _make(config, seeds, make_actor)
    return TerminalsLast(executors) if config.executors.queue == "as-coded" else executors


def _make(
    config: Config, seeds: Sequence[int], make_actor: Callable[[EnvSpec, range, int], Actor] | None
) -> Executors:
    maker = ExecutorMaker(config.env, json.loads(config.env_kwargs), tuple(seeds), config.gamma, config.n_step)
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
