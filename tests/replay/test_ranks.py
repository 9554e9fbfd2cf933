"""Ranks are exact after a refresh, and looked up in between."""

import jax.numpy as jnp
import numpy as np

from lsp.replay import ranks
from tests.support import reference


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
