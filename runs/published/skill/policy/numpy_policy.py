"""An exported policy in NumPy alone: this file needs nothing else of `lsp`, and a copy of it goes with every export.

    policy = load("policy")                                  # the folder with policy.json and weights.npz
    action = policy(observation)                             # at the zero latent
    action = policy(observation, np.random.default_rng(0))   # sampled: a new latent; or a seed, or a JAX key

A layer is a stack of couplings. Coupling i transforms one half of the vector and leaves the other, y_b -> g(y_b), where
a network of the other half and the observation describes g: scale and shift in a real-NVP (Dinh et al. 2017, arXiv
1605.08803, Eq. 7), a rational-quadratic spline in a neural spline flow (Durkan et al. 2019, arXiv 1906.04032, Eq. 4).
Layers are stacked bottom first, and the bottom one's output is squashed by tanh (Haarnoja et al. 2018, arXiv
1804.02808). Loading reads numbers and text only: no pickle, no code.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 1
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh}


def affine(layer: Mapping[str, Any], y: np.ndarray, shift: np.ndarray, log_scale: np.ndarray) -> np.ndarray:
    """y * exp(s) + t, [..., n], with s bounded as m * tanh(s / m) where m is finite."""
    return np.asarray(y * np.exp(_bounded(layer, log_scale)) + shift)


def spline(layer: Mapping[str, Any], y: np.ndarray, *outputs: np.ndarray) -> np.ndarray:
    """A monotone rational-quadratic spline of each number of y, [..., n]; the identity outside [-b, b]."""
    bound, least = layer["tail_bound"], layer["min_slope"]
    widths, heights, slopes = (
        _bounded(layer, part).reshape(*y.shape, part.shape[-1] // y.shape[-1]) for part in outputs
    )
    x_knots, y_knots = (_knots(sizes, bound, layer["min_bin_share"]) for sizes in (widths, heights))
    slopes = np.logaddexp(0.0, slopes + np.log(np.expm1(1.0 - least))) + least  # of zero: 1
    slopes = np.pad(slopes, [(0, 0)] * y.ndim + [(1, 1)], constant_values=1.0)
    bins = np.clip(np.sum(y[..., None] >= x_knots, axis=-1, keepdims=True) - 1, 0, slopes.shape[-1] - 2)
    (x0, x1), (y0, y1), (d0, d1) = (
        [np.take_along_axis(knots, bins + i, axis=-1)[..., 0] for i in (0, 1)] for knots in (x_knots, y_knots, slopes)
    )
    z = np.clip((y - x0) / (x1 - x0), 0.0, 1.0)
    ratio, cross = (y1 - y0) / (x1 - x0), z * (1.0 - z)
    inside = y0 + (y1 - y0) * (ratio * z**2 + d0 * cross) / (ratio + (d0 + d1 - 2.0 * ratio) * cross)
    return np.where(np.abs(y) < bound, inside, y).astype(y.dtype)


def _bounded(layer: Mapping[str, Any], outputs: np.ndarray) -> np.ndarray:
    """m*tanh(x/m), in [-m, m]; x itself where the bound m is infinite."""
    bound = float(layer["max_log_scale"])
    return bound * np.tanh(outputs / bound) if np.isfinite(bound) else outputs


def _knots(sizes: np.ndarray, bound: float, least_share: float) -> np.ndarray:
    """Ends of bins that fill [-b, b]: [..., K] -> [..., K + 1]."""
    shares = np.exp(sizes - np.max(sizes, axis=-1, keepdims=True))
    shares = shares / np.sum(shares, axis=-1, keepdims=True) * (1.0 - sizes.shape[-1] * least_share) + least_share
    inner = 2.0 * bound * np.cumsum(shares[..., :-1], axis=-1) - bound
    return np.pad(inner, [(0, 0)] * (sizes.ndim - 1) + [(1, 1)], constant_values=(-bound, bound))


KINDS: dict[str, Callable[..., np.ndarray]] = {"real_nvp": affine, "spline": spline}
BEFORE_KINDS = {"kind": "real_nvp", "outputs": {"shift": 1, "log_scale": 1}}  # exports that do not say: all there was


class NumpyPolicy:
    """Observations to actions within the environment's own bounds, of its own shape and dtype."""

    def __init__(self, description: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> None:
        """Take what `policy.json` and `weights.npz` hold; `weights` by name, such as `0/embedding/Dense_0/kernel`."""
        if description["format"] != FORMAT:
            raise ValueError(f"policy of format {description['format']}, this file reads {FORMAT}")
        self._layers = [BEFORE_KINDS | layer for layer in description["layers"]]
        for layer in self._layers:
            if layer["kind"] not in KINDS:
                raise ValueError(f"a layer's flow is of kind {layer['kind']}, this file has {', '.join(KINDS)}")
        self.description, self.weights = description, dict(weights)
        self.observation_dim, self.action_dim = description["observation_dim"], description["action_dim"]
        self._dtype = np.dtype(description.get("dtype", "float32"))  # of the environment's actions
        low, high = (np.array(description[name], self._dtype) for name in ("low", "high"))
        self._shape, self._low, self._high = low.shape, low.ravel(), high.ravel()

    def __call__(self, observation: Any, key: Any = None) -> np.ndarray:
        """The action at the zero latent, or with `key` at a drawn one.

        An observation is a vector [..., S], or what the environment returns, if that is boxes in dicts or tuples.

        [..., A], or where the environment's actions are no vectors, their own axes in place of A.

        `key` is a NumPy generator, which moves on, or what gives the same latents each time: a seed or a JAX key.
        """
        observation = self._checked(observation)
        latent = np.zeros((*observation.shape[:-1], self.action_dim), np.float32)
        if key is not None:
            latent = np.asarray(_generator(key).standard_normal(latent.shape), np.float32)
        return self.at_latent(observation, latent)

    def at_latent(self, observation: Any, latent: Any) -> np.ndarray:
        """The action, as the environment wants it, at a latent of the top layer, [..., A]."""
        action = self.squashed(observation, latent)
        scaled = (self._high + self._low) / 2 + (self._high - self._low) / 2 * action
        clipped = np.clip(scaled, self._low, self._high).astype(self._dtype)  # in that order: rounding stays within
        return np.asarray(clipped.reshape(*action.shape[:-1], *self._shape))

    def squashed(self, observation: Any, latent: Any, layer: int | None = None) -> np.ndarray:
        """The action in [-1, 1], [..., A], at a latent of `layer`, counted from the bottom; without it of the top."""
        observation = self._checked(observation)
        u = np.asarray(latent, np.float32)
        top = len(self._layers) - 1 if layer is None else layer
        for index in range(top, -1, -1):
            u = self._forward(index, u, self._view(index, observation))
        return np.asarray(np.tanh(u))

    def _checked(self, observation: Any) -> np.ndarray:
        array = np.asarray(self._flat(observation), np.float32)
        if array.shape[-1:] != (self.observation_dim,):
            raise ValueError(f"observation of shape {array.shape}: its last axis must be {self.observation_dim}")
        return array

    def _flat(self, observation: Any) -> Any:
        """What the environment gives as observation, with any leading axes, as vectors; what is a vector as it is."""
        parts = self.description.get("observation", [])
        if not any(part["path"] for part in parts) and not isinstance(observation, Mapping):
            shape = tuple(parts[0]["shape"]) if parts else ()
            if len(shape) < 2 or np.shape(observation)[-len(shape) :] != shape:
                return observation
        elif not isinstance(observation, Mapping | tuple):
            return observation
        if not parts and isinstance(observation, Mapping):
            raise ValueError("observation: a dict, and not of boxes alone: gymnasium.spaces.flatten makes it a vector")
        vectors = []
        for part in parts:
            value = observation
            for key in part["path"]:
                value = value[key]
            array = np.asarray(value, np.float32)
            vectors.append(array.reshape(*array.shape[: array.ndim - len(part["shape"])], -1))
        return np.concatenate(vectors, axis=-1)

    def _view(self, index: int, observation: np.ndarray) -> np.ndarray:
        """What a layer sees: the numbers that it was trained on, normalized as they were then."""
        seen = observation[..., : self._layers[index]["observation_dim"]]
        if f"{index}/observation/mean" not in self.weights:
            return seen
        mean, std = self.weights[f"{index}/observation/mean"], self.weights[f"{index}/observation/std"]
        return np.clip((seen - mean) / std, -10.0, 10.0)

    def _forward(self, index: int, y: np.ndarray, s: np.ndarray) -> np.ndarray:
        """One layer: latent [..., A] and what it sees of the observation, [..., S], to action [..., A]."""
        layer = self._layers[index]
        embedding = self._mlp(f"{index}/embedding", "relu", s, layer["embedding_activate_last"])
        half = self.action_dim // 2
        for i in range(layer["num_couplings"]):
            first, second = y[..., :half], y[..., half:]
            transforms_first = i % 2 == 0 and half > 0
            untouched, moved = (second, first) if transforms_first else (first, second)
            inputs = np.concatenate([untouched, embedding], axis=-1)
            outputs = self._condition(f"{index}/coupling_{i}", layer, inputs)
            moved = KINDS[layer["kind"]](layer, moved, *outputs)
            y = np.concatenate([moved, untouched] if transforms_first else [untouched, moved], axis=-1)
        return y

    def _condition(self, name: str, layer: Mapping[str, Any], inputs: np.ndarray) -> list[np.ndarray]:
        """The outputs of a coupling's network: for each, its numbers of all dimensions in a row."""
        nets = layer["outputs"] if layer["separate_nets"] else ("both",)
        outputs = []
        for net in nets:
            hidden = self._mlp(f"{name}/{net}_hidden", layer["activation"], inputs, activate_last=True)
            outputs.append(self._dense(f"{name}/{net}_out", hidden))
        if layer["separate_nets"]:
            return outputs
        numbers = list(layer["outputs"].values())
        size = outputs[0].shape[-1] // sum(numbers)
        return np.split(outputs[0], size * np.cumsum(numbers[:-1]), axis=-1)

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


def _generator(key: Any) -> np.random.Generator:
    """NumPy's generator of a key. JAX is not needed: whoever has a JAX key has imported it."""
    if hasattr(key, "dtype"):  # of NumPy or of JAX
        if not isinstance(key.dtype, np.dtype):  # a key of `jax.random.key` hides its numbers
            key = sys.modules["jax"].random.key_data(key)
        key = np.ravel(np.asarray(key))
    return np.random.default_rng(key)


def load(folder: str | Path) -> NumpyPolicy:
    """The policy in an exported folder."""
    folder = Path(folder)
    description = json.loads((folder / "policy.json").read_text())
    with np.load(folder / "weights.npz", allow_pickle=False) as weights:
        return NumpyPolicy(description, weights)
