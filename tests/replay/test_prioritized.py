"""Prioritized replay against a naive twin, and its laws: fair draws, weights that undo them, nothing lost or copied."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lsp.replay import make_prioritized, make_uniform
from lsp.replay.annealing import anneal
from lsp.replay.prioritized import State
from lsp.types import Array, Batch, Key, Replay, Transition
from tests.support import reference
from tests.support.hlo import ready_at_once, whole_array_copies

CAPACITY, ROWS, BATCH = 50, 37, 16
OBSERVATION, ACTION = 125, 8
LAP: dict[str, Any] = {"priority": "lap", "weights": "none", "policy_batch": "uniform"}


@functools.cache
def make(capacity: int = CAPACITY, batch_size: int = BATCH, **options: Any) -> Replay:
    """A replay with its functions compiled."""
    replay = make_prioritized(capacity, batch_size, **{"alpha": 0.6, "beta": 0.4} | options)
    functions = ("add", "sample", "update_priorities", "metrics", "load")
    return replay._replace(**{name: jax.jit(getattr(replay, name)) for name in functions})


def numbered(start: int, count: int) -> Transition:
    ids = np.arange(start, start + count, dtype=np.float32)
    return Transition(ids[:, None], ids[:, None], ids, ids, ids[:, None])


def empty(replay: Replay) -> State:
    return replay.init(jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), numbered(0, 1)))


def holding(replay: Replay, errors: np.ndarray) -> State:
    """One row for each TD error."""
    state = replay.add(empty(replay), numbered(0, len(errors)), np.full(len(errors), np.inf, np.float32))
    return replay.update_priorities(state, np.arange(len(errors)), errors.astype(np.float32))


def masses(state: State) -> np.ndarray:
    return np.asarray(state.tree.levels[-1]).ravel()


def errors_of(rng: np.random.Generator, n: int, bad: float = 0.0) -> np.ndarray:
    """Six decades of either sign, some of them not finite."""
    values = 10 ** rng.uniform(-3, 3, n) * rng.choice([-1, 1], n)
    return np.where(rng.random(n) < bad, rng.choice([np.nan, np.inf, -np.inf], n), values).astype(np.float32)


def history(replay: Replay, rng: np.random.Generator, steps: int) -> State:
    """Rows added three at a time, and a batch updated after each."""
    state = empty(replay)
    for step in range(steps):
        state = replay.add(state, numbered(3 * step, 3), np.full(3, np.inf, np.float32))
        batch = replay.sample(state, jax.random.key(step))
        state = replay.update_priorities(state, batch.indices, errors_of(rng, len(batch.indices)))
    return state


def same(left: Any, right: Any) -> bool:
    return all(map(np.array_equal, jax.tree.leaves(left), jax.tree.leaves(right)))


MASSES = {
    "td": lambda error: (error + 1e-6) ** 0.6,
    "lap": lambda error: max(error, 1.0) ** 0.6,
}


@pytest.mark.parametrize("priority", ["td", "lap"])
def test_masses_follow_a_naive_twin(priority: str, rng: np.random.Generator) -> None:
    """Through four turns of the ring, with given priorities, infinities and NaN. Of 16 slots a scan is one update."""
    replay, twin = make(16, 5, priority=priority), reference.Priorities(16, MASSES[priority])
    state = empty(replay)
    for step in range(25):
        given = np.abs(errors_of(rng, 3, bad=0.4))
        state = replay.add(state, numbered(3 * step, 3), given)
        twin.add(given.tolist())
        np.testing.assert_allclose(masses(state), twin.masses, rtol=1e-5)
        slots, errors = rng.choice(min(3 * step + 3, 16), 3, replace=False), errors_of(rng, 3, bad=0.2)
        state = replay.update_priorities(state, slots, errors)
        twin.update(slots.tolist(), errors.tolist())
        np.testing.assert_allclose(masses(state), twin.masses, rtol=1e-5)
        metrics = replay.metrics(state, replay.sample(state, jax.random.key(0)))
        np.testing.assert_allclose(metrics["priority_max"], twin.ceiling(), rtol=1e-5)


def test_new_rows_take_the_place_of_old_ones_in_everything() -> None:
    replay = make()
    state = holding(replay, np.full(CAPACITY, 1e-3))
    state = replay.update_priorities(state, np.arange(CAPACITY), np.full(CAPACITY, 1e-3, np.float32))
    state = replay.add(state, numbered(50, 3), np.array([np.inf, 1e-4, 5.0], np.float32))
    old, small = (1e-3 + 1e-6) ** 0.6, (1e-4 + 1e-6) ** 0.6
    np.testing.assert_allclose(masses(state)[:5], [1.0, small, 1.0, old, old], rtol=1e-5)  # the first rows had 1
    np.testing.assert_array_equal(np.asarray(state.replayed).ravel()[:5], [False, False, False, True, True])
    np.testing.assert_array_equal(np.asarray(state.ring.rows)[:4, 0], [50, 51, 52, 3])


def test_new_rows_count_for_one_at_least_until_the_ring_is_full() -> None:
    replay = make(16, 5)
    state = replay.add(empty(replay), numbered(0, 10), np.full(10, np.inf, np.float32))
    for _ in range(3):
        state = replay.update_priorities(state, np.arange(10), np.full(10, 1e-3, np.float32))
    small = (1e-3 + 1e-6) ** 0.6
    state = replay.add(state, numbered(10, 6), np.full(6, np.inf, np.float32))
    np.testing.assert_allclose(masses(state), [small] * 10 + [1.0] * 6, rtol=1e-5)
    for _ in range(2):  # the first scan has met the ones themselves
        state = replay.update_priorities(state, np.arange(16), np.full(16, 1e-3, np.float32))
    state = replay.add(state, numbered(16, 1), np.full(1, np.inf, np.float32))
    np.testing.assert_allclose(masses(state), [small] * 16, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("scheme", ["proportional", "rank"])
def test_what_is_not_finite_never_enters(scheme: str, bad: float) -> None:
    """A row drawn twice takes the error that is a number, and one with none keeps its priority."""
    replay = make(scheme=scheme, rank_refresh=1)
    state = holding(replay, np.linspace(1, 2, ROWS))
    after = replay.update_priorities(state, np.array([3, 7, 7, 9]), np.array([bad, 0.5, bad, 1.5], np.float32))
    expected = replay.update_priorities(state, np.array([9, 7, 7, 9]), np.array([1.5, 0.5, 0.5, 1.5], np.float32))
    np.testing.assert_array_equal(masses(after), masses(expected))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((after.tree, after.scan)))
    assert replay.metrics(after, replay.sample(after, jax.random.key(0)))["bad_priorities"] == 2


def test_a_new_row_whose_error_is_not_a_number() -> None:
    replay = make()
    state = replay.add(empty(replay), numbered(0, 2), np.array([np.nan, np.inf], np.float32))
    np.testing.assert_array_equal(masses(state)[:3], [1, 1, 0])
    assert state.bad == 1


@pytest.mark.parametrize("options", [{}, {"scheme": "rank"}, LAP], ids=str)
def test_frequencies_follow_the_masses(options: dict[str, Any], rng: np.random.Generator) -> None:
    replay = make(CAPACITY, 1, **options)
    state = holding(replay, 10 ** rng.uniform(-1, 1, ROWS))
    draw = jax.jit(jax.vmap(lambda key: replay.sample(state, key).transitions.reward[0]))
    counts = np.bincount(np.asarray(draw(jax.random.split(jax.random.key(1), 30_000)), int), minlength=CAPACITY)
    assert counts[ROWS:].sum() == 0
    expected = masses(state)[:ROWS].astype(np.float64)
    assert expected.max() > 3 * expected.min()
    assert 0.001 < stats.chisquare(counts[:ROWS], expected * 30_000 / expected.sum()).pvalue < 0.999


def test_rank_based_masses(rng: np.random.Generator) -> None:
    """The k-th largest has mass k^-alpha; exactly so after a refresh, with which updates 1, 2 and 4 end."""
    replay = make(scheme="rank")
    errors = np.abs(errors_of(rng, ROWS))
    state = holding(replay, errors)
    np.testing.assert_allclose(masses(state)[:ROWS], np.power(reference.ranks(errors, errors), -0.6), rtol=1e-5)
    assert masses(state)[ROWS:].sum() == 0
    for update in (2, 3, 4):
        before, new = errors.copy(), np.abs(errors_of(rng, 5))
        errors[:5] = new
        state = replay.update_priorities(state, np.arange(5), new)
        expected = reference.ranks(new, before if update == 3 else errors)
        np.testing.assert_allclose(masses(state)[:5], np.power(expected, -0.6), rtol=1e-5)
    np.testing.assert_allclose(masses(state)[:ROWS], np.power(reference.ranks(errors, errors), -0.6), rtol=1e-5)
    state = replay.add(state, numbered(ROWS, 3), np.array([np.inf, errors[9], np.nan], np.float32))
    np.testing.assert_allclose(masses(state)[ROWS : ROWS + 3], [1.0, masses(state)[9], 1.0])


@pytest.mark.slow
def test_importance_weights(rng: np.random.Generator) -> None:
    """(N P)^-beta over its maximum in the batch, with beta by schedule."""
    replay = make_prioritized(CAPACITY, BATCH, alpha=0.6, beta=anneal(0.4, 1.0, 4))
    state = holding(replay, errors_of(rng, ROWS))
    for update in range(1, 6):
        batch = replay.sample(state, jax.random.key(update))
        probability = masses(state)[batch.indices].astype(np.float64) / masses(state).sum(dtype=np.float64)
        weights = (ROWS * probability) ** -min(0.4 + 0.15 * update, 1.0)
        np.testing.assert_allclose(batch.weights, weights / weights.max(), rtol=1e-4)
        np.testing.assert_allclose(replay.metrics(state, batch)["beta"], min(0.4 + 0.15 * update, 1.0), rtol=1e-6)
        state = replay.update_priorities(state, batch.indices, errors_of(rng, BATCH))


def estimates(replay: Replay, state: Any, values: Array, batches: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of a value over batches, weighted and plain."""

    def one(key: Key) -> tuple[Array, Array]:
        batch = replay.sample(state, key)
        drawn = values[batch.indices]
        return jnp.sum(batch.weights * drawn) / jnp.sum(batch.weights), jnp.mean(drawn)

    weighted, plain = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(2), batches))
    return np.asarray(weighted, np.float64), np.asarray(plain, np.float64)


