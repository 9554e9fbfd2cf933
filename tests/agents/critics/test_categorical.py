"""The head of categorical critics: on a small decision process with a known soft return distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp.agents.critics.categorical import make_support
from tests.support.builders import tiny_config
from tests.support.decision_process import ATOMS, GAMMA, PROCESS, learn, make_head, sample_returns
from tests.support.returns import transfer


def test_the_distribution_of_a_small_process_and_its_mean() -> None:
    """Mean within 1 % of the exact soft Q; distribution: the fixed point of the exact projected operator, and within
    blur of the returns that follow, whose Cramer distance from it is at most sqrt(spacing / (1 - gamma))."""
    head = make_head()
    outputs = learn(head, PROCESS, np.zeros((4, 61)))
    probs, exact = np.asarray(jax.nn.softmax(outputs)), PROCESS.soft_q()
    np.testing.assert_allclose(head.values(jnp.asarray(outputs)[None])[0], exact, rtol=0.01)
    support = make_support(tiny_config(**ATOMS).critic)
    dists = np.full((4, 61), 1 / 61)
    pairs = np.einsum("sat,tb->satb", PROCESS.transition, PROCESS.policy).reshape(4, 4)
    matrices = [[transfer(support, r, GAMMA, c) for c in PROCESS.costs().ravel()] for r in PROCESS.reward.ravel()]
    for _ in range(100):
        dists = np.array([sum(pairs[i, j] * matrices[i][j] @ dists[j] for j in range(4)) for i in range(4)])
    np.testing.assert_allclose(np.cumsum(probs, -1), np.cumsum(dists, -1), atol=0.01)
    spacing = 0.5
    grid = np.asarray(support, np.float64)
    for i in range(4):
        drawn = np.sort(sample_returns(PROCESS, i, 4000))
        empirical = np.searchsorted(drawn, grid, side="right") / len(drawn)
        distance = np.sqrt(np.sum((np.cumsum(probs[i]) - empirical) ** 2) * spacing)
        assert distance < np.sqrt(spacing / (1 - GAMMA))
        assert distance < 0.2  # what it is here; a distribution at half the mean is at more than 1


@pytest.mark.slow
def test_independent_critics_have_targets_of_their_own() -> None:
    outputs = jnp.asarray(np.random.default_rng(1).normal(size=(3, 5, 61)), jnp.float32)
    arguments = (jnp.ones(5), jnp.full(5, GAMMA), jnp.zeros(5))
    own = make_head(target="independent").target(outputs, *arguments)
    for k in range(3):
        alone = make_head().target(outputs[k : k + 1], *arguments)
        np.testing.assert_allclose(own.probs[k], alone.probs, atol=1e-7)
    fit = make_head(target="independent").loss((), outputs, own, jnp.ones(5))
    assert fit.loss.shape == ()
    assert fit.priorities.shape == (5,)
