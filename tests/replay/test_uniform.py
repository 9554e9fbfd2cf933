"""Uniform replay draws every stored row equally often, and a fused dispatch never copies the ring."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp.replay import make_uniform
from lsp.replay.ring import Ring
from lsp.types import Array, Key, Replay, Transition
from tests.support.hlo import whole_array_copies

CAPACITY, BATCH, BATCHES = 50, 128, 400
OBSERVATION, ACTION = 125, 8
REPLAY = make_uniform(CAPACITY, BATCH)

add, sample = jax.jit(REPLAY.add), jax.jit(REPLAY.sample)


def numbered(start: int, count: int) -> Transition:
    ids = np.arange(start, start + count, dtype=np.float32)
    return Transition(ids[:, None], ids[:, None], ids, ids, ids[:, None])


def filled(*counts: int) -> Ring:
    """A replay of rows numbered from 0."""
    state = REPLAY.init(jax.tree.map(lambda leaf: leaf[0], numbered(0, 1)))
    start = 0
    for count in counts:
        state = add(state, numbered(start, count), np.full(count, np.inf, np.float32))
        start += count
    return state


@jax.jit
def draw(state: Ring, key: Key) -> Array:
    """Row numbers of many batches."""
    rewards = jax.vmap(lambda key: REPLAY.sample(state, key).transitions.reward)(jax.random.split(key, BATCHES))
    return rewards.ravel().astype(jnp.int32)


@pytest.mark.parametrize(("counts", "newest"), [((1,), 1), ((30, 7), 37), ((50,), 50), ((50, 13), 50)])
def test_every_stored_row_is_equally_likely(counts: tuple[int, ...], newest: int) -> None:
    state = filled(*counts)
    assert int(REPLAY.size(state)) == newest
    oldest = sum(counts) - newest
    drawn = np.asarray(draw(state, jax.random.key(1)))
    frequency = np.bincount(drawn - oldest, minlength=newest)  # a negative number would raise
    assert len(frequency) == newest
    expected = len(drawn) / newest
    chi_square = np.sum((frequency - expected) ** 2) / expected
    degrees = newest - 1
    assert chi_square <= degrees + 5 * np.sqrt(2 * degrees)
    assert newest == 1 or chi_square >= degrees - 5 * np.sqrt(2 * degrees)  # too even would be no random draw


def test_a_batch() -> None:
    state = filled(50, 13)
    batch = sample(state, jax.random.key(0))
    np.testing.assert_array_equal(np.asarray(state.rows)[batch.indices, 0], batch.transitions.reward)
    assert len(set(batch.transitions.reward.tolist())) > BATCH // 4
    np.testing.assert_array_equal(batch.weights, np.ones(BATCH))
    assert batch.policy_observation is None
    other = sample(state, jax.random.key(1))
    assert not np.array_equal(batch.indices, other.indices)


def same(left: Any, right: Any) -> bool:
    return all(map(np.array_equal, jax.tree.leaves(left), jax.tree.leaves(right)))


def test_priorities_change_nothing() -> None:
    state = filled(9)
    default = add(state, numbered(0, 2), np.full(2, np.inf, np.float32))
    assert same(add(state, numbered(0, 2), np.array([0.0, 5.0], np.float32)), default)
    assert same(REPLAY.update_priorities(state, np.array([0]), np.array([9.0])), state)


def test_metrics() -> None:
    state = filled(50, 13)
    batch = sample(state, jax.random.key(0))
    metrics = jax.jit(REPLAY.metrics)(state, batch)
    assert metrics["replay_size"] == 50
    # Row 62 is the newest, and of age 0.
    np.testing.assert_allclose(metrics["batch_age"], np.mean(62 - np.asarray(batch.transitions.reward)), rtol=1e-6)


def test_load_inverts_dump() -> None:
    state = filled(20)
    assert same(REPLAY.load(REPLAY.dump(state, 20)), state)


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0), (-5, 8)])
def test_sizes_below_one(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"capacity={sizes[0]} and batch_size={sizes[1]}"):
        make_uniform(*sizes)


def cycle(replay: Replay, state: Ring, chunk: Transition, key: Key) -> tuple[Ring, Array]:
    """What a dispatch does with replay: write, then sample in a scan."""
    state = replay.add(state, chunk, jnp.full(chunk.reward.shape, jnp.inf))

    def one(state: Ring, key: Key) -> tuple[Ring, Array]:
        batch = replay.sample(state, key)
        total = sum(map(jnp.sum, jax.tree.leaves(batch.transitions)))
        return replay.update_priorities(state, batch.indices, batch.weights), total

    return jax.lax.scan(one, state, jax.random.split(key, 4))


def reversed_cycle(replay: Replay, state: Ring, chunk: Transition, key: Key) -> tuple[Ring, Array]:
    """The order that costs two copies of the ring."""
    total = sum(map(jnp.sum, jax.tree.leaves(replay.sample(state, key).transitions)))
    return replay.add(state, chunk, jnp.full(chunk.reward.shape, jnp.inf)), total


def shapes(replay: Replay, count: int) -> tuple[Ring, Transition, Key]:
    """A replay of the ant and a chunk of `count` rows, as shapes."""
    observation = jnp.zeros(OBSERVATION)
    example = Transition(observation, jnp.zeros(ACTION), jnp.zeros(()), jnp.zeros(()), observation)
    chunk = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype), example)
    return jax.eval_shape(replay.init, example), chunk, jax.eval_shape(lambda: jax.random.key(0))


@pytest.mark.parametrize("count", [1, 8])
def test_no_copy_of_a_ring_of_a_million_rows(count: int) -> None:
    replay = make_uniform(2**20, BATCH)
    state, chunk, key = shapes(replay, count)
    copies, temporary = whole_array_copies(
        lambda *arguments: cycle(replay, *arguments), state, chunk, key, min_elements=2**20
    )
    assert copies == []
    assert temporary < 2**20  # bytes, where the ring has 2**30


@pytest.mark.parametrize("count", [1, 8])
def test_no_copy_of_two_rings_side_by_side(count: int) -> None:
    replay = make_uniform(2**16, BATCH)
    pair = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((2, *leaf.shape), leaf.dtype), shapes(replay, count)
    )
    copies, temporary = whole_array_copies(
        jax.vmap(lambda *arguments: cycle(replay, *arguments)), *pair, min_elements=2**16
    )
    assert copies == []
    assert temporary < 2**20


def test_the_other_order_would_copy() -> None:
    """The detector detects."""
    replay = make_uniform(2**16, BATCH)
    copies, temporary = whole_array_copies(
        lambda *arguments: reversed_cycle(replay, *arguments), *shapes(replay, 1), min_elements=2**16
    )
    assert copies != []
    assert temporary >= 2**16
