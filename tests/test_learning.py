"""Agents learn what is known in closed form: the soft-optimal policy and value of one-state tasks.

In every task here the action leads back to a random state, whatever it was, and the reward of the action tanh(u) is

    r(u) = f(u - m(s)) - alpha (log|det tanh'(u)| + log prior(tanh u)),

so that in u, where the flow lives, the soft-optimal density is exp(f(u - m(s)) / alpha) / Z and the soft value, of
every state, is alpha log Z / (1 - gamma). Everything is learned through `agent.update` alone.
"""

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp import flows
from lsp.agents.sac_lsp import make_agent
from lsp.config import Config
from lsp.types import Agent, Array, Batch, EnvSpec, Key, Params, Transition
from tests.support.builders import tiny_config

SPEC = EnvSpec(observation_dim=1, action_dim=2)
ALPHA, GAMMA, BATCH_SIZE, UPDATES, DRAWS = 0.5, 0.5, 128, 8000, 4096
STATES = np.float32([[-0.8], [0.8]])

PRECISION = np.array([[2.0, 1.2], [1.2, 2.0]], np.float32)
STEEPNESS = 4.0


def mean(observation: Array) -> Array:
    """m(s) of the quadratic task, [..., 1] -> [..., 2]."""
    return jnp.concatenate([observation, -observation], axis=-1) / 2


def quadratic(x: Array) -> Array:
    return -0.5 * jnp.einsum("...i,ij,...j->...", x, PRECISION, x)


def two_modes(x: Array) -> Array:
    """Two equal parabolas, at +1 and -1 of the first dimension."""
    nearest = jnp.minimum((x[..., 0] - 1) ** 2, (x[..., 0] + 1) ** 2)
    return -0.5 * STEEPNESS * nearest - 0.5 * x[..., 1] ** 2


TASKS = (quadratic, two_modes)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_fully")]


class Learned(NamedTuple):
    """What training ends at."""

    draws: np.ndarray  # [2, DRAWS, A] actions before tanh in each of STATES
    value: float  # soft value that targets bootstrap from, averaged over the last quarter of the updates


def collect(agent: Agent, config: Config, task: Array, params: Params, key: Key) -> Batch:
    """Fresh rows: half from the policy, half from around the mean, so that the critic knows what the policy avoids."""
    state_key, act_key, wide_key, next_key = jax.random.split(key, 4)
    shape = (BATCH_SIZE, SPEC.observation_dim)
    s, next_s = (jax.random.uniform(k, shape, minval=-1.0, maxval=1.0) for k in (state_key, next_key))
    wide = mean(s) + jax.random.normal(wide_key, (BATCH_SIZE, SPEC.action_dim))
    own = agent.act(params, s, act_key).layer_action
    u = jnp.where(jnp.arange(BATCH_SIZE)[:, None] % 2 == 0, own, wide)
    prior = flows.normal_log_prob(jnp.tanh(u)) if config.policy.prior == "normal" else 0.0
    f = jnp.where(task == TASKS.index(two_modes), two_modes(u - mean(s)), quadratic(u - mean(s)))
    reward = (f - ALPHA * (flows.tanh_log_det(u) + prior)) / config.reward_scale
    rows = Transition(s, u, reward, jnp.full(BATCH_SIZE, GAMMA), next_s)
    return Batch(rows, jnp.arange(BATCH_SIZE), jnp.ones(BATCH_SIZE))


