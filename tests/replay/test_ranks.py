"""Ranks are exact after a refresh, looked up in between, and a refresh costs nothing when it is not due."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp.replay import ranks
from tests import reference


def priorities(rng: np.random.Generator, n: int) -> np.ndarray:
    """Six decades, with ties, zeros and infinities."""
    values = np.round(10 ** rng.uniform(-3, 3, n), 1) * (rng.random(n) > 0.1)
    return np.where(rng.random(n) < 0.05, np.inf, values).astype(np.float32)


def test_ranks_are_those_of_a_naive_count(rng: np.random.Generator) -> None:
    """200 of 300 slots have rows; new priorities are ranked among those of the last refresh."""
    state, before = ranks.init(300), priorities(rng, 200)
    state = ranks.write(state, jnp.arange(200), before)
    assert (ranks.lookup(state, before) == 1).all()
    state = ranks.refresh(state)
    np.testing.assert_array_equal(ranks.lookup(state, before), reference.ranks(before, before))
    state, after = ranks.write(state, jnp.arange(50), priorities(rng, 50)), priorities(rng, 50)
    np.testing.assert_array_equal(ranks.lookup(state, after), reference.ranks(after, before))


def test_writes_beyond_the_end_are_dropped() -> None:
    state = ranks.write(ranks.init(4), jnp.array([2, 4, 9]), jnp.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(state.priorities, [-1, -1, 1, -1])


def test_last_of_each(rng: np.random.Generator) -> None:
    indices, accepted = rng.integers(0, 10, 40), rng.random(40) < 0.7
    last = {index: i for i, index in enumerate(indices) if accepted[i]}
    np.testing.assert_array_equal(np.flatnonzero(ranks.last_of_each(indices, accepted)), sorted(last.values()))


def test_due() -> None:
    when = [update for update in range(1, 700) if ranks.due(jnp.int32(update), 200)]
    assert when == [1, 2, 4, 8, 16, 32, 64, 128, 200, 400, 600]


def test_dump_and_load(rng: np.random.Generator) -> None:
    state = ranks.refresh(ranks.write(ranks.init(9), jnp.arange(5), priorities(rng, 5)))
    state = ranks.write(state, jnp.arange(7), priorities(rng, 7))
    dumped = ranks.dump(state, 7)
    assert [leaf.shape for leaf in dumped] == [(7,), (7,)]
    assert all(map(np.array_equal, ranks.load(dumped, 9), state))


def halve_if(condition: jax.Array, state: Any) -> Any:
    return ranks.run_if(condition, lambda state: jax.tree.map(lambda x: jnp.sin(x) / 2, state), state)


@pytest.mark.parametrize("conditions", [[True, True], [False, False]])
def test_run_if_under_vmap(conditions: list[bool]) -> None:
    state = {"a": jnp.ones((2, 3)), "b": jnp.arange(2.0)}
    together = jax.jit(jax.vmap(halve_if))(jnp.array(conditions), state)
    one_by_one = [halve_if(jnp.array(c), jax.tree.map(lambda x, i=i: x[i], state)) for i, c in enumerate(conditions)]
    jax.tree.map(lambda whole, *parts: np.testing.assert_allclose(whole, parts, rtol=1e-6), together, *one_by_one)
    shared = jax.vmap(halve_if, in_axes=(0, None))(jnp.array(conditions), jnp.ones(3))
    np.testing.assert_allclose(shared, np.full((2, 3), np.sin(1) / 2 if conditions[0] else 1.0), rtol=1e-6)


def test_run_if_runs_only_then() -> None:
    """A conditional in the program, of one condition for all, and not a selection."""
    program = str(jax.make_jaxpr(jax.vmap(halve_if))(jnp.array([True, False]), jnp.ones((2, 3))))
    assert "reduce_or" in program
    assert "cond[" in program
    assert "select" not in program
