"""Running mean and variance as a pytree, merged chunk by chunk."""

from typing import NamedTuple

import jax.numpy as jnp

from lsp.types import Array

MAX_COUNT = 1_000_000.0
"""Weight of the past at the most. Beyond it old data fade (and float32 counting, exact to 2^24, never stalls)."""


class Moments(NamedTuple):
    """Running moments of vectors [S] (or scalars [])."""

    count: Array  # type: ignore[assignment]  # f32[] weight of what was seen
    mean: Array  # f32[S]
    variance: Array  # f32[S] population variance


def init(shape: tuple[int, ...] = ()) -> Moments:
    """No data: mean 0, variance 1, weight 0."""
    return Moments(jnp.zeros(()), jnp.zeros(shape), jnp.ones(shape))


def update(moments: Moments, rows: Array) -> Moments:
    """Merge a chunk of rows, [n, S] (or [n]).

        delta = mean_new - mean,   mean += delta * n/N,   N var = count var + n var_new + delta^2 count n / N

    with N = count + n. Source: Chan, Golub, LeVeque (1983), Eq. 2.1. Differs: count saturates at `MAX_COUNT`.
    """
    n = rows.shape[0]
    total = moments.count + n
    share = n / total
    delta = jnp.mean(rows, axis=0) - moments.mean
    mean = moments.mean + delta * share
    variance = (1.0 - share) * (moments.variance + delta**2 * share) + share * jnp.var(rows, axis=0)
    return Moments(jnp.minimum(total, MAX_COUNT), mean, variance)


def normalize(moments: Moments, x: Array, clip: float = 10.0, min_std: float = 0.01) -> Array:
    """(x - mean) / max(std, min_std), clipped to +-`clip`; [..., S] -> [..., S].

    `min_std` keeps rarely moving inputs, such as contact forces at first touch, from being blown up to the clip.
    """
    mean = jnp.broadcast_to(moments.mean, x.shape)
    std = jnp.broadcast_to(jnp.maximum(jnp.sqrt(moments.variance), min_std), x.shape)
    return jnp.clip((x - mean) / std, -clip, clip)
