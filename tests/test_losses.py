"""Losses: cases worked by hand, gradients by finite differences, and shapes that must not broadcast."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lsp import losses

B, K = 5, 2
Q = np.float32([[1.0, 2.0, 3.0], [3.0, 1.0, 5.0]])


def arrays(rng: np.random.Generator, *names: str) -> dict[str, np.ndarray]:
    """Random inputs of a loss: an ensemble where the name is `ensemble`, a batch otherwise."""
    return {name: rng.normal(size=(K, B) if name == "ensemble" else (B,)) for name in names}


@pytest.mark.parametrize(("rule", "expected"), [("min", [1, 1, 3]), ("mean", [2, 1.5, 4]), ("first", [1, 2, 3])])
def test_join(rule: str, expected: list[float]) -> None:
    np.testing.assert_array_equal(losses.join(Q, rule), np.float32(expected))
    np.testing.assert_array_equal(losses.join(Q[:1], rule), Q[0])


def test_join_names_an_unknown_rule() -> None:
    with pytest.raises(ValueError, match="'median'"):
        losses.join(Q, "median")


@pytest.mark.parametrize(("rule", "expected"), [("min", [10.25, 20.0, 30.75]), ("mean", [10.75, 20.0, 31.25])])
def test_soft_q_target_by_hand(rule: str, expected: list[float]) -> None:
    """r + d (join Q - cost): the second row terminated, and keeps neither value nor entropy."""
    reward, discount = np.float32([10, 20, 30]), np.float32([0.5, 0.0, 0.5])
    cost = np.float32([0.5, 7.0, 1.5])
    np.testing.assert_allclose(losses.soft_q_target(Q, reward, discount, cost, rule), expected)


def test_critic_loss_by_hand() -> None:
    """Errors (0, 0, -1) and (2, -1, 1) with weights (1, 2, .5); Huber is linear beyond 1."""
    target, weights = np.float32([1, 2, 4]), np.float32([1, 2, 0.5])
    squared, td_errors = losses.critic_loss(Q, target, weights)
    wide, _ = losses.critic_loss(Q, target, weights, "huber", huber_delta=100.0)
    np.testing.assert_allclose(wide, squared, rtol=1e-6)
    np.testing.assert_allclose(
        losses.critic_loss(Q, target, weights, "huber", huber_delta=0.25)[0],
        np.mean(np.sum(weights[None] * optax.huber_loss(Q, np.stack([target] * 2), delta=0.25), axis=0)),
        rtol=1e-6,
    )
    np.testing.assert_array_equal(td_errors, Q - target)
    np.testing.assert_allclose(squared, (0.5 * 0.5 + 1 * 2.0 + 2 * 0.5 + 0.5 * 0.5) / 3, rtol=1e-6)
    np.testing.assert_allclose(
        losses.critic_loss(Q, target, weights, "huber")[0], (0.5 * 0.5 + 1 * 1.5 + 2 * 0.5 + 0.5 * 0.5) / 3, rtol=1e-6
    )


def test_value_and_policy_losses_by_hand() -> None:
    value, q = np.float32([1, 2, 3]), np.float32([4, 5, 6])
    cost, weights = np.float32([1, 2, 4]), np.float32([1, 1, 2])
    np.testing.assert_allclose(losses.value_loss(value, q, cost, weights), (4 / 2 + 1 / 2 + 2 * 1 / 2) / 3, rtol=1e-6)
    np.testing.assert_allclose(losses.policy_loss(q, cost, weights), (-3 - 3 - 2 * 2) / 3, rtol=1e-6)
    log_prob = np.float32([-1, 2, 0.5])
    expected = (-1 * (1 - 4 + 1) + 2 * (2 - 5 + 2) + 2 * 0.5 * (4 - 6 + 3)) / 3
    np.testing.assert_allclose(
        losses.likelihood_ratio_policy_loss(log_prob, q, value, cost, weights), expected, rtol=1e-6
    )


CASES: dict[str, tuple[Callable[..., Any], list[str], list[int]]] = {
    "critic mse": (lambda *a: losses.critic_loss(*a)[0], ["ensemble", "target", "weights"], [0]),
    "critic huber": (lambda *a: losses.critic_loss(*a, "huber")[0], ["ensemble", "target", "weights"], [0]),
    "value": (losses.value_loss, ["value", "q", "cost", "weights"], [0]),
    "policy": (losses.policy_loss, ["q", "cost", "weights"], [0, 1]),
    "likelihood ratio": (
        losses.likelihood_ratio_policy_loss, ["log_prob", "q", "value", "cost", "weights"], [0]
    ),
}  # fmt: skip


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", CASES)
def test_gradients(name: str, rng: np.random.Generator) -> None:
    """Central differences in the inputs that learn; exactly zero in those that only teach."""
    loss, names, learning = CASES[name]
    inputs = list(arrays(rng, *names).values())
    taught = range(len(inputs) - 1)  # all but the weights, which nobody differentiates
    gradients = jax.grad(loss, argnums=tuple(taught))(*inputs)
    for i in taught:
        if i not in learning:
            np.testing.assert_array_equal(gradients[i], np.zeros_like(inputs[i]))
            continue
        for index in np.ndindex(inputs[i].shape):
            step = np.zeros_like(inputs[i])
            step[index] = 1e-5
            above, below = ([x + sign * step if j == i else x for j, x in enumerate(inputs)] for sign in (1, -1))
            np.testing.assert_allclose(gradients[i][index], (loss(*above) - loss(*below)) / 2e-5, atol=1e-8)


def test_no_gradient_reaches_a_target(rng: np.random.Generator) -> None:
    next_q, *rest = arrays(rng, "ensemble", "reward", "discount", "cost").values()
    gradients = jax.grad(lambda *a: jnp.sum(losses.soft_q_target(*a)), argnums=(0, 1, 2, 3))(next_q, *rest)
    assert all(np.all(gradient == 0) for gradient in gradients)


@pytest.mark.parametrize(("entropy", "sign"), [(-1.5, -1.0), (-1.0, 0.0), (0.5, 1.0)])
def test_temperature_rises_while_entropy_is_below_its_target(entropy: float, sign: float) -> None:
    """Target entropy -1: gradient descent raises log alpha where the gradient is negative."""
    log_prob = np.float32([-entropy - 1, -entropy + 1])
    gradient = jax.grad(losses.temperature_loss)(np.float32(0.3), log_prob, -1.0)
    np.testing.assert_allclose(gradient, entropy + 1.0, atol=1e-6)
    assert np.sign(gradient) == sign
    assert np.all(jax.grad(losses.temperature_loss, argnums=1)(np.float32(0.3), log_prob, -1.0) == 0)


@pytest.mark.parametrize("promotion", ["raise", "allow"])
@pytest.mark.parametrize("name", [*CASES, "target"])
def test_a_column_against_a_row_is_refused(name: str, promotion: str, rng: np.random.Generator) -> None:
    """[B, 1] against [B] would average a [B, B] table. Refused also where JAX is left to broadcast."""
    target = (losses.soft_q_target, ["ensemble", "reward", "discount", "cost"])
    loss, names = (CASES | {"target": target})[name][:2]
    inputs = list(arrays(rng, *names).values())
    with jax.numpy_rank_promotion(promotion):
        loss(*inputs)
        for i in range(len(inputs)):
            columns = [x[..., None] if j == i else x for j, x in enumerate(inputs)]
            with pytest.raises((AssertionError, ValueError), match=r"shape|rank"):
                loss(*columns)
