"""An exported policy in NumPy alone: this file needs nothing else of `lsp`, and a copy of it goes with every export.

    policy = load("policy")                                  # the folder with policy.json and weights.npz
    action = policy(observation)                             # at the zero latent
    action = policy(observation, np.random.default_rng(0))   # sampled: a new latent

A layer is a conditional real-NVP (Dinh et al. 2017, arXiv 1605.08803, Eq. 7), whose coupling i transforms one half of
the vector and leaves the other: y_b -> y_b * exp(s) + t, with (t, s) a network of the other half and the observation.
Layers are stacked bottom first, and the bottom one's output is squashed by tanh (Haarnoja et al. 2018, arXiv
1804.02808). Loading reads numbers and text only: no pickle, no code.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 1
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh}


class NumpyPolicy:
    """Observations to actions within the environment's own bounds."""

    def __init__(self, description: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> None:
        """Take what `policy.json` and `weights.npz` hold; `weights` by name, such as `0/embedding/Dense_0/kernel`."""
        if description["format"] != FORMAT:
            raise ValueError(f"policy of format {description['format']}, this file reads {FORMAT}")
        self.description, self.weights = description, dict(weights)
        self.observation_dim, self.action_dim = description["observation_dim"], description["action_dim"]
        self._low, self._high = (np.array(description[name], np.float32) for name in ("low", "high"))

    def __call__(self, observation: Any, key: Any = None) -> np.ndarray:
        """The action at the zero latent, or with `key`, a NumPy generator or its seed, at a drawn one: [..., A]."""
        observation = self._checked(observation)
        latent = np.zeros((*observation.shape[:-1], self.action_dim), np.float32)
        if key is not None:
            latent = np.asarray(np.random.default_rng(key).standard_normal(latent.shape), np.float32)
        return self.at_latent(observation, latent)

    def at_latent(self, observation: Any, latent: Any) -> np.ndarray:
        """The action [..., A] at a latent of the top layer, [..., A]."""
        action = self.squashed(observation, latent)
        scaled = (self._high + self._low) / 2 + (self._high - self._low) / 2 * action
        return np.asarray(np.clip(scaled, self._low, self._high))

    def squashed(self, observation: Any, latent: Any, layer: int | None = None) -> np.ndarray:
        """The action in [-1, 1], [..., A], at a latent of `layer`, counted from the bottom; without it of the top."""
        observation = self._checked(observation)
        u = np.asarray(latent, np.float32)
        top = len(self.description["layers"]) - 1 if layer is None else layer
        for index in range(top, -1, -1):
            u = self._forward(index, u, self._view(index, observation))
        return np.asarray(np.tanh(u))

    def _checked(self, observation: Any) -> np.ndarray:
        array = np.asarray(observation, np.float32)
        if array.shape[-1:] != (self.observation_dim,):
            raise ValueError(f"observation of shape {array.shape}: its last axis must be {self.observation_dim}")
        return array

    def _view(self, index: int, observation: np.ndarray) -> np.ndarray:
        """What a layer sees: the numbers that it was trained on, normalized as they were then."""
        seen = observation[..., : self.description["layers"][index]["observation_dim"]]
        if f"{index}/observation/mean" not in self.weights:
            return seen
        mean, std = self.weights[f"{index}/observation/mean"], self.weights[f"{index}/observation/std"]
        return np.clip((seen - mean) / std, -10.0, 10.0)

    def _forward(self, index: int, y: np.ndarray, s: np.ndarray) -> np.ndarray:
        """One layer: latent [..., A] and what it sees of the observation, [..., S], to action [..., A]."""
        layer = self.description["layers"][index]
        embedding = self._mlp(f"{index}/embedding", "relu", s, layer["embedding_activate_last"])
        half = self.action_dim // 2
        for i in range(layer["num_couplings"]):
            first, second = y[..., :half], y[..., half:]
            transforms_first = i % 2 == 0 and half > 0
            untouched, moved = (second, first) if transforms_first else (first, second)
            inputs = np.concatenate([untouched, embedding], axis=-1)
            shift, log_scale = self._condition(f"{index}/coupling_{i}", layer, inputs)
            bound = float(layer["max_log_scale"])
            if np.isfinite(bound):
                log_scale = bound * np.tanh(log_scale / bound)
            moved = moved * np.exp(log_scale) + shift
            y = np.concatenate([moved, untouched] if transforms_first else [untouched, moved], axis=-1)
        return y

    def _condition(self, name: str, layer: Mapping[str, Any], inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shift and raw log-scale of a coupling."""
        nets = ("shift", "log_scale") if layer["separate_nets"] else ("both",)
        outputs = []
        for net in nets:
            hidden = self._mlp(f"{name}/{net}_hidden", layer["activation"], inputs, activate_last=True)
            outputs.append(self._dense(f"{name}/{net}_out", hidden))
        shift, log_scale = outputs if len(outputs) == 2 else np.split(outputs[0], 2, axis=-1)
        return shift, log_scale

    def _mlp(self, name: str, activation: str, x: np.ndarray, activate_last: bool) -> np.ndarray:
        depth = 0
        while f"{name}/Dense_{depth}/kernel" in self.weights:
            depth += 1
        for i in range(depth):
            x = self._dense(f"{name}/Dense_{i}", x)
            if activate_last or i + 1 < depth:
                x = ACTIVATIONS[activation](x)
        return x

    def _dense(self, name: str, x: np.ndarray) -> np.ndarray:
        result: np.ndarray = x @ self.weights[f"{name}/kernel"] + self.weights[f"{name}/bias"]
        return result


def load(folder: str | Path) -> NumpyPolicy:
    """The policy in an exported folder."""
    folder = Path(folder)
    description = json.loads((folder / "policy.json").read_text())
    with np.load(folder / "weights.npz", allow_pickle=False) as weights:
        return NumpyPolicy(description, weights)
