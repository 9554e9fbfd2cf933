"""Naive NumPy twins of the library's functions: plain loops over single rows, no JAX."""

import math
from collections.abc import Sequence
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


def real_nvp_forward(
    params: dict[str, Any], latent: np.ndarray, observation: np.ndarray, *, num_couplings: int, max_log_scale: float,
    activation: str,
) -> tuple[np.ndarray, float]:
    """One latent [A] through affine couplings that scale and shift the first half, the second, the first, ..."""
    embedding = mlp(params["embedding"], observation, "relu")
    half = len(latent) // 2
    values, log_det = latent.astype(np.float64), 0.0
    for i in range(num_couplings):
        first = i % 2 == 0 and half > 0
        changed, kept = (values[:half], values[half:]) if first else (values[half:], values[:half])
        inputs = np.concatenate([kept, embedding])
        nets = params[f"coupling_{i}"]
        outputs = [
            dense(nets[f"{name}_out"], mlp(nets[f"{name}_hidden"], inputs, activation))
            for name in ("shift", "log_scale", "both")
            if f"{name}_out" in nets
        ]
        shift, log_scale = np.split(np.concatenate(outputs), 2)
        if math.isfinite(max_log_scale):
            log_scale = max_log_scale * np.tanh(log_scale / max_log_scale)
        changed = changed * np.exp(log_scale) + shift
        values = np.concatenate([changed, kept] if first else [kept, changed])
        log_det += float(np.sum(log_scale))
    return values, log_det


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
