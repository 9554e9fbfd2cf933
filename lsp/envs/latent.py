"""Frozen layers as an environment: its actions are latents of the top one, and any library can train on it."""

from pathlib import Path
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box

from lsp import hierarchy
from lsp.agents import stack
from lsp.envs import checks
from lsp.envs.box import BoxEnv
from lsp.envs.factory import make, spec_of, wrap
from lsp.storage import layer_files
from lsp.types import Array


class LatentEnv(gymnasium.Wrapper[np.ndarray, np.ndarray, Any, Any]):
    """An environment whose action f32[A] is a latent h of the top layer, and means tanh(f(h; s)) at its observation s.

    Everything else is that of the environment within: rewards, ends, `info`, which gains `env_action`.
    """

    def __init__(self, env: BoxEnv, layers: tuple[stack.Layer, ...], bound: float) -> None:
        """Wrap `env`; latents lie in [-bound, bound]."""
        super().__init__(env)
        dim = spec_of(env).action_dim
        self.action_space = Box(-bound, bound, (dim,), np.float32)
        self._bound = bound
        flows, values = stack.flows_of(layers), tuple(layer.values for layer in layers)

        @jax.jit
        def decode(latent: Array, observation: Array) -> Array:
            return jnp.tanh(hierarchy.decode(flows, values, latent, observation)[0])

        self._decode = decode
        self._observation = np.zeros(spec_of(env).observation_dim, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode."""
        self._observation, info = self.env.reset(seed=seed, options=options)
        return self._observation.copy(), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Step with the latent `action` f[A]; beyond its bounds it is clipped."""
        latent = np.clip(action, -self._bound, self._bound).astype(np.float32)
        env_action = np.asarray(self._decode(latent, self._observation))
        self._observation, reward, terminated, truncated, info = self.env.step(env_action)
        return self._observation.copy(), float(reward), terminated, truncated, {**info, "env_action": env_action}


def make_latent_env(
    policy_dir: str | Path,
    env: str | gymnasium.Env[Any, Any],
    *,
    bound: float = 4.0,
    prefix_observation: bool = False,
    **kwargs: Any,
) -> LatentEnv:
    """An environment that is driven through the frozen layers of a run.

    Args:
      policy_dir: the run's folder, with `layers/` in it.
      env: an id as `lsp.envs.make` takes it, or an environment.
      bound: latents lie in [-bound, bound]; under the layers' prior N(0, I), 4 leaves out one number in 16,000.
      prefix_observation: let layers of a task with shorter observations see the first numbers.
      **kwargs: for the constructor of an id's environment.

    Returns:
      A Gymnasium environment.

    Raises:
      ConfigError: layers that are missing, damaged, or of other sizes than the environment's; an environment that
        agents cannot serve.
    """
    layers = layer_files.load(Path(policy_dir))
    inner = make(env, **kwargs) if isinstance(env, str) else wrap(env, checks.shown(env))
    stack.check(layers, spec_of(inner), prefix_observation, str(policy_dir))
    return LatentEnv(inner, layers, bound)
