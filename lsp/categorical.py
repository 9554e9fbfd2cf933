"""Return distributions on fixed atoms for maximum-entropy RL: supports, projection, soft targets; arrays only.

A distribution is a vector of probabilities [..., N] on atoms z_1 < ... < z_N, `support` [N], which need not be evenly
spaced. The soft return obeys, in distribution,

    Z(s, a) = r + d * (Z(s', a') - entropy_cost(a'|s')),     a' ~ pi(.|s')

with `entropy_cost` = alpha * (log pi - log prior) of the *same* a' whose distribution is used: its average would keep
the mean and get every higher moment wrong. Bellemare et al. (2017), arXiv 1707.06887; the entropy term as in Haarnoja
et al. (2018), arXiv 1812.05905.
"""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient
from jax.scipy.special import erf, xlogy

from lsp.types import Array


def make_support(v_min: float, v_max: float, num_atoms: int) -> Array:
    """Evenly spaced atoms from `v_min` to `v_max`, f32[N], in scaled reward."""
    _check_ends(v_min, v_max, num_atoms)
    return jnp.asarray(np.linspace(v_min, v_max, num_atoms), jnp.float32)


def make_symexp_support(v_min: float, v_max: float, num_atoms: int) -> Array:
    """Atoms z = sign(u) * (exp|u| - 1) of evenly spaced u, f32[N]: fine near zero, coarse where returns are large.

    The projection below is linear in z and keeps the mean; a two-hot code in u, read back as the symexp of its mean,
    would be biased (Jensen). Spacing: Hafner et al. (2023), arXiv 2301.04104, Eq. 10.
    """
    _check_ends(v_min, v_max, num_atoms)
    first, last = (math.copysign(math.log1p(abs(end)), end) for end in (v_min, v_max))
    u = np.linspace(first, last, num_atoms)
    return jnp.asarray(np.sign(u) * np.expm1(np.abs(u)), jnp.float32)


def _check_ends(v_min: float, v_max: float, num_atoms: int) -> None:
    if num_atoms < 2 or not v_min < v_max:
        raise ValueError(f"a support needs 2 atoms or more and v_min < v_max, not {num_atoms} on [{v_min}, {v_max}]")


def soft_target_atoms(support: Array, reward: Array, discount: Array, entropy_cost: Array) -> Array:
    """Where a Bellman backup moves the atoms, before projection.

        y_j = r + d * (z_j - entropy_cost(a'|s'))

    Args:
      support: [N].
      reward: [...] scaled; n-step: the discounted sum, see `n_step_reward`.
      discount: [...] gamma^n, 0 where the task terminated: every atom is then at r, without an entropy term.
      entropy_cost: [...] at the a' whose distribution is used.

    Returns:
      [..., N], not clipped to the support. `project` them with the distribution of (s', a').
    """
    chex.assert_equal_shape([reward, discount, entropy_cost])
    return reward[..., None] + discount[..., None] * _minus(support, entropy_cost)


def _minus(support: Array, x: Array) -> Array:
    """Atoms less x, [N] and [...] -> [..., N]."""
    return jnp.broadcast_to(support, (*x.shape, support.size)) - x[..., None]


def n_step_reward(rewards: Array, entropy_costs: Array, gamma: float) -> Array:
    """Sum of n rewards with the entropy terms of the actions between: what to give `soft_target_atoms` for n steps.

        sum_{k<n} gamma^k r_k - sum_{0<k<n} gamma^k entropy_cost_k

    Args:
      rewards: [..., n] scaled.
      entropy_costs: [..., n] of a_0 to a_{n-1}; the first is not used, for Z(s, a) is conditioned on a_0.
      gamma: discount a step.

    Returns:
      [...]. Most implementations leave the second sum out, which is biased; replay of `lsp` holds no log-densities of
      its actions, so that its n-step returns do, too.
    """
    chex.assert_equal_shape([rewards, entropy_costs])
    powers = gamma ** jnp.arange(rewards.shape[-1], dtype=jnp.float32)
    return rewards @ powers - entropy_costs[..., 1:] @ powers[1:]


def project(atoms: Array, probs: Array, support: Array) -> Array:
    """The distribution of `probs` on `atoms`, projected onto the support by linear interpolation.

        F_i = sum_j p_j * clip((z_{i+1} - y_j) / (z_{i+1} - z_i), 0, 1),     m_i = F_i - F_{i-1},     F_0 = 0

    with y_j clipped to the support: F_i is the distribution function averaged over the cell between two atoms, hence m
    a projection in L2 of those (Cramer distance), for uneven atoms as well. The same as

        m_i = sum_j p_j * hat_i(y_j),     hat_i: 1 at z_i, falling linearly to 0 at z_{i-1} and z_{i+1}

    Linear in p; keeps total mass, and the mean of what lies inside the support. It adds (y - z_i) * (z_{i+1} - y) to
    the second moment of a point y of cell i. No index, hence no special case for an atom met exactly.

    Args:
      atoms: [..., M], in any order.
      probs: [..., M].
      support: [N] ascending.

    Returns:
      [..., N].
    Numerics: a difference of float32 sums up to 1, so that masses are good to some 1e-7, not to as many digits.
    Source: Rowland et al. (2018), arXiv 1802.08163, Section 3.1.
    """
    chex.assert_equal_shape([atoms, probs])
    upper = jnp.append(support[1:], support[-1] + 1)  # of the cell above each atom; the last one's lies outside
    inverse = jnp.broadcast_to(1 / (upper - support), (*atoms.shape[:-1], support.size))

    def add(cdf: Array, point: tuple[Array, Array]) -> tuple[Array, None]:
        y, p = point
        return cdf + p[..., None] * jnp.clip(_minus(upper, y) * inverse, 0, 1), None

    # One point at a time: all M * N parts of a batch at once would not fit a cache, and take three times as long.
    y = jnp.clip(atoms, support[0], support[-1])
    points = jnp.moveaxis(y, -1, 0), jnp.moveaxis(probs, -1, 0)
    cdf = jax.lax.scan(add, jnp.zeros(inverse.shape), points)[0]
    return jnp.maximum(jnp.diff(cdf, prepend=0.0), 0.0)


