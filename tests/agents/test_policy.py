"""The composed policy: its densities are those of the map from latent to environment action, whatever the stack."""

from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from lsp import flows, losses
from lsp.agents.policy import Observed, Policy, PolicySample, make_policy
from tests.support.builders import FLOWS, random_params

S, A, ROWS = 3, 2, 16
DEPTHS = pytest.mark.parametrize("depth", [1, 2])


class Case(NamedTuple):
    """A policy of some layers; `params` of the one in training, `layers` below it."""

    policy: Policy
    params: Any
    layers: tuple[Any, ...]
    latent: np.ndarray
    observation: np.ndarray

    @property
    def observed(self) -> Observed:
        return seen(self.observation)


def seen(observation: Any) -> Observed:
    """As every layer sees it here."""
    return Observed(observation, observation)


@lru_cache
def case(depth: int, action_dim: int = A, preset: str = "modern", log_det: str = "exact") -> Case:
    rng = np.random.default_rng(depth)
    stack = [flows.make_real_nvp(S, action_dim, **FLOWS[preset]) for _ in range(depth)]
    *layers, params = [random_params(flow.init, rng, scale=0.7) for flow in stack]
    latent, observation = rng.normal(size=(ROWS, action_dim)), rng.normal(size=(ROWS, S))
    return Case(make_policy(stack, log_det), params, tuple(layers), latent, observation)


@lru_cache
def sample(depth: int) -> PolicySample:
    """In float64, at the case's latents."""
    c = case(depth)
    with jax.enable_x64(True):
        result = jax.jit(c.policy.at_latent)(c.params, c.layers, c.observed, c.latent)
        return jax.tree.map(np.asarray, result)


@DEPTHS
@pytest.mark.usefixtures("x64")
def test_log_prob_is_the_change_of_variables_to_the_environment_action(depth: int) -> None:
    c = case(depth)

    def env_action(latent: jax.Array, observation: jax.Array) -> jax.Array:
        return c.policy.at_latent(c.params, c.layers, seen(observation), latent).env_action

    jacobian = jax.jit(jax.vmap(jax.jacfwd(env_action)))(c.latent, c.observation)
    expected = flows.normal_log_prob(c.latent) - np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(sample(depth).log_prob, expected, atol=1e-9)


