"""Heads of the critics: on a small decision process with a known soft return law, and the loss that learns nothing."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lsp.agents import critics
from tests.support.builders import tiny_config
from tests.support.returns import transfer

GAMMA, ALPHA = 0.8, 0.4
ATOMS = {"critic.num_atoms": 61, "critic.support": "even", "critic.v_min": -10.0, "critic.v_max": 20.0}


class Process(NamedTuple):
    """Two states, two actions, a policy; every (s, a, s', a') is a row whose weight is its probability."""

    reward: np.ndarray  # [S, A]
    transition: np.ndarray  # [S, A, S]
    policy: np.ndarray  # [S, A]

    def costs(self) -> np.ndarray:
        return ALPHA * np.log(self.policy)

    def soft_q(self) -> np.ndarray:
        """By solving the linear equations, [S*A]."""
        move = np.einsum("sat,tb->satb", self.transition, self.policy).reshape(4, 4)
        constant = self.reward.ravel() - GAMMA * move @ self.costs().ravel()
        return np.linalg.solve(np.eye(4) - GAMMA * move, constant)


PROCESS = Process(
    reward=np.array([[1.0, -0.5], [2.0, 0.0]]),
    transition=np.array([[[0.9, 0.1], [0.3, 0.7]], [[0.5, 0.5], [0.0, 1.0]]]),
    policy=np.array([[0.7, 0.3], [0.4, 0.6]]),
)


def make_head(**changes: Any) -> critics.Head:
    kinds = {"critic.kind": "categorical", "critic.count": 1} | ATOMS
    return critics.make_head(tiny_config(**kinds | {f"critic.{name}": value for name, value in changes.items()}))


def learn(head: critics.Head, process: Process, initial: np.ndarray) -> np.ndarray:
    """Outputs [S*A, N] of a table, after Adam on the head's loss over all rows, bootstrapping from itself."""
    now, following = (index.ravel() for index in np.divmod(np.arange(16), 4))
    weights = np.einsum("sat,tb->satb", process.transition, process.policy).reshape(16).astype(np.float32) * 4
    reward, cost = (np.float32(x).ravel() for x in (process.reward, process.costs()))
    discount = jnp.full(16, GAMMA)

    def loss(table: jax.Array) -> jax.Array:
        outputs = table[None]
        target = head.target(outputs[:, following], reward[now], discount, cost[following])
        return head.loss(outputs[:, now], target, weights)[0]

    optimizer = optax.adam(optax.cosine_decay_schedule(0.1, 3000))

    def step(carry: Any, _: None) -> Any:
        table, state = carry
        updates, state = optimizer.update(jax.grad(loss)(table), state)
        return (optax.apply_updates(table, updates), state), None

    first = jnp.asarray(initial, jnp.float32)
    return np.asarray(jax.jit(lambda x: jax.lax.scan(step, (x, optimizer.init(x)), None, 3000)[0][0])(first))


def test_the_law_of_a_small_process_and_its_mean() -> None:
    """Mean within 1 % of the exact soft Q; law: the fixed point of the exact projected operator, and within blur of
    the returns that follow, whose Cramer distance from it is at most sqrt(spacing / (1 - gamma))."""
    head = make_head()
    outputs = learn(head, PROCESS, np.zeros((4, 61)))
    probs, exact = np.asarray(jax.nn.softmax(outputs)), PROCESS.soft_q()
    np.testing.assert_allclose(head.values(jnp.asarray(outputs)[None])[0], exact, rtol=0.01)
    support = critics.make_support(tiny_config(**ATOMS).critic)
    laws = np.full((4, 61), 1 / 61)
    pairs = np.einsum("sat,tb->satb", PROCESS.transition, PROCESS.policy).reshape(4, 4)
    matrices = [[transfer(support, r, GAMMA, c) for c in PROCESS.costs().ravel()] for r in PROCESS.reward.ravel()]
    for _ in range(100):
        laws = np.array([sum(pairs[i, j] * matrices[i][j] @ laws[j] for j in range(4)) for i in range(4)])
    np.testing.assert_allclose(np.cumsum(probs, -1), np.cumsum(laws, -1), atol=0.01)
    spacing = 0.5
    grid = np.asarray(support, np.float64)
    for i in range(4):
        drawn = np.sort(sample_returns(PROCESS, i, 4000))
        empirical = np.searchsorted(drawn, grid, side="right") / len(drawn)
        distance = np.sqrt(np.sum((np.cumsum(probs[i]) - empirical) ** 2) * spacing)
        assert distance < np.sqrt(spacing / (1 - GAMMA))
        assert distance < 0.2  # what it is here; a law at half the mean is at more than 1


