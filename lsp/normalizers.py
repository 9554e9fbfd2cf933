"""Running mean and variance as a pytree, merged chunk by chunk."""

from typing import NamedTuple

import jax.numpy as jnp

from lsp.types import Array

MAX_COUNT = 1_000_000.0
"""Weight of the past at the most. Beyond it old data fade (and float32 counting, exact to 2^24, never stalls)."""

ROUNDING = 16 * 2.0**-23
"""A spread of fewer spacings of float32 around the mean than these is rounding, of the input or of the moments."""
NOISE = 1e-12
"""A spread below this is rounding, of float64, in any unit."""


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


def scale(moments: Moments) -> Array:
    """What numbers are divided by, [S]: their standard deviation, unless they have never moved.

        scale = std  where  std > max(16 eps |mean|, 1e-12),  else max(1, |mean|)

    with eps = 2^-23, the relative spacing of float32. A floor in the observation's own unit would hide whatever is
    measured in a large one (returns of prices, micrometers in meters), so the only spread that does not count is that
    of rounding: of float32 around the mean, of float64 around zero. Divided by that, noise would look like a signal.
    What is constant up to rounding stays near zero instead, and once it moves it is a number of ordinary size also
    for a frozen layer, whose moments do not follow.
    """
    std, size = jnp.sqrt(moments.variance), jnp.abs(moments.mean)
    return jnp.where(std > jnp.maximum(ROUNDING * size, NOISE), std, jnp.maximum(size, 1.0))


def normalize(moments: Moments, x: Array, clip: float = 10.0) -> Array:
    """(x - mean) / scale, clipped to +-`clip`; [..., S] -> [..., S]. See `scale`, which is the standard deviation."""
    mean, unit = (jnp.broadcast_to(row, x.shape) for row in (moments.mean, scale(moments)))
    return jnp.clip((x - mean) / unit, -clip, clip)
