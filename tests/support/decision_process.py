"""A small decision process whose soft return is known, and critics that learn it as a table."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lsp.agents import critics
from tests.support.builders import tiny_config

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
    """Of categorical critics on `ATOMS`, but for `changes`."""
    kinds = {"critic.kind": "categorical", "critic.count": 1} | ATOMS
    settings = kinds | {f"critic.{name}": value for name, value in changes.items()}
    return critics.make_critics(tiny_config(**settings)).head


def learn(head: critics.Head, process: Process, initial: np.ndarray) -> np.ndarray:
    """Outputs [S*A, N] of a table, after Adam on the head's loss over all rows, bootstrapping from itself."""
    now, following = (index.ravel() for index in np.divmod(np.arange(16), 4))
    weights = np.einsum("sat,tb->satb", process.transition, process.policy).reshape(16).astype(np.float32) * 4
    reward, cost = (np.float32(x).ravel() for x in (process.reward, process.costs()))
    discount = jnp.full(16, GAMMA)

    def loss(table: jax.Array) -> jax.Array:
        outputs = table[None]
        target = head.target(outputs[:, following], reward[now], discount, cost[following])
        return head.loss((), outputs[:, now], target, weights).loss

    optimizer = optax.adam(optax.cosine_decay_schedule(0.1, 3000))

    def step(carry: Any, _: None) -> Any:
        table, state = carry
        updates, state = optimizer.update(jax.grad(loss)(table), state)
        return (optax.apply_updates(table, updates), state), None

    first = jnp.asarray(initial, jnp.float32)
    return np.asarray(jax.jit(lambda x: jax.lax.scan(step, (x, optimizer.init(x)), None, 3000)[0][0])(first))


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
