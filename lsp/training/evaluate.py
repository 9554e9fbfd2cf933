"""Judging a policy: whole episodes in environments of its own, started from the same states every time.

Nothing here touches the training run's environments or random streams, so that evaluating changes nothing.
"""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lsp.executors.episodes import EpisodeMeter, record_of
from lsp.types import Agent, Array, Episode, Key, Params

MAX_EPISODE_STEPS = 100_000
"""Where an episode is cut if its environment has no time limit, lest an evaluation never end."""


def _latents(protocol: str, key: Key, step: Array, shape: tuple[int, int]) -> Array:
    """Latents of the top layer: fresh each step, zero, or one an episode, held."""
    if protocol == "mode":
        return jnp.zeros(shape)
    return jax.random.normal(jax.random.fold_in(key, step) if protocol == "sampled" else key, shape)


def _act(
    agent: Agent, protocol: str, action_dim: int, params: Params, key: Key, step: Array, observations: Array
) -> Array | np.ndarray:
    latents = _latents(protocol, key, step, (observations.shape[0], action_dim))
    return agent.act_latent(params, observations, latents).env_action


class Evaluator:
    """Environments for evaluation, and the compiled policy under each protocol."""

    def __init__(
        self, agent: Agent, make_env: Callable[[], Any], protocols: Sequence[str], seeds: Sequence[int]
    ) -> None:
        """Make one environment an episode, from `make_env`; `seeds` are those of their first states."""
        self._envs = [make_env() for _ in seeds]
        self._seeds = list(seeds)
        self._protocols = protocols
        self.evaluate(agent)

    def evaluate(self, agent: Agent) -> None:
        """Evaluate this agent from now on."""
        action_dim = self._envs[0].action_space.shape[0]
        self._act = {protocol: jax.jit(partial(_act, agent, protocol, action_dim)) for protocol in self._protocols}

    def reseeded(self, seeds: Sequence[int]) -> "Evaluator":
        """An evaluator of as many other first states, with the environments and the compiled policy of this one."""
        other = copy.copy(self)
        other._seeds = list(seeds)
        return other

    def __call__(self, params: Params, key: Key, says_success: bool = False) -> list[dict[str, Any]]:
        """Run every protocol; one record each, as `record_of` makes it of the episodes."""
        return [self._evaluate(protocol, params, key, says_success) for protocol in self._act]

    def _evaluate(self, protocol: str, params: Params, key: Key, says_success: bool) -> dict[str, Any]:
        began = time.perf_counter()
        episodes = self._run(self._act[protocol], params, key)
        record = {"protocol": protocol} | record_of(episodes, says_success)
        return record | {"seeds": self._seeds, "evaluation_seconds": time.perf_counter() - began}

    def _run(self, act: Callable[..., Array], params: Params, key: Key) -> list[Episode]:
        observations = np.stack([env.reset(seed=seed)[0] for env, seed in zip(self._envs, self._seeds, strict=True)])
        meters = [EpisodeMeter() for _ in self._envs]
        finished: dict[int, Episode] = {}
        step = 0
        while len(finished) < len(self._envs):
            actions = np.asarray(act(params, key, np.int32(step), observations))
            observations = observations.copy()  # the one that was handed over may still be read
            for i, env in enumerate(self._envs):
                if i in finished:
                    continue
                observations[i], reward, terminated, truncated, info = env.step(actions[i])
                meters[i].add(reward, info)
                if terminated or truncated or step + 1 == MAX_EPISODE_STEPS:
                    finished[i] = meters[i].finish(terminated)
            step += 1
        return [finished[i] for i in range(len(self._envs))]

    def close(self) -> None:
        """Close every environment."""
        for env in self._envs:
            env.close()


def describe(record: Mapping[str, Any], returns: Sequence[float], what: str) -> str:
    """A line for people about an evaluation, whose `returns` are those of episodes or of seeds."""
    text = f"{np.mean(returns):,.0f} ± {np.std(returns):,.0f} over {len(returns)} {what}"
    if "success" in record:
        text += f", success {np.mean(record['success']):.0%}"
    return f"step {record['step']:,}: {record['protocol']} policy returns {text}"
