"""Naive NumPy twins of the library's functions: plain loops over single rows, no JAX."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np


def dense(params: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    return x @ params["kernel"].astype(np.float64) + params["bias"]


def mlp(params: dict[str, Any], x: np.ndarray, activation: str) -> np.ndarray:
    """Dense layers, an activation after every one."""
    for i in range(len(params)):
        x = dense(params[f"Dense_{i}"], x)
        x = np.tanh(x) if activation == "tanh" else np.maximum(x, 0)
    return x


def couplings_forward(
    params: dict[str, Any],
    latent: np.ndarray,
    observation: np.ndarray,
    *,
    num_couplings: int,
    activation: str,
    nets: Sequence[str],
    bijector: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, float]],
) -> tuple[np.ndarray, float]:
    """One latent [A] through couplings that change the first half, the second, the first, ...

    `nets` names the conditioner's networks where each of its outputs has its own; `bijector` maps all outputs in a row
    and the half that changes to the changed half and the log-determinant.
    """
    embedding = mlp(params["embedding"], observation, "relu")
    half = len(latent) // 2
    values, log_det = latent.astype(np.float64), 0.0
    for i in range(num_couplings):
        first = i % 2 == 0 and half > 0
        changed, kept = (values[:half], values[half:]) if first else (values[half:], values[:half])
        inputs = np.concatenate([kept, embedding])
        conditioner = params[f"coupling_{i}"]
        outputs = [
            dense(conditioner[f"{name}_out"], mlp(conditioner[f"{name}_hidden"], inputs, activation))
            for name in (*nets, "both")
            if f"{name}_out" in conditioner
        ]
        changed, change = bijector(np.concatenate(outputs), changed)
        values = np.concatenate([changed, kept] if first else [kept, changed])
        log_det += change
    return values, log_det


def real_nvp_forward(
    params: dict[str, Any], latent: np.ndarray, observation: np.ndarray, *, max_log_scale: float, **options: Any
) -> tuple[np.ndarray, float]:
    """One latent [A] through couplings that scale and shift."""

    def affine(outputs: np.ndarray, changed: np.ndarray) -> tuple[np.ndarray, float]:
        shift, log_scale = np.split(outputs, 2)
        if math.isfinite(max_log_scale):
            log_scale = max_log_scale * np.tanh(log_scale / max_log_scale)
        return changed * np.exp(log_scale) + shift, float(np.sum(log_scale))

    return couplings_forward(params, latent, observation, nets=("shift", "log_scale"), bijector=affine, **options)


def spline_forward(
    params: dict[str, Any],
    latent: np.ndarray,
    observation: np.ndarray,
    *,
    max_log_scale: float,
    num_bins: int,
    tail_bound: float,
    **options: Any,
) -> tuple[np.ndarray, float]:
    """One latent [A] through couplings that bend each number by a rational-quadratic spline."""

    def bend(outputs: np.ndarray, changed: np.ndarray) -> tuple[np.ndarray, float]:
        if math.isfinite(max_log_scale):
            outputs = max_log_scale * np.tanh(outputs / max_log_scale)
        n = len(changed) * num_bins
        widths, heights, slopes = (part.reshape(len(changed), -1) for part in np.split(outputs, [n, 2 * n]))
        rows = zip(changed, widths, heights, slopes, strict=True)
        bent = [rational_quadratic(*row, tail_bound) for row in rows]
        return np.array([y for y, _ in bent]), sum(math.log(slope) for _, slope in bent)

    return couplings_forward(
        params, latent, observation, nets=("widths", "heights", "slopes"), bijector=bend, **options
    )


def rational_quadratic(
    x: float, widths: np.ndarray, heights: np.ndarray, slopes: np.ndarray, bound: float
) -> tuple[float, float]:
    """Durkan et al. (2019), Eq. 4 and 5: a number and the slope there; no bin below a thousandth of the whole."""
    if abs(x) >= bound:
        return x, 1.0
    least = 1e-3

    def ends(logits: np.ndarray) -> list[float]:
        total, found = sum(math.exp(logit) for logit in logits), [-bound]
        for logit in logits:
            found.append(found[-1] + 2 * bound * (least + (1 - len(logits) * least) * math.exp(logit) / total))
        return found

    xs, ys = ends(widths), ends(heights)
    zero = math.log(math.expm1(1 - least))  # at which the softplus is 1 - least
    ds = [1.0, *(least + math.log1p(math.exp(slope + zero)) for slope in slopes), 1.0]
    k = max(i for i in range(len(widths)) if xs[i] <= x)
    width, height = xs[k + 1] - xs[k], ys[k + 1] - ys[k]
    s, z = height / width, (x - xs[k]) / width
    bottom = s + (ds[k + 1] + ds[k] - 2 * s) * z * (1 - z)
    y = ys[k] + height * (s * z**2 + ds[k] * z * (1 - z)) / bottom
    return y, s**2 * (ds[k + 1] * z**2 + 2 * s * z * (1 - z) + ds[k] * (1 - z) ** 2) / bottom**2


class Step(NamedTuple):
    """One step of one environment, as Gymnasium tells it."""

    observation: np.ndarray
    action: np.ndarray
    reward: float
    next_observation: np.ndarray
    terminated: bool
    truncated: bool


class NStepTransition(NamedTuple):
    """What an n-step learner wants to know of one state."""

    observation: np.ndarray
    action: np.ndarray
    reward: float
    discount: float
    next_observation: np.ndarray


def n_step_transitions(steps: Sequence[Step], n: int, gamma: float) -> list[NStepTransition]:
    """The n-step transition of each step that has n-1 successors in the stream, episodes kept apart."""
    transitions = []
    for start in range(len(steps) - n + 1):
        reward, discount = 0.0, 1.0
        for step in steps[start : start + n]:
            reward += discount * step.reward
            discount *= 0.0 if step.terminated else gamma
            if step.terminated or step.truncated:
                break
        first = steps[start]
        transitions.append(NStepTransition(first.observation, first.action, reward, discount, step.next_observation))
    return transitions


def layer_norm(params: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / math.sqrt(x.var() + 1e-6) * params["scale"] + params["bias"]


def value_member(
    params: dict[str, Any], k: int, inputs: list[np.ndarray], hidden_sizes: list[int], norm: bool
) -> np.ndarray:
    """Member k of a value ensemble at one row: a plain network of the concatenated inputs."""
    columns = slice(k * hidden_sizes[0], (k + 1) * hidden_sizes[0])
    kernel = np.concatenate([params[f"first_kernel_{i}"][:, columns] for i in range(len(inputs))])
    hidden = dense({"kernel": kernel, "bias": params["first_bias"][columns]}, np.concatenate(inputs))
    for i in range(len(hidden_sizes)):
        if norm:
            hidden = layer_norm(params[f"norm_{k}_{i}"], hidden)
        hidden = dense(params[f"dense_{k}_{i}"], np.maximum(hidden, 0))
    return hidden


def sum_tree_set(leaves: np.ndarray, indices: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Leaves after one write at a time: indices outside and values not finite ignored, below normal f32 is zero."""
    leaves = leaves.copy()
    for index, value in zip(indices, values, strict=True):
        if 0 <= index < len(leaves) and math.isfinite(value):
            leaves[index] = value if value >= np.finfo(np.float32).tiny else 0
    return leaves


