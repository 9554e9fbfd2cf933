"""Return distributions on atoms: closed forms of soft returns, the projection's facts, what breaks a wrong loss.

Tolerances: the library computes in float32. Probabilities of a distribution are good to 1e-6, means to 1e-5 of the
support's range (N rounded products); sums of dyadic numbers are exact.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp import categorical
from tests.support import reference
from tests.support.returns import backup_atoms, project, transfer

EVEN = categorical.make_support(-6.0, 14.0, 41)
SYMEXP = categorical.make_symexp_support(-30.0, 300.0, 41)
SUPPORTS = pytest.mark.parametrize("support", [EVEN, SYMEXP], ids=["even", "symexp"])


def backup(probs: np.ndarray, support: jax.Array, reward: float, discount: float, cost: float) -> np.ndarray:
    """Projected distribution of r + d (Z - cost), [N]."""
    atoms = backup_atoms(support, jnp.float32(reward), jnp.float32(discount), jnp.float32(cost))
    return np.asarray(project(atoms, jnp.asarray(probs, jnp.float32), support))


def fixed_points(
    support: jax.Array, rewards: np.ndarray, costs: np.ndarray, pi: np.ndarray, gamma: float
) -> np.ndarray:
    """Distributions of Z(b), [A, N], of one state with actions b, at the fixed point of the projected backup."""
    matrices = [[transfer(support, r, gamma, cost) for cost in costs] for r in rewards]
    dists = np.full((len(rewards), support.size), 1 / support.size)
    for _ in range(int(30 / (1 - gamma))):
        dists = np.array([sum(p * m @ dist for p, m, dist in zip(pi, row, dists, strict=True)) for row in matrices])
    return dists


def moments(probs: np.ndarray, atoms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance over the last axis, in float64."""
    probs, atoms = np.asarray(probs, np.float64), np.asarray(atoms, np.float64)
    mean = np.sum(probs * atoms, axis=-1)
    return mean, np.sum(probs * (atoms - mean[..., None]) ** 2, axis=-1)


