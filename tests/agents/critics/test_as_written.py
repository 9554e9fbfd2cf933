"""The study's loss, which learns nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.decision_process import GAMMA, PROCESS, learn, make_head


@pytest.mark.slow
def test_the_loss_as_written_cannot_see_the_reward_and_ends_uniform() -> None:
    """The point of the simplex nearest to r + gamma q is gamma q + (1 - gamma)/N, whatever r and the entropy cost."""
    head = make_head(distribution_target="as_written")
    rng = np.random.default_rng(0)
    logits, following = jnp.asarray(rng.normal(size=(2, 1, 8, 61)), jnp.float32)
    discount, ones = jnp.full(8, GAMMA), jnp.ones(8)

    def gradient(outputs: jax.Array, reward: float, cost: float) -> jax.Array:
        target = head.target(following, reward * ones, discount, cost * ones)
        return jax.grad(lambda x: head.loss((), x, target, ones).loss)(outputs)

    plain = gradient(logits, 0.0, 0.0)
    assert np.abs(plain).max() > 1e-5
    np.testing.assert_allclose(gradient(logits, 3.0, -2.0), plain, atol=1e-6)
    nearest = jnp.log(GAMMA * jax.nn.softmax(following) + (1 - GAMMA) / 61)
    np.testing.assert_allclose(gradient(nearest, 3.0, -2.0), 0, atol=1e-6)
    start = rng.normal(size=(4, 61))
    rich = PROCESS._replace(reward=PROCESS.reward * 5 + 1)
    for process in (PROCESS, rich):
        np.testing.assert_allclose(jax.nn.softmax(learn(head, process, start)), 1 / 61, atol=1e-3)