def sum_tree_levels(leaves: np.ndarray) -> list[np.ndarray]:
    """Nodes [nodes, 16] of every level, root first: children added from left to right in float32."""
    levels: list[np.ndarray] = []
    while not levels or len(levels[0]) > 1:
        nodes = np.pad(leaves, (0, -len(leaves) % 16)).reshape(-1, 16)
        levels.insert(0, nodes)
        leaves = nodes[:, 0]
        for child in range(1, 16):
            leaves = leaves + nodes[:, child]
    return levels


def sum_tree_find(leaves: np.ndarray, mass: float) -> int:
    """The first leaf above zero whose running sum exceeds `mass`, or else the last above zero, or else 0."""
    found, running = 0, 0.0
    for index, leaf in enumerate(leaves):
        running += float(leaf)
        if leaf > 0:
            found = index
            if mass < running:
                break
    return found


class Priorities:
    """Masses of prioritized replay, one row at a time, and the maximum as of sweeps that take one update each."""

    def __init__(self, capacity: int, mass: Callable[[float], float]) -> None:
        self.mass, self.capacity, self.rows = mass, capacity, 0
        self.masses = np.zeros(capacity)
        self.maximum, self.written = 0.0, [0.0]

    def ceiling(self) -> float:
        largest = max(self.maximum, *self.written)
        return largest if self.rows >= self.capacity else max(largest, 1.0)

    def add(self, priorities: Sequence[float]) -> None:
        ceiling = self.ceiling()
        for priority in priorities:
            mass = ceiling if math.isnan(priority) or math.isinf(priority) else min(self.mass(abs(priority)), ceiling)
            self.masses[self.rows % self.capacity] = mass
            self.written.append(mass)
            self.rows += 1

    def update(self, slots: Sequence[int], priorities: Sequence[float]) -> None:
        for slot, priority in zip(slots, priorities, strict=True):
            if math.isfinite(priority):
                self.masses[slot] = self.mass(abs(priority))
                self.written.append(self.masses[slot])
        self.maximum, self.written = max(*self.masses, *self.written), [0.0]


def ranks(priorities: Sequence[float], among: Sequence[float]) -> list[int]:
    """1 for a priority that none of `among` exceeds, and one more for each that does."""
    return [1 + sum(other > priority for other in among) for priority in priorities]


def project(atoms: np.ndarray, probs: np.ndarray, support: np.ndarray) -> np.ndarray:
    """A law brought onto a support, point by point: each shared between the two atoms around it."""
    z = np.asarray(support, np.float64)
    law = np.zeros(len(z))
    for y, p in zip(np.asarray(atoms, np.float64), np.asarray(probs, np.float64), strict=True):
        clipped = min(max(y, z[0]), z[-1])
        cell = min(int(np.searchsorted(z, clipped, side="right")) - 1, len(z) - 2)
        share = (clipped - z[cell]) / (z[cell + 1] - z[cell])
        law[cell] += p * (1 - share)
        law[cell + 1] += p * share
    return law
