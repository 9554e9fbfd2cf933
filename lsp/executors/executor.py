"""One executor: an environment, its episode, and the transitions it yields. Knows nothing of how they travel."""

from typing import Any, NamedTuple

import numpy as np

from lsp import envs
from lsp.config.reward_terms import OWN
from lsp.envs import rewards
from lsp.executors.episodes import EpisodeMeter
from lsp.executors.n_step import NStepReturns
from lsp.packing import Layout
from lsp.types import EnvSpec, Episode


class StepResult(NamedTuple):
    """What one step of one executor yields."""

    packed: np.ndarray | None  # f32[W] a packed transition; None in the first n-1 steps
    discounted_return: float  # of the episode so far, this step included
    episode: Episode | None  # if it ended with this step


def new_episode(spec: EnvSpec, steps: int) -> dict[str, Any]:
    """A state to continue from where nobody knows how an executor stood: it begins an episode.

    `steps` decides its first state, and should be another number each time.
    """
    return {
        "env": None,
        "observation": np.zeros(spec.observation_dim, np.float32),
        "steps": steps,
        "returns": {"open": [], "ready": []},
        "discounted_return": 0.0,
        "meter": EpisodeMeter().get_state(),
    }


class Executor:
    """Steps one environment: n-step transitions, discounted return, totals of the episode."""

    def __init__(
        self,
        env: envs.BoxEnv,
        seed: int,
        gamma: float,
        n_step: int,
        reward: str = OWN,
        truncate_stuck: int = 0,
    ) -> None:
        """Take over `env` (closed with this object).

        Args:
          env: made by `lsp.envs.make`.
          seed: of its generator at the first reset.
          gamma: discount per step.
          n_step: steps summed into one transition.
          reward: what transitions are rewarded with, as `lsp.envs.rewards` reads it. Episodes' returns are raw ones.
          truncate_stuck: steps in one place after which an episode is truncated; 0: never.

        Raises:
          ConfigError: a reward that cannot be read or imported.
        """
        self.env = env
        self.spec = envs.spec_of(env)
        self.observation = np.zeros(self.spec.observation_dim, np.float32)
        self._seed, self._gamma, self._truncate_stuck = seed, gamma, truncate_stuck
        self._steps = 0  # over all episodes
        self._layout = Layout.of(self.spec)
        self._returns = NStepReturns(n_step, self._layout)
        self._meter = EpisodeMeter()
        self._reward = rewards.make(reward)
        self._discounted_return = 0.0

    def reset(self) -> np.ndarray:
        """Begin the first episode, f32[S]."""
        self.observation, _ = self.env.reset(seed=self._seed)
        return self.observation

    @property
    def held(self) -> int:
        """Transitions that n-step returns hold back."""
        return len(self._returns)

    def drop_held(self) -> None:
        """Begin n-step returns again."""
        self._returns.clear()

    def set_reward(self, reward: str) -> None:
        """Reward steps in this way from now on; what n-step returns hold back is dropped. Raises ConfigError."""
        self._reward = rewards.make(reward)
        self._returns.clear()
        self._discounted_return = 0.0
        self._meter.forget_layer_return()

    def step(self, env_action: np.ndarray, layer_action: np.ndarray) -> StepResult:
        """Step once with f32[A] each; after the end of an episode the next one has begun."""
        observation, env_reward, terminated, truncated, info = self.env.step(env_action)
        reward, layer_reward = env_reward, None
        if self._reward is not None:
            reward = layer_reward = self._layer_reward(self._reward, env_reward, env_action, observation, info)
        self._steps += 1
        layout = self._layout
        row = np.empty(layout.width, np.float32)
        row[layout.observation] = self.observation
        row[layout.action] = layer_action
        row[layout.reward] = reward
        row[layout.discount] = 0.0 if terminated else self._gamma
        row[layout.next_observation] = observation
        if isinstance(self.env, envs.GoalBoxEnv):
            row[layout.outcome] = self.env.outcome
            row[layout.beside] = self.env.beside
        self._meter.add(env_reward, info, observation, layer_reward)
        stuck = self._is_stuck() and not (terminated or truncated)
        ended = terminated or truncated or stuck
        self._returns.push(row, ended)
        self._discounted_return = self._gamma * self._discounted_return + reward
        self.observation = observation
        packed, discounted_return = self._returns.pop(), self._discounted_return  # before the episode's end clears it
        return StepResult(packed, discounted_return, self._end_episode(terminated, stuck) if ended else None)

    def _layer_reward(
        self, reward: rewards.LayerReward, env_reward: float, action: np.ndarray, after: np.ndarray, info: Any
    ) -> float:
        try:
            return reward(env_reward, self.observation, action, after, info)
        except rewards.RewardFault as error:
            where = f"at step {self.env.episode_steps} of an episode of {self.env.name}"
            raise envs.EnvironmentFault(f"layer reward {reward.text}: {error}, {where}") from error

    def _is_stuck(self) -> bool:
        return 0 < self._truncate_stuck <= self._meter.still_steps

    def _end_episode(self, terminated: bool, stuck: bool) -> Episode:
        self._discounted_return = 0.0
        self.observation, _ = self.env.reset()
        return self._meter.finish(terminated, stuck if self._truncate_stuck else None)

    def get_state(self) -> dict[str, Any]:
        """Everything needed to continue; the environment's own part only where it can be restored exactly."""
        return {
            "env": envs.get_state(self.env) if envs.can_restore(self.env) else None,
            "observation": self.observation.copy(),
            "steps": self._steps,
            "returns": self._returns.get_state(),
            "discounted_return": self._discounted_return,
            "meter": self._meter.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `get_state`'s result; an environment that cannot be restored begins a new episode."""
        self._steps = state["steps"]
        self._returns.set_state(state["returns"])
        if state["env"] is None:
            self._returns.cut()
            # Neither a neighbor's seed nor the first one again, or episodes already seen would come back.
            seed = np.random.SeedSequence((self._seed, self._steps)).generate_state(1)
            self.observation, _ = self.env.reset(seed=int(seed[0]))
            return
        envs.set_state(self.env, state["env"])
        self.observation = np.array(state["observation"], np.float32)
        self._discounted_return = state["discounted_return"]
        self._meter.set_state(state["meter"])