def sample_returns(process: Process, index: int, count: int) -> np.ndarray:
    """Soft returns after state and action `index`, by playing."""
    rng = np.random.default_rng(index)
    state, action = (np.full(count, part) for part in divmod(index, 2))
    total, factor = np.zeros(count), 1.0
    for step in range(60):
        total += factor * (process.reward[state, action] - (process.costs()[state, action] if step else 0.0))
        state = (rng.random(count) < process.transition[state, action, 1]).astype(int)
        action = (rng.random(count) < process.policy[state, 1]).astype(int)
        factor *= GAMMA
    return total


def test_a_scalar_head_ends_at_the_same_values() -> None:
    head = make_head(kind="scalar")
    np.testing.assert_allclose(learn(head, PROCESS, np.zeros((4, 1)))[:, 0], PROCESS.soft_q(), rtol=0.01)


def test_the_loss_as_written_cannot_see_the_reward_and_ends_uniform() -> None:
    """The point of the simplex nearest to r + gamma q is gamma q + (1 - gamma)/N, whatever r and the entropy cost."""
    head = make_head(law="as_written")
    rng = np.random.default_rng(0)
    logits, following = jnp.asarray(rng.normal(size=(2, 1, 8, 61)), jnp.float32)
    discount, ones = jnp.full(8, GAMMA), jnp.ones(8)

    def gradient(outputs: jax.Array, reward: float, cost: float) -> jax.Array:
        target = head.target(following, reward * ones, discount, cost * ones)
        return jax.grad(lambda x: head.loss(x, target, ones)[0])(outputs)

    plain = gradient(logits, 0.0, 0.0)
    assert np.abs(plain).max() > 1e-5
    np.testing.assert_allclose(gradient(logits, 3.0, -2.0), plain, atol=1e-6)
    nearest = jnp.log(GAMMA * jax.nn.softmax(following) + (1 - GAMMA) / 61)
    np.testing.assert_allclose(gradient(nearest, 3.0, -2.0), 0, atol=1e-6)
    start = rng.normal(size=(4, 61))
    rich = PROCESS._replace(reward=PROCESS.reward * 5 + 1)
    for process in (PROCESS, rich):
        np.testing.assert_allclose(jax.nn.softmax(learn(head, process, start)), 1 / 61, atol=1e-3)


def test_independent_critics_have_targets_of_their_own() -> None:
    outputs = jnp.asarray(np.random.default_rng(1).normal(size=(3, 5, 61)), jnp.float32)
    arguments = (jnp.ones(5), jnp.full(5, GAMMA), jnp.zeros(5))
    own = make_head(target="independent").target(outputs, *arguments)
    for k in range(3):
        alone = make_head().target(outputs[k : k + 1], *arguments)
        np.testing.assert_allclose(own.probs[k], alone.probs, atol=1e-7)
    loss, priorities, _ = make_head(target="independent").loss(outputs, own, jnp.ones(5))
    assert loss.shape == ()
    assert priorities.shape == (5,)


def test_a_scalar_target_stays_between_its_bounds() -> None:
    outputs, reward, cost = jnp.array([[[-60.0], [-3.0], [9.0]]]), jnp.array([-1.0, -1.0, 0.0]), jnp.zeros(3)
    discount = jnp.full(3, 0.98)
    free = make_head(kind="scalar").target(outputs, reward, discount, cost)
    bound = make_head(kind="scalar", target_min=-50.0, target_max=0.0).target(outputs, reward, discount, cost)
    np.testing.assert_allclose(free, [-59.8, -3.94, 8.82], rtol=1e-6)
    np.testing.assert_allclose(bound, [-50.0, -3.94, 0.0], rtol=1e-6)