def test_at_beta_one_the_estimate_is_that_of_uniform_replay(rng: np.random.Generator) -> None:
    """Of a value that grows with the priority, which plain means of prioritized batches get wrong."""
    errors = rng.uniform(0.1, 10, 500)
    values = jnp.asarray(errors + rng.normal(size=500), jnp.float32)
    prioritized, uniform = make(500, 2048, beta=1.0), make_uniform(500, 2048)
    rows = numbered(0, 500)
    even = uniform.add(uniform.init(jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), rows)), rows, jnp.ones(500))
    weighted, plain = estimates(prioritized, holding(prioritized, errors), values, 200)
    _, unweighted = estimates(uniform, even, values, 200)
    for sample in (weighted, unweighted):
        assert abs(sample.mean() - np.mean(values)) < 4 * sample.std() / math.sqrt(200)
    assert abs(plain.mean() - np.mean(values)) > 100 * plain.std() / math.sqrt(200)


@pytest.mark.parametrize(
    ("options", "weighted", "policy_weighted"),
    [
        ({}, True, True),
        ({"weights": "q"}, True, False),
        ({"weights": "none"}, False, False),
        ({"policy_batch": "uniform"}, True, False),
        (LAP, False, False),
    ],
    ids=str,
)
def test_which_losses_are_weighted(
    options: dict[str, Any], weighted: bool, policy_weighted: bool, rng: np.random.Generator
) -> None:
    replay = make(**options)
    batch = replay.sample(holding(replay, errors_of(rng, ROWS)), jax.random.key(0))
    ones = np.ones(BATCH)
    assert np.array_equal(batch.weights, ones) != weighted
    policy_weights = batch.weights if batch.policy_weights is None else batch.policy_weights
    np.testing.assert_array_equal(policy_weights, batch.weights if policy_weighted else ones)
    assert (batch.policy_observation is None) == (options.get("policy_batch", "same") == "same")