def random_dist(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.dirichlet(np.full(shape[-1], 0.3), size=shape[:-1]).astype(np.float32)


def blur(support: jax.Array, gamma: float) -> float:
    """The most variance that projecting every backup can add at the fixed point, on even atoms."""
    return float(support[1] - support[0]) ** 2 / (4 * (1 - gamma**2))


# Closed forms of one-state decision processes


@pytest.mark.parametrize("pi", [(1 / 3, 1 / 3, 1 / 3), (0.7, 0.2, 0.1)], ids=["uniform", "uneven"])
def test_the_fixed_point_has_the_soft_return_s_mean_and_variance(pi: tuple[float, ...]) -> None:
    """u_b = R_b - alpha log pi_b, E W = E u / (1 - gamma), Z_b = R_b + gamma W: exact means, variances up to blur."""
    gamma, alpha = 0.8, 0.5
    rewards, weights = np.array([-1.0, 0.5, 2.0]), np.array(pi)
    support = categorical.make_support(-15.0, 20.0, 71)
    costs = alpha * np.log(weights)
    u = rewards - costs
    expected = rewards + gamma * weights @ u / (1 - gamma)
    variance = gamma**2 * (weights @ u**2 - (weights @ u) ** 2) / (1 - gamma**2)
    mean, learned = moments(fixed_points(support, rewards, costs, weights, gamma), np.asarray(support))
    np.testing.assert_allclose(mean, expected, atol=2e-5)
    assert np.all((learned > variance - 1e-4) & (learned < variance + blur(support, gamma)))


def test_dyadic_rewards_and_an_entropy_bonus_of_one_are_exact_to_the_bit() -> None:
    """Four coin flips, halved each step, alpha = 1/ln 2 and two actions: 16 points from 1.875, each of 1/16."""
    support = categorical.make_support(0.0, 4.0, 33)
    for bonus in (0.0, 1.0):
        dist, discount = np.eye(33)[0], 0.0  # the last step terminates: no entropy term after it
        for _ in range(4):
            dist = (backup(dist, support, 0.0, discount, -bonus) + backup(dist, support, 1.0, discount, -bonus)) / 2
            discount = 0.5
        value = np.asarray(categorical.shift(jnp.asarray(dist), support, jnp.float32(-bonus)))
        expected = np.zeros(33)
        expected[int(15 * bonus) : int(15 * bonus) + 16] = 1 / 16
        np.testing.assert_array_equal(value, expected)


def test_termination_drops_the_entropy_with_the_value_and_truncation_neither(rng: np.random.Generator) -> None:
    dist = random_dist(rng, 41)
    ended, cut = (backup(dist, EVEN, 0.7, discount, 1.3) for discount in (0.0, 0.9))
    two_hot = np.zeros(41)
    two_hot[13], two_hot[14] = 0.6, 0.4  # 0.7 lies between the atoms at 0.5 and 1
    np.testing.assert_allclose(ended, two_hot, atol=1e-6)
    np.testing.assert_allclose(cut, reference.project(np.asarray(EVEN) * 0.9 + 0.7 - 1.17, dist, EVEN), atol=1e-6)


def test_a_soft_optimal_policy_s_value_is_certain_only_with_the_entropy_of_the_same_action() -> None:
    """pi ~ exp(R/alpha): R - alpha log pi is alpha * logsumexp(R/alpha) for every action, so W is a point."""
    gamma, alpha, rewards = 0.7, 0.6, np.array([-0.4, 0.3, 0.9])
    support = categorical.make_support(-2.0, 8.0, 201)
    soft = alpha * np.log(np.sum(np.exp(rewards / alpha)))
    pi = np.exp((rewards - soft) / alpha)
    own = alpha * np.log(pi)
    variances = []
    for costs in (own, np.full(3, pi @ own)):
        dists = fixed_points(support, rewards, costs, pi, gamma)
        shifted = np.asarray(categorical.shift(jnp.float32(dists), support, jnp.float32(costs)))
        mean, variance = moments(pi @ shifted, np.asarray(support))
        np.testing.assert_allclose(mean, soft / (1 - gamma), atol=1e-4)
        variances.append(variance)
    assert variances[0] < blur(support, gamma) + float(support[1] - support[0]) ** 2 / 4
    reward_variance = pi @ rewards**2 - (pi @ rewards) ** 2
    np.testing.assert_allclose(variances[1], reward_variance / (1 - gamma**2), rtol=0.02)


def test_the_soft_optimum_of_a_quadratic_bandit_has_one_value_whatever_the_action(rng: np.random.Generator) -> None:
    """r = -k a^2/2: pi* = N(0, alpha/k), and the shifted distribution of every action has mean
    V* = alpha/2 log(2 pi alpha/k)."""
    k, alpha = 2.0, 0.5
    action = rng.normal(0, math.sqrt(alpha / k), 64)
    log_prob = -(action**2) * k / (2 * alpha) - 0.5 * math.log(2 * math.pi * alpha / k)
    support = categorical.make_support(-12.0, 4.0, 81)
    reward, zero = jnp.float32(-k * action**2 / 2), jnp.zeros(64)
    q = project(backup_atoms(support, reward, zero, zero), np.tile(np.float32(np.eye(81)[0]), (64, 1)), support)
    value = categorical.mean(categorical.shift(q, support, jnp.float32(alpha * log_prob)), support)
    np.testing.assert_allclose(value, alpha / 2 * math.log(2 * math.pi * alpha / k), atol=1e-5)


def test_n_steps_equal_one_step_after_another(rng: np.random.Generator) -> None:
    """Entropy terms of the actions between included; the projections in between lose nothing of the mean."""
    gamma, rewards, costs = 0.9, *rng.normal(size=(2, 3)).astype(np.float32)
    dist = next_dist = np.asarray(categorical.hl_gauss(jnp.float32(4.0), EVEN))
    for k in (2, 1, 0):
        cost = costs[k + 1] if k < 2 else 0.25
        next_dist = backup(next_dist, EVEN, rewards[k], gamma, cost)
    total = categorical.n_step_reward(rewards, costs, gamma)
    at_once = backup(dist, EVEN, float(total), gamma**3, 0.25)
    np.testing.assert_allclose(moments(at_once, EVEN)[0], moments(next_dist, EVEN)[0], atol=1e-5)
    plain = sum(gamma**k * (rewards[k] - (costs[k] if k else 0)) for k in range(3))
    np.testing.assert_allclose(total, plain, rtol=1e-6)


# The projection


@SUPPORTS
def test_projection_equals_its_naive_twin_over_any_leading_axes(support: jax.Array, rng: np.random.Generator) -> None:
    atoms = np.float32(rng.normal(size=(3, 4, 9)) * 0.6 * float(support[-1]))  # some outside, in any order
    probs = random_dist(rng, 3, 4, 9)
    projected = np.asarray(project(atoms, probs, support))
    for index in np.ndindex(3, 4):
        np.testing.assert_allclose(projected[index], reference.project(atoms[index], probs[index], support), atol=1e-6)


@SUPPORTS
def test_projection_keeps_the_mean(support: jax.Array, rng: np.random.Generator) -> None:
    """Sum m z = r + d (sum p z - cost), where nothing is clipped."""
    z, size = np.asarray(support, np.float64), 50
    inner = (z > z[0] * 0.4) & (z < z[-1] * 0.4)
    probs = random_dist(rng, size, support.size) * inner
    probs /= probs.sum(axis=-1, keepdims=True)
    reward, discount = rng.normal(size=size), rng.uniform(0, 1, size)
    cost = rng.normal(size=size)
    arrays = (jnp.asarray(x, jnp.float32) for x in (reward, discount, cost))
    projected = project(backup_atoms(support, *arrays), probs, support)
    expected = reward + discount * (moments(probs, z)[0] - cost)
    np.testing.assert_allclose(moments(projected, z)[0], expected, atol=1e-5 * (z[-1] - z[0]))
    np.testing.assert_allclose(categorical.mean(projected, support), expected, atol=1e-5 * (z[-1] - z[0]))


def cramer(p: np.ndarray, q: np.ndarray, z: np.ndarray) -> np.ndarray:
    difference = np.cumsum(np.asarray(p, np.float64) - q, axis=-1)[..., :-1]
    return np.sqrt(np.sum(difference**2 * np.diff(z), axis=-1))


@SUPPORTS
def test_backups_contract_in_cramer_s_distance_and_not_in_total_variation(
    support: jax.Array, rng: np.random.Generator
) -> None:
    z, gamma = np.asarray(support, np.float64), 0.9
    matrix = transfer(support, 0.3, gamma, -0.4)
    p, q = random_dist(rng, 2, 200, support.size)
    ratio = cramer(p @ matrix.T, q @ matrix.T, z) / cramer(p, q, z)
    assert np.max(ratio) <= math.sqrt(gamma) * (1 + 1e-5)
    far = np.eye(support.size)[[4, -4]]
    assert 0.5 * np.abs(matrix @ far[0] - matrix @ far[1]).sum() == pytest.approx(1.0)  # no factor below 1 at all


@SUPPORTS
def test_projection_adds_this_much_to_the_second_moment(support: jax.Array, rng: np.random.Generator) -> None:
    z, count = np.asarray(support, np.float64), 60
    points = np.float32(rng.uniform(z[0], z[-1], count))
    projected = np.asarray(project(points[:, None], np.ones((count, 1), np.float32), support), np.float64)
    cell = np.searchsorted(z, points, side="right") - 1
    added = (points - z[cell]) * (z[cell + 1] - points)
    np.testing.assert_allclose(projected @ z**2 - points.astype(np.float64) ** 2, added, atol=2e-6 * z[-1] ** 2)


@SUPPORTS
def test_on_an_atom_at_the_edges_and_outside(support: jax.Array) -> None:
    """An atom met exactly keeps all its mass; beyond an edge all goes to it, and is counted."""
    n = support.size
    np.testing.assert_allclose(project(support[:, None], jnp.ones((n, 1)), support), np.eye(n), atol=1e-6)
    atoms = jnp.stack([support[0] - 5, support[-1] + 5, support[3]])
    probs = jnp.float32([0.25, 0.5, 0.25])
    dist = project(atoms, probs, support)
    np.testing.assert_allclose(dist[jnp.array([0, 3, n - 1])], [0.25, 0.25, 0.5], atol=1e-6)
    np.testing.assert_allclose(categorical.edge_mass(dist), 0.75, atol=1e-6)
    np.testing.assert_allclose(categorical.clip_rate(atoms, probs, support), 0.75, atol=1e-6)
    assert categorical.clip_rate(support, jnp.full(n, 1 / n), support) == 0


def test_supports() -> None:
    np.testing.assert_allclose(EVEN, np.linspace(-6, 14, 41), rtol=1e-6)
    np.testing.assert_allclose(np.diff(np.sign(SYMEXP) * np.log1p(np.abs(SYMEXP))), math.log(31 * 301) / 40, rtol=1e-4)
    np.testing.assert_allclose(SYMEXP[jnp.array([0, -1])], [-30, 300], rtol=1e-6)
    for make in (categorical.make_support, categorical.make_symexp_support):
        for wrong in ((1.0, 1.0, 5), (0.0, 1.0, 1)):
            with pytest.raises(ValueError, match="2 atoms or more and v_min < v_max"):
                make(*wrong)


# Losses


def test_the_cross_entropy_of_sampled_targets_is_unbiased(rng: np.random.Generator) -> None:
    """The mean gradient over every next action equals the gradient of the mixture."""
    dists, pi = random_dist(rng, 5, 41), rng.dirichlet(np.ones(5))
    logits = jnp.asarray(rng.normal(size=41), jnp.float32)
    gradient: Callable[..., jax.Array] = jax.jit(jax.grad(categorical.cross_entropy, argnums=1))
    single = sum(p * np.asarray(gradient(jnp.asarray(m), logits)) for p, m in zip(pi, dists, strict=True))
    mixture = gradient(jnp.asarray(pi @ dists, jnp.float32), logits)
    np.testing.assert_allclose(single, mixture, atol=1e-6)
    np.testing.assert_allclose(mixture, jax.nn.softmax(logits) - pi @ dists, atol=1e-6)


def test_kl_is_the_cross_entropy_without_its_floor(rng: np.random.Generator) -> None:
    target, logits = random_dist(rng, 3, 41), np.float32(rng.normal(size=(3, 41)))
    probs = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    expected = [np.sum(m[m > 0] * np.log(m[m > 0] / p[m > 0])) for m, p in zip(target, probs, strict=True)]
    np.testing.assert_allclose(categorical.kl(target, logits), expected, rtol=1e-5)
    np.testing.assert_allclose(categorical.kl(probs, jnp.asarray(logits)), 0, atol=1e-6)
    sharp = jnp.eye(41)[:3]  # zeros in the target are no trouble
    np.testing.assert_allclose(categorical.kl(sharp, logits), -jnp.log(probs)[jnp.arange(3), jnp.arange(3)], rtol=1e-5)
    to_target = jax.grad(lambda m: jnp.sum(categorical.kl(m, logits)))(jnp.asarray(target))
    np.testing.assert_array_equal(to_target, 0)


def test_hl_gauss_keeps_the_mean_inside_and_is_as_wide_as_asked() -> None:
    spacing = float(EVEN[1] - EVEN[0])
    targets = jnp.linspace(-3.0, 11.0, 57)
    dists = np.asarray(categorical.hl_gauss(targets, EVEN))
    mean, variance = moments(dists, np.asarray(EVEN))
    np.testing.assert_allclose(mean, targets, atol=1e-4 * spacing)
    np.testing.assert_allclose(np.sqrt(variance), math.sqrt(0.75**2 + 1 / 12) * spacing, rtol=0.01)
    np.testing.assert_allclose(dists.sum(axis=-1), 1, atol=1e-6)
    edge = np.asarray(categorical.hl_gauss(jnp.float32(99.0), EVEN))
    assert EVEN[-1] - spacing < moments(edge, np.asarray(EVEN))[0] < EVEN[-1]


# Twin rules


def test_rules_of_joining_an_ensemble(rng: np.random.Generator) -> None:
    """`min` takes one whole, of the smaller mean; the mean of the largest distribution function is below."""
    dists = random_dist(rng, 3, 20, 41)
    joined = {rule: np.asarray(categorical.join(dists, EVEN, rule)) for rule in ("min", "mean", "first", "cdf_max")}
    means = moments(dists, np.asarray(EVEN))[0]
    for b, k in enumerate(means.argmin(axis=0)):
        np.testing.assert_array_equal(joined["min"][b], dists[k, b])
    np.testing.assert_allclose(joined["mean"], dists.mean(axis=0), atol=1e-7)
    np.testing.assert_array_equal(joined["first"], dists[0])
    np.testing.assert_allclose(np.cumsum(joined["cdf_max"], -1), np.cumsum(dists, -1).max(axis=0), atol=1e-6)
    assert np.all(moments(joined["cdf_max"], np.asarray(EVEN))[0] < means.min(axis=0) + 1e-5)
    assert categorical.join(dists, EVEN, "independent") is dists
    with pytest.raises(ValueError, match="unknown rule 'median'"):
        categorical.join(dists, EVEN, "median")


def test_the_largest_distribution_function_of_crossing_distributions_is_far_below_both() -> None:
    support = categorical.make_support(-5.0, 15.0, 401)
    z = np.asarray(support)
    dists = np.stack([np.exp(-((z - m) ** 2) / (2 * s**2)) for m, s in ((5.0, 2.5), (5.2, 0.5))])
    dists = jnp.asarray(dists / dists.sum(axis=-1, keepdims=True), jnp.float32)
    means = [float(categorical.mean(categorical.join(dists, support, rule), support)) for rule in ("min", "cdf_max")]
    # Quantile by quantile the lesser: E min(5 + 2.5 x, 5.2 + 0.5 x), x ~ N(0, 1), = 5 - 2 E max(0, x - 0.1).
    density, tail = math.exp(-0.005) / math.sqrt(2 * math.pi), math.erfc(0.1 / math.sqrt(2)) / 2
    np.testing.assert_allclose(means, [5.0, 5 - 2 * (density - 0.1 * tail)], atol=1e-3)


@pytest.mark.parametrize("center", [-4.0, 0.3, 9.0])
def test_regridded_logits_are_of_the_return_in_wider_units(center: float) -> None:
    support = categorical.make_support(-10.0, 10.0, 41)
    logits = -((support - center) ** 2) / 4  # std 1.4, spacing 0.5
    matrix, offset = categorical.regrid(support, 2.0)
    np.testing.assert_allclose(matrix.sum(axis=0), 1.0, rtol=1e-6)
    old, new = jax.nn.softmax(logits), jax.nn.softmax(logits @ matrix + offset)
    mean, wide_mean = categorical.mean(old, support), 2 * categorical.mean(new, support)
    variance = categorical.mean(old, support**2) - mean**2
    wide_variance = 4 * categorical.mean(new, support**2) - wide_mean**2
    if center < 9.0:  # beyond the old support lies nothing
        np.testing.assert_allclose([wide_mean, wide_variance], [mean, variance], rtol=2e-3)
        return
    assert mean < wide_mean < center + 1, "what was cut off at the edge may now lie beyond it"
