"""The ring against a deque, at every way of meeting its end, and its memory."""

import math
from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp.packing import Layout
from lsp.replay import ring
from lsp.types import Transition

ANT = {"observation_dim": 125, "action_dim": 8}

init = jax.jit(ring.init, static_argnums=1)
add = jax.jit(ring.add)


def chunk(start: int, count: int) -> Transition:
    """Rows numbered from `start`, in every field."""
    ids = np.arange(start, start + count, dtype=np.float32)
    pairs = np.stack([ids, ids + 0.5], axis=-1)
    return Transition(pairs, -ids[:, None], 2 * ids, 3 * ids, pairs + 0.25)


def fill(capacity: int, counts: list[int]) -> tuple[ring.Ring, deque[int]]:
    """A ring and its twin after chunks of `counts` rows, numbered from 0."""
    example = jax.tree.map(lambda field: field[0], chunk(0, 1))
    state, twin, start = init(example, capacity), deque(maxlen=capacity), 0
    for count in counts:
        state, slots = add(state, chunk(start, count))
        np.testing.assert_array_equal(slots, np.arange(start, start + count) % capacity)
        twin.extend(range(start, start + count))
        start += count
    return state, twin


def stored(state: ring.Ring) -> list[int]:
    """Numbers of the rows, oldest first."""
    oldest_first = np.roll(state.rows, -int(state.position), axis=0)[len(state.rows) - int(state.size) :]
    return (state.layout.unpack(oldest_first).reward / 2).tolist()


def test_bits_draw_every_filled_row_alike_and_no_other() -> None:
    state, _ = fill(7, [5])
    random_bits = jnp.arange(5 * 40, dtype=jnp.uint32) + np.uint32(2**32 - 100)  # wraps around as well
    slots = np.asarray(ring.below(random_bits, state.size))
    counts = np.bincount(slots, minlength=7)
    assert counts[5:].tolist() == [0, 0]
    assert counts[:5].min() >= 39
    assert ring.below(random_bits, fill(7, [])[0].size).tolist() == [0] * 200  # none yet: the first slot


@pytest.mark.parametrize(
    ("capacity", "counts"),
    [
        (5, []),
        (5, [1, 1]),
        (5, [1] * 13),
        (5, [3] * 7),
        (5, [5] * 3),
        (5, [2, 5, 5, 1]),
        (5, [4, 1, 3, 1, 5, 2, 1, 1]),
        (6, [3] * 5),
        (1, [1, 1, 1]),
    ],
)
def test_keeps_the_newest_rows_in_order(capacity: int, counts: list[int]) -> None:
    state, twin = fill(capacity, counts)
    assert stored(state) == list(twin)
    assert int(state.size) == len(twin)


def test_gather_gives_back_what_was_added() -> None:
    state, _ = fill(5, [3, 3])
    for got, wanted in zip(jax.jit(ring.gather)(state, np.array([0, 1, 0]))[:5], chunk(0, 6)[:5], strict=True):
        np.testing.assert_array_equal(got, wanted[[5, 1, 5]])  # 5 has taken the place of 0


def test_chunk_larger_than_the_ring() -> None:
    with pytest.raises(ValueError, match="a chunk of 6 transitions does not fit a replay of 5"):
        fill(5, [6])


@pytest.mark.parametrize("capacity", [5, 6])
@pytest.mark.parametrize("count", [1, 4])
def test_rings_side_by_side_have_their_own_positions(capacity: int, count: int) -> None:
    """Under vmap a ring behaves as alone, wherever its neighbor stands."""
    alone = [fill(capacity, counts)[0] for counts in ([1] * 4, [3] * 3)]
    side_by_side = jax.tree.map(lambda *leaves: np.stack(leaves), *alone)
    chunks = jax.tree.map(lambda *leaves: np.stack(leaves), chunk(100, count), chunk(200, count))
    together, _ = jax.jit(jax.vmap(ring.add))(side_by_side, chunks)
    for i, state in enumerate(alone):
        expected, _ = add(state, chunk(100 * (i + 1), count))
        assert stored(jax.tree.map(lambda leaf, i=i: leaf[i], together)) == stored(expected)


@pytest.mark.parametrize("count", [1, 3])
def test_a_donated_ring_stays_where_it_is(count: int) -> None:
    state = ring.init(jax.tree.map(lambda field: field[0], chunk(0, 1)), 1000)  # bare, as in a notebook
    where = state.rows.unsafe_buffer_pointer()
    new, _ = jax.jit(ring.add, donate_argnums=0)(state, chunk(0, count))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert new.rows.unsafe_buffer_pointer() == where


@pytest.mark.parametrize("counts", [[3], [3, 1], [3, 3]], ids=["part", "wrapped to 0", "full"])
def test_load_inverts_dump(counts: list[int]) -> None:
    capacity = 4
    state, twin = fill(capacity, counts)
    dumped = ring.dump(jax.tree.map(np.asarray, state), int(state.size))
    load = jax.jit(ring.load, static_argnums=1)
    assert dumped.rows.shape[0] == len(twin)
    for leaf, back in zip(jax.tree.leaves(state), jax.tree.leaves(load(dumped, capacity)), strict=True):
        np.testing.assert_array_equal(leaf, back, strict=True)


def test_a_dump_of_numpy_leaves_is_a_view() -> None:
    state = jax.tree.map(np.array, fill(10, [4])[0])
    assert np.shares_memory(ring.dump(state, 4).rows, state.rows)


def test_memory_of_a_million_rows_of_the_ant() -> None:
    observation = jnp.zeros(ANT["observation_dim"])
    ant = Transition(observation, jnp.zeros(ANT["action_dim"]), jnp.zeros(()), jnp.zeros(()), observation)
    leaves = jax.tree.leaves(jax.eval_shape(lambda: ring.init(ant, 1_000_000)))
    promised = 4 * 1_000_000 * Layout(**ANT).width
    assert sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves) == promised + 8
    assert promised <= 1.1e9