def test_states_of_the_policy_may_be_drawn_uniformly(rng: np.random.Generator) -> None:
    replay = make(batch_size=1000, **LAP)
    state = holding(replay, np.where(np.arange(ROWS) == 5, 1e6, 1.0))
    batch = replay.sample(state, jax.random.key(0))
    assert np.mean(batch.transitions.reward == 5) > 0.5
    assert stats.chisquare(np.bincount(np.asarray(batch.policy_observation[:, 0], int), minlength=ROWS)).pvalue > 0.001


def test_metrics() -> None:
    replay = make(16, 11, weights="none")
    state = replay.add(empty(replay), numbered(0, 12), np.full(12, np.inf, np.float32))
    errors = np.array([1, 2, 4, 8], np.float32) ** (1 / 0.6)
    state = replay.update_priorities(state, np.arange(4), errors)
    slots = np.array([0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3], np.int32)
    batch = replay.sample(state, jax.random.key(0))._replace(indices=slots)
    inverse = 1 / np.array([1, 2, 2, 2, 4, 4, 4, 8, 8, 8, 8])
    expected = {
        "replay_size": 12,
        "batch_age": np.mean(11 - slots),
        "effective_sample_size": inverse.sum() ** 2 / (inverse**2).sum(),
        "priority_p10": 2,
        "priority_p50": 4,
        "priority_p90": 8,
        "priority_max": 8,
        "never_replayed": 8 / 12,
        "bad_priorities": 0,
    }
    metrics = replay.metrics(state, batch)
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        assert metrics[name].shape == ()
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)


