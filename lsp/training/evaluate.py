"""Judging a policy: whole episodes in environments of its own, started from the same states every time.

Nothing here touches the training run's environments or random streams, so that evaluating changes nothing.
"""

import contextlib
import copy
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lsp.config import ConfigError
from lsp.executors.episodes import EpisodeMeter, record_of
from lsp.types import Agent, Array, Episode, Key, Params

Watch = Callable[[Callable[[], str]], None]
"""Called between two steps with what is going on, in words; may raise to end it."""


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


def _agent_policy(agent: Agent, protocol: str, action_dim: int) -> Callable[..., Array]:
    return jax.jit(partial(_act, agent, protocol, action_dim))


def _exported_policy(
    act: Callable[[np.ndarray, np.ndarray], np.ndarray], protocol: str, action_dim: int
) -> Callable[..., Array | np.ndarray]:
    latents = jax.jit(partial(_latents, protocol), static_argnums=2)

    def policy(params: Params, key: Key, step: np.int32, observations: np.ndarray) -> np.ndarray:
        del params
        return act(observations, np.asarray(latents(key, step, (observations.shape[0], action_dim))))

    return policy


def _unwatched(text: Callable[[], str]) -> None:
    """Nobody watches."""


class Evaluator:
    """Environments for evaluation, and the compiled policy under each protocol."""

    def __init__(
        self, make_env: Callable[[], Any], protocols: Sequence[str], seeds: Sequence[int], max_steps: int
    ) -> None:
        """Nothing is made yet, and no agent is evaluated before `evaluate` says which.

        Args:
          make_env: makes an environment; there will be one an episode.
          protocols: how its latents are chosen.
          seeds: of the episodes' first states.
          max_steps: after which an episode is cut, lest an evaluation never end.
        """
        self._make_env, self._envs = make_env, list[Any]()
        self._seeds = list(seeds)
        self._protocols, self._max_steps = protocols, max_steps
        self._make_policy: Callable[[str, int], Callable[..., Array | np.ndarray]] | None = None

    def evaluate(self, agent: Agent) -> None:
        """Evaluate this agent from now on."""
        self._make_policy = partial(_agent_policy, agent)
        self._compiled: dict[str, Callable[..., Array | np.ndarray]] = {}  # by protocol

    def evaluate_exported(self, act: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        """Evaluate a policy of NumPy from now on, which needs no parameters.

        `act` maps observations f32[n, S] and latents f32[n, A] to actions in [-1, 1], [n, A].
        """
        self._make_policy, self._compiled = partial(_exported_policy, act), {}

    def reseeded(self, seeds: Sequence[int]) -> "Evaluator":
        """An evaluator of as many other first states, with the environments and the compiled policy of this one."""
        other = copy.copy(self)
        other._seeds = list(seeds)
        return other

    def prepare(self) -> None:
        """Make the environments that are missing. Raises ConfigError."""
        try:
            while len(self._envs) < len(self._seeds):
                self._envs.append(self._make_env())
        except ConfigError as error:
            made = f"{len(self._envs)} of --evaluation.episodes={len(self._seeds)} environments could be made"
            remedy = "train without evaluation: --evaluation.every=0"
            raise ConfigError(f"evaluation needs environments of its own, and {made}: {error}; {remedy}") from error

    def __call__(
        self, params: Params, key: Key, says_success: bool = False, watch: Watch = _unwatched
    ) -> list[dict[str, Any]]:
        """Run every protocol; one record each, as `record_of` makes it of the episodes.

        Where it ends with an exception, of `watch` or of an environment, the next call has new environments.
        """
        try:
            self.prepare()
            return [self._evaluate(protocol, params, key, says_success, watch) for protocol in self._protocols]
        except BaseException:
            self.close()
            raise

    def _evaluate(
        self, protocol: str, params: Params, key: Key, says_success: bool, watch: Watch
    ) -> dict[str, Any]:
        began = time.perf_counter()
        episodes, cut = self._run(protocol, params, key, watch)
        record: dict[str, Any] = {"protocol": protocol} | record_of(episodes, says_success)
        if cut:
            record["cut"] = cut
        return record | {"seeds": self._seeds, "evaluation_seconds": time.perf_counter() - began}

    def _policy(self, protocol: str) -> Callable[..., Array | np.ndarray]:
        if protocol not in self._compiled:
            assert self._make_policy is not None
            action_dim = self._envs[0].action_space.shape[0]
            self._compiled[protocol] = self._make_policy(protocol, action_dim)
        return self._compiled[protocol]

    def _run(self, protocol: str, params: Params, key: Key, watch: Watch) -> tuple[list[Episode], int]:
        """The episodes, and how many of them were cut."""
        act, envs, step, cut = self._policy(protocol), self._envs, 0, 0
        finished: dict[int, Episode] = {}

        def progress() -> str:
            return f"evaluating, {protocol} policy: {len(finished)} of {len(envs)} episodes done, step {step:,}"

        first = []
        for env, seed in zip(envs, self._seeds, strict=True):
            watch(progress)
            first.append(env.reset(seed=seed)[0])
        observations, meters = np.stack(first), [EpisodeMeter() for _ in envs]
        while len(finished) < len(envs):
            actions = np.asarray(act(params, key, np.int32(step), observations))
            observations = observations.copy()  # the one that was handed over may still be read
            step += 1
            for i, env in enumerate(envs):
                if i in finished:
                    continue
                watch(progress)
                observations[i], reward, terminated, truncated, info = env.step(actions[i])
                meters[i].add(reward, info, observations[i])
                ended = terminated or truncated
                if ended or step == self._max_steps:
                    cut += not ended
                    finished[i] = meters[i].finish(terminated)
        return [finished[i] for i in range(len(envs))], cut

    def close(self) -> None:
        """Close every environment."""
        while self._envs:
            with contextlib.suppress(Exception):  # whatever an environment may raise: nobody needs it any more
                self._envs.pop().close()


def about_cuts(records: Sequence[Mapping[str, Any]], max_steps: int) -> str:
    """A line for people about episodes that were cut; empty where there are none."""
    cut, episodes = sum(each.get("cut", 0) for each in records), sum(len(each["lengths"]) for each in records)
    if cut == 0:
        return ""
    return f"{cut} of {episodes} episodes of evaluation did not end by --evaluation.max-episode-steps={max_steps}: cut"


def describe(record: Mapping[str, Any], returns: Sequence[float], what: str) -> str:
    """A line for people about an evaluation, whose `returns` are those of episodes or of seeds."""
    text = f"{np.mean(returns):,.0f} ± {np.std(returns):,.0f} over {len(returns)} {what}"
    if "success" in record:
        text += f", success {np.mean(record['success']):.0%}"
    return f"step {record['step']:,}: {record['protocol']} policy returns {text}"
