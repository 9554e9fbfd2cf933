"""A trained policy as a function of NumPy arrays."""

from typing import Any

import numpy as np

from lsp.numpy_policy import NumpyPolicy


class Policy:
    """What a run has learned to do: observations to actions that the environment takes as they are.

        action = run.policy.act(observation)          # at the zero latent, which is not the density's mode
        action = run.policy.act(observation, key)     # sampled

    It is evaluated by NumPy alone, and is the same that `run.export()` writes.
    """

    def __init__(self, numpy_policy: NumpyPolicy) -> None:
        """A policy of a run, which `lsp.load(folder).policy` is."""
        self.numpy = numpy_policy
        self.env: str = numpy_policy.description["env"]
        self.step: int = numpy_policy.description["step"]
        self.observation_dim: int = numpy_policy.observation_dim
        self.action_dim: int = numpy_policy.action_dim
        self.layers: int = len(numpy_policy.description["layers"])

    def act(self, observation: Any, key: Any = None) -> np.ndarray:
        """The action for an observation, or the actions for several.

        Args:
          observation: f32[..., S], or as the environment gives it, which may be a dict; leading axes are free.
          key: None for the zero latent. A NumPy generator, which moves on, for a new latent each time; a seed or a JAX
            key, for the same one each time.

        Returns:
          [..., A], within the environment's own bounds and of its dtype; of its own shape where that is no vector.

        Raises:
          ValueError: an observation of another size.
        """
        return self.numpy(observation, key)

    __call__ = act

    def __repr__(self) -> str:
        layers = f", {self.layers} layers" if self.layers > 1 else ""
        sizes = f"{self.observation_dim} observations to {self.action_dim} actions"
        return f"Policy of step {self.step:,}: {sizes}{layers}"