def test_equal_masses_make_every_row_of_a_batch_count() -> None:
    replay = make(alpha=0.0)
    state = holding(replay, np.linspace(0, 100, ROWS))
    batch = replay.sample(state, jax.random.key(0))
    np.testing.assert_array_equal(batch.weights, np.ones(BATCH))
    assert replay.metrics(state, batch)["effective_sample_size"] == BATCH


@pytest.mark.parametrize("scheme", ["proportional", "rank"])
@pytest.mark.parametrize("steps", [9, 20])
def test_goes_on_exactly_from_a_dump(scheme: str, steps: int, rng: np.random.Generator) -> None:
    """Half full, and full after a turn of the ring."""
    replay = make(scheme=scheme, rank_refresh=7)
    state = history(replay, rng, steps)
    dumped = replay.dump(jax.tree.map(np.asarray, state), int(replay.size(state)))
    assert {leaf.shape[:1] for leaf in jax.tree.leaves(dumped)} == {(2,), (min(3 * steps, CAPACITY),)}
    loaded = replay.load(dumped)
    assert jax.tree.structure(loaded) == jax.tree.structure(state)
    assert same(loaded, state)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"scheme": "rank", "rank_refresh": 3}], ids=str)
def test_vmap_changes_nothing(options: dict[str, Any]) -> None:
    replay = make(**options)
    run = functools.partial(scanned, replay, 6)
    states = [history(replay, np.random.default_rng(seed), 5) for seed in range(2)]
    chunks = [numbered(100 * seed, 2) for seed in range(2)]
    keys = jax.random.split(jax.random.key(0), 2)
    stack = functools.partial(jax.tree.map, lambda *leaves: jnp.stack(leaves))
    together, _ = jax.jit(jax.vmap(run))(stack(*states), stack(*chunks), keys)
    single = jax.jit(run)
    for seed in range(2):
        alone, _ = single(states[seed], chunks[seed], keys[seed])
        jax.tree.map(lambda whole, part, i=seed: np.testing.assert_allclose(whole[i], part, rtol=1e-6), together, alone)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"capacity": 0}, "capacity=0 must be finite and at least 1"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"alpha": -0.1}, "alpha=-0.1"),
        ({"alpha": math.nan}, "alpha=nan"),
        ({"epsilon": 0.0}, "epsilon=0.0"),
        ({"priority": "dt"}, "priority='dt' must be one of td, lap"),
        ({"scheme": "ranked"}, "scheme='ranked'"),
        ({"weights": "v"}, "weights='v'"),
        ({"policy_batch": "other"}, "policy_batch='other'"),
        ({"rank_refresh": 0}, "rank_refresh=0"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    good = {"capacity": 5, "batch_size": 2, "alpha": 0.5, "beta": 0.4}
    with pytest.raises(ValueError, match=f"make_prioritized: {message}"):
        make_prioritized(**good | arguments)


def scanned(replay: Replay, updates: int, state: State, chunk: Transition, key: Key) -> tuple[State, Array]:
    """What a dispatch does with replay: write, then sample, report and update in a scan."""
    state = replay.add(state, chunk, jnp.full(chunk.reward.shape, jnp.inf))

    def one(state: State, key: Key) -> tuple[State, Array]:
        batch = replay.sample(state, key)
        metrics = replay.metrics(state, batch)
        errors = jnp.abs(batch.transitions.reward) * batch.weights
        return replay.update_priorities(state, batch.indices, errors), use(batch) + sum(metrics.values())

    return jax.lax.scan(one, state, jax.random.split(key, updates))


def use(batch: Batch) -> Array:
    return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(batch))