def shift(probs: Array, support: Array, entropy_cost: Array) -> Array:
    """Distribution of the soft value Z(s, a) - entropy_cost(a|s), from that of Z(s, a): [..., N], [...] to [..., N].

    Its expectation over a ~ pi(.|s) is the distribution of V(s): Haarnoja et al. (2018a), arXiv 1801.01290, Eq. 3.
    """
    chex.assert_equal_shape([probs[..., 0], entropy_cost])
    return project(_minus(support, entropy_cost), probs, support)


def regrid(support: Array, factor: float) -> tuple[Array, Array]:
    """How logits of the distribution of Z become logits of that of Z / factor on the same atoms, factor > 1.

        logits of Z / factor = logits of Z @ matrix + offset

    Logits are read off at `factor * z_i`, between atoms linearly; atoms that stand for returns beyond the old support
    get its edge's logit, less 1 for each atom they are away from it. Affine, unlike `project`, so that a network's
    output layer can be moved. The mean is kept up to the new spacing: a distribution narrower than two atoms
    loses some.

    Args:
      support: [N], evenly spaced around 0.
      factor: above 1.

    Returns:
      matrix [N, N], whose columns sum to 1, and offset [N].
    """
    places = factor * support
    inside = jnp.clip(places, support[0], support[-1])
    spacing = support[1] - support[0]
    matrix = jnp.maximum(1 - jnp.abs(jnp.broadcast_to(inside, (support.size,) * 2) - support[:, None]) / spacing, 0)
    return matrix, -jnp.abs(places - inside) / (factor * spacing)


def mean(probs: Array, support: Array) -> Array:
    """Expected return, [..., N] -> [...]."""
    return jnp.matmul(probs, support, precision="highest")


def edge_mass(probs: Array) -> Array:
    """Probability on the first and the last atom, [..., N] -> [...]: what a support that is too small shows first."""
    return probs[..., 0] + probs[..., -1]


def clip_rate(atoms: Array, probs: Array, support: Array) -> Array:
    """Probability outside the support, which `project` moves to its edges, [..., M] -> [...]."""
    outside = (atoms < support[0]) | (atoms > support[-1])
    return jnp.sum(jnp.where(outside, probs, 0.0), axis=-1)


def join(probs: Array, support: Array, rule: str) -> Array:
    """One distribution from an ensemble's, [K, ..., N].

    Args:
      probs: [K, ..., N].
      support: [N].
      rule: `min`, the whole distribution of the member with the smaller mean (its mean is clipped double Q); `mean`,
        their mixture; `first`, member 0; `cdf_max`, the largest distribution function, whose mean is below every
        member's; `independent`, no coupling.

    Returns:
      [..., N]; `independent`: [K, ..., N] as it was.
    """
    if rule == "min":
        smallest = jnp.argmin(mean(probs, support), axis=0)
        return jnp.take_along_axis(probs, smallest[None, ..., None], axis=0)[0]
    if rule == "mean":
        return jnp.mean(probs, axis=0)
    if rule == "first":
        return probs[0]
    if rule == "cdf_max":
        return jnp.diff(jnp.max(jnp.cumsum(probs, axis=-1), axis=0), prepend=0.0)
    if rule == "independent":
        return probs
    raise ValueError(f"join: unknown rule {rule!r}; choose min, mean, first, cdf_max or independent")


def cross_entropy(target_probs: Array, logits: Array) -> Array:
    """-sum_i m_i log p_i in nats, p the softmax of `logits`; [..., N] -> [...]. No gradient flows to the target.

    Its gradient in the logits, p - m where m sums to 1, is linear in m: a target from one sampled action is unbiased.
    """
    chex.assert_equal_shape([target_probs, logits])
    target_probs = stop_gradient(target_probs)
    mass = jnp.sum(target_probs, axis=-1)
    return mass * jax.nn.logsumexp(logits, axis=-1) - jnp.sum(target_probs * logits, axis=-1)


def kl(target_probs: Array, logits: Array) -> Array:
    """KL(m || p) in nats, [..., N] -> [...]: the cross-entropy without the target's own entropy, so 0 where p = m."""
    return cross_entropy(target_probs, logits) - stop_gradient(entropy(target_probs))


def entropy(probs: Array) -> Array:
    """-sum_i m_i log m_i in nats, [..., N] -> [...]."""
    return -jnp.sum(xlogy(probs, probs), axis=-1)


def hl_gauss(target: Array, support: Array, sigma: float = 0.75) -> Array:
    """A scalar target [...] as a distribution [..., N]: a normal around it, cut into cells around evenly spaced atoms.

    Args:
      target: [...], clipped to the support.
      support: [N], evenly spaced.
      sigma: standard deviation, in spacings of atoms.

    Returns:
      [..., N]. Its mean is the target's up to 1e-4 of a spacing, but at the edges, within some 3 sigma, biased inward.
    Source: Farebrother et al. (2024), arXiv 2403.03950, Eq. 3.4.
    """
    spacing = support[1] - support[0]
    edges = jnp.concatenate([support - spacing / 2, support[-1:] + spacing / 2])
    y = jnp.clip(target, support[0], support[-1])
    cdf = erf(_minus(edges, y) / (sigma * spacing * math.sqrt(2.0)))
    cells = jnp.diff(cdf, axis=-1)
    return cells / (cdf[..., -1:] - cdf[..., :1])