def test_the_bottom_layer_counts_the_squashed_density_and_an_upper_layer_its_own() -> None:
    np.testing.assert_array_equal(sample(1).layer_log_prob, sample(1).log_prob)
    normal = -0.5 * np.sum(case(2).latent ** 2, axis=-1) - np.log(2 * np.pi)
    np.testing.assert_allclose(sample(2).layer_log_prob, normal - sample(2).log_det, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_divergence_from_the_latent_prior_is_that_from_the_frozen_policy() -> None:
    """log pi(h) - log N(h) = log pi(a) - log pi_frozen(a), for every action: bijections keep density ratios."""
    c, s = case(2), sample(2)
    below = make_policy([flows.make_real_nvp(S, A, **FLOWS["modern"])], "exact")
    frozen = jax.jit(below.at_latent)(c.layers[0], (), c.observed, s.layer_action)
    np.testing.assert_allclose(frozen.env_action, s.env_action, rtol=1e-12)
    ratio = s.layer_log_prob - flows.normal_log_prob(s.layer_action)
    np.testing.assert_allclose(ratio, s.log_prob - frozen.log_prob, atol=1e-9)


@DEPTHS
@pytest.mark.usefixtures("x64")
def test_at_layer_action_recovers_the_sample(depth: int) -> None:
    c, s = case(depth), sample(depth)
    again = jax.jit(c.policy.at_layer_action)(c.params, c.layers, c.observed, s.layer_action)
    for field, expected in s._asdict().items():
        np.testing.assert_allclose(getattr(again, field), expected, rtol=1e-9, atol=1e-9)


@DEPTHS
def test_decode_is_the_environment_action(depth: int) -> None:
    c, s = case(depth), sample(depth)
    decoded = jax.jit(c.policy.decode)(c.layers, s.layer_action, c.observation)
    np.testing.assert_allclose(decoded, s.env_action, atol=1e-5)
    assert np.all(np.abs(decoded) <= 1)


@DEPTHS
def test_random_is_uniform_over_environment_actions(depth: int, key: jax.Array) -> None:
    """And its layer action decodes to it. Kolmogorov's distance of n draws exceeds 1.95/sqrt(n) once in a thousand."""
    c = case(depth)
    n = 2000
    observation = np.tile(c.observation[:1], (n, 1)).astype(np.float32)
    drawn = jax.jit(c.policy.random)(c.layers, observation, key)
    decoded = jax.jit(c.policy.decode)(c.layers, drawn.layer_action, observation)
    np.testing.assert_allclose(decoded, drawn.env_action, atol=1e-4)
    assert np.all(np.abs(drawn.env_action) < 1)
    for draws in np.asarray(drawn.env_action).T:
        distance = np.max(np.abs(np.sort(draws) - (2 * np.arange(1, n + 1) / n - 1))) / 2
        assert distance < 1.95 / np.sqrt(n)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("log_det", ["exact", "approximate"])
@pytest.mark.parametrize("preset", FLOWS)
@pytest.mark.parametrize("action_dim", [1, 2])
def test_density_integrates_to_one(action_dim: int, preset: str, log_det: str) -> None:
    """Gauss-Legendre quadrature over the square of environment actions, squash included."""
    c = case(1, action_dim, preset, log_det)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    grid = np.stack(np.meshgrid(*[nodes] * action_dim, indexing="ij"), axis=-1).reshape(-1, action_dim)
    mass = np.prod(np.stack(np.meshgrid(*[weights] * action_dim, indexing="ij"), axis=-1), axis=-1).ravel()
    observation = np.tile(c.observation[0], (len(grid), 1))
    log_prob = jax.jit(c.policy.at_layer_action)(c.params, (), seen(observation), np.arctanh(grid)).log_prob
    assert np.ptp(log_prob) > 1
    np.testing.assert_allclose(np.sum(mass * np.exp(log_prob)), 1.0, atol=1e-3)


def test_both_policy_gradients_are_the_same_in_expectation(key: jax.Array) -> None:
    """On a quadratic Q: score function with any baseline against pathwise, within the standard error of many draws."""
    c, draws, alpha, baseline = case(1), 2**14, 0.3, -0.7
    observation, one = c.observation[:1].astype(np.float32), np.ones(1, np.float32)

    def loss(params: Any, key: jax.Array, pathwise: bool) -> jax.Array:
        latent = jax.random.normal(key, (*observation.shape[:-1], A))
        sample = c.policy.at_latent(params, (), seen(observation), latent)
        if not pathwise:
            sample = c.policy.at_layer_action(params, (), seen(observation), jax.lax.stop_gradient(sample.layer_action))
        q = -2 * ((sample.env_action - 0.3) ** 2).sum(axis=-1)
        cost = alpha * sample.layer_log_prob
        if pathwise:
            return losses.policy_loss(q, cost, one)
        return losses.likelihood_ratio_policy_loss(sample.layer_log_prob, q, baseline * one, cost, one)

    def gradient(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        both = (jax.grad(loss)(c.params, key, pathwise) for pathwise in (True, False))
        return tuple(ravel_pytree(tree)[0] for tree in both)

    results = [np.asarray(g, np.float64) for g in jax.jit(jax.vmap(gradient))(jax.random.split(key, draws))]
    pathwise, score = (np.mean(g, axis=0) for g in results)
    error = np.sqrt(sum(np.var(g, axis=0) for g in results) / draws)
    used = error > 0  # a ReLU that is off at this observation leaves its weights alone
    assert np.max(np.abs(pathwise[used] - score[used]) / error[used]) < 4.5
    assert np.max(np.abs(pathwise[used]) / error[used]) > 20
    np.testing.assert_array_equal(pathwise[~used], score[~used])