@lru_cache
def make_run(preset: str) -> Callable[[Array, Key], tuple[Array, Array]]:
    """Training and what it ends at as one compiled function of (which of TASKS, key)."""
    overrides = {
        "flow.num_couplings": 4, "flow.hidden_sizes": (16,), "flow.embedding_sizes": (8,),
        "critic.hidden_sizes": (32, 32), "critic.count": 1, "critic.tau": 0.05,
        "critic.learning_rate": 1e-3, "policy.learning_rate": 1e-3,
        "temperature.learned": False, "temperature.initial": ALPHA, "normalize.observations": False,
    }  # fmt: skip
    config = tiny_config(preset, **overrides)
    agent = make_agent(config, SPEC)

    def step(task: Array, state: Params, key: Key) -> tuple[Params, Array]:
        batch_key, update_key = jax.random.split(key)
        batch = collect(agent, config, task, agent.actor_params(state), batch_key)
        state, info = agent.update(state, batch, update_key)
        return state, (info.metrics["target"] - config.reward_scale * jnp.mean(batch.transitions.reward)) / GAMMA

    @jax.jit
    def run(task: Array, key: Key) -> tuple[Array, Array]:
        state, values = jax.lax.scan(partial(step, task), agent.init(key), jax.random.split(key, UPDATES))
        observations = jnp.repeat(STATES[:, None], DRAWS, axis=1)
        return agent.act(agent.actor_params(state), observations, key).layer_action, values

    return run


@lru_cache
def learn(preset: str, f: Callable[[Array], Array]) -> Learned:
    """Train one agent."""
    draws, values = make_run(preset)(np.int32(TASKS.index(f)), jax.random.key(1))
    return Learned(np.asarray(draws), float(np.mean(values[-UPDATES // 4 :])))


PRESETS = pytest.mark.parametrize("preset", ["modern", "dissertation"])


@PRESETS
def test_a_quadratic_reward_makes_the_policy_normal(preset: str) -> None:
    """With covariance alpha K^-1, correlated, around a mean that the state decides."""
    draws = learn(preset, quadratic).draws
    for observation, u in zip(STATES, draws, strict=True):
        np.testing.assert_allclose(u.mean(axis=0), mean(observation), atol=0.15)
        np.testing.assert_allclose(np.cov(u.T), ALPHA * np.linalg.inv(PRECISION), atol=0.08)


@PRESETS
def test_the_soft_value_is_that_of_the_closed_form(preset: str) -> None:
    """alpha/2 log det(2 pi alpha K^-1) each step, which in one dimension is alpha log sqrt(2 pi alpha / k)."""
    expected = 0.5 * ALPHA * np.linalg.slogdet(2 * math.pi * ALPHA * np.linalg.inv(PRECISION))[1] / (1 - GAMMA)
    np.testing.assert_allclose(learn(preset, quadratic).value, expected, atol=0.04)


def best_diagonal_gaussian() -> float:
    """Largest E f + alpha H over normal u with independent dimensions: the second is exact, the first on a grid."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    means, stds = (grid[..., None] for grid in np.meshgrid(np.linspace(0, 2, 81), np.linspace(0.05, 2, 79)))
    u = np.stack(np.broadcast_arrays(means + stds * nodes, 0.0), axis=-1)
    expected = np.asarray(two_modes(u)) @ weights / np.sum(weights)
    entropy = 0.5 * np.log(2 * math.pi * math.e * stds[..., 0] ** 2)
    second = 0.5 * ALPHA * math.log(2 * math.pi * ALPHA)
    return float(np.max(expected + ALPHA * entropy)) + second


def test_a_flow_keeps_both_modes_where_a_gaussian_cannot() -> None:
    """Each side keeps a fifth of the mass and the saddle between little; the value is beyond any diagonal Gaussian's.

    Affine couplings of one dimension are affine, so the task has a second one: the flow splits its latent by sign.
    """
    learned = learn("modern", two_modes)
    widths = [ALPHA / STEEPNESS, ALPHA]
    optimum = ALPHA * (math.log(2) + 0.5 * sum(math.log(2 * math.pi * width) for width in widths))
    gaussian = best_diagonal_gaussian()
    assert learned.value * (1 - GAMMA) > (gaussian + optimum) / 2
    assert learned.value * (1 - GAMMA) < optimum + 0.05
    for observation, u in zip(STATES, learned.draws, strict=True):
        first = u[:, 0] - float(mean(observation)[0])
        assert 0.2 < np.mean(first > 0) < 0.8
        assert np.mean(np.abs(first) < 0.3) < 0.1
