"""The head of scalar critics."""

import jax.numpy as jnp
import numpy as np

from tests.support.decision_process import PROCESS, learn, make_head


def test_a_scalar_head_ends_at_the_same_values() -> None:
    head = make_head(kind="scalar")
    np.testing.assert_allclose(learn(head, PROCESS, np.zeros((4, 1)))[:, 0], PROCESS.soft_q(), rtol=0.01)


def test_a_scalar_target_stays_between_its_bounds() -> None:
    outputs, reward, cost = jnp.array([[[-60.0], [-3.0], [9.0]]]), jnp.array([-1.0, -1.0, 0.0]), jnp.zeros(3)
    discount = jnp.full(3, 0.98)
    free = make_head(kind="scalar").target(outputs, reward, discount, cost)
    bound = make_head(kind="scalar", target_min=-50.0, target_max=0.0).target(outputs, reward, discount, cost)
    np.testing.assert_allclose(free, [-59.8, -3.94, 8.82], rtol=1e-6)
    np.testing.assert_allclose(bound, [-50.0, -3.94, 0.0], rtol=1e-6)