def shapes(replay: Replay, count: int, seeds: int | None) -> Any:
    """A replay of the ant, `count` new rows and a key, as shapes; of several seeds where told."""
    observation = jnp.zeros(OBSERVATION)
    example = Transition(observation, jnp.zeros(ACTION), jnp.zeros(()), jnp.zeros(()), observation)
    chunk = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype), example)
    arguments = jax.eval_shape(replay.init, example), chunk, jax.eval_shape(lambda: jax.random.key(0))
    if seeds is None:
        return arguments
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((seeds, *leaf.shape), leaf.dtype), arguments)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "count", "seeds"), [({}, 1, None), ({}, 1, 2), (LAP, 8, None)], ids=["one", "two seeds", "lap"]
)
def test_no_copy_of_a_million_rows(options: dict[str, Any], count: int, seeds: int | None) -> None:
    """Neither of the ring nor of the tree nor of the marks, whose leaves are a million each."""
    replay = make_prioritized(2**20, 128, alpha=0.6, beta=0.4, **options)
    function = functools.partial(scanned, replay, 4)
    arguments = shapes(replay, count, seeds)
    function = function if seeds is None else jax.vmap(function)
    copies, temporary = whole_array_copies(function, *arguments, min_elements=2**15)
    assert copies == []
    assert temporary < 2**20


def test_a_copy_would_be_seen() -> None:
    """The order that no dispatch may have: sample first, then write."""

    def reversed_cycle(state: State, chunk: Transition, key: Key) -> tuple[State, Array]:
        batch = replay.sample(state, key)
        return replay.add(state, chunk, jnp.full(chunk.reward.shape, jnp.inf)), use(batch)

    replay = make_prioritized(2**16, 128, alpha=0.6, beta=0.4)
    copies, _ = whole_array_copies(reversed_cycle, *shapes(replay, 1, None), min_elements=2**16)
    assert copies != []


def test_a_call_stays_on_its_thread() -> None:
    """A cycle of insertion, draw and update never has more kernels ready than XLA leaves to one thread."""
    replay = make_prioritized(2**20, 128, alpha=0.6, beta=0.4)

    def cycle(state: State, chunk: Transition, key: Key, errors: Array) -> tuple[State, Batch]:
        state = replay.add(state, chunk, jnp.full(chunk.reward.shape, jnp.inf))
        batch = replay.sample(state, key)
        return replay.update_priorities(state, batch.indices, errors), batch

    assert ready_at_once(cycle, *shapes(replay, 1, None), jax.ShapeDtypeStruct((128,), jnp.float32)) <= 8


def test_a_crowd_of_kernels_would_be_seen() -> None:
    def crowd(vectors: list[Array]) -> list[Array]:
        return [jnp.sort(vector) for vector in vectors]

    assert ready_at_once(crowd, [jax.ShapeDtypeStruct((100 + i,), jnp.float32) for i in range(12)]) == 11


def test_sorting_is_all_that_ranks_add() -> None:
    """The sort and the tree it makes stand in a branch; of the ring there is still no copy."""
    replay = make_prioritized(2**20, 128, alpha=0.6, beta=0.4, scheme="rank")
    copies, _ = whole_array_copies(functools.partial(scanned, replay, 4), *shapes(replay, 1, None), min_elements=2**24)
    assert copies == []
