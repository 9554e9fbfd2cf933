"""Prioritized replay: rows are drawn in proportion to a power of their priority.

    P(i) = m_i / sum_j m_j,     proportional:  m_i = (|TD_i| + epsilon)^alpha,  or (LAP)  max(|TD_i|, 1)^alpha
                                rank-based:    m_i = rank(i)^-alpha

    importance weights:         w_i = (N P(i))^-beta / max over the batch of the same

Sources: Schaul et al. (2016), "Prioritized Experience Replay", arXiv 1511.05952, section 3, which is Eq. 2.29 to 2.32 of
the study. LAP: Fujimoto et al. (2020), arXiv 2007.06049, for Huber's loss of threshold 1 and no weights.

The masses m are the leaves of a sum-tree (`lsp.replay.sum_tree`). In one dispatch write first and sample after, as with
every ring; the tree and the counts may be read and written in any order.
"""

import functools
import math
import operator
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax

from lsp.replay import ranks, ring, sum_tree
from lsp.replay import sweep as sweeping
from lsp.replay.ranks import Ranks
from lsp.replay.ring import Ring
from lsp.replay.sum_tree import FAN_OUT, SumTree
from lsp.replay.sweep import Sweep
from lsp.types import Array, Batch, Key, Replay, Transition

Schedule = Callable[[Array], Array]  # updates so far, i32[] -> f32[]
EPOCH = 1_000  # updates, of the study
SMALLEST, LARGEST = 1e-30, 1e28  # masses: a row is never lost, and even 2^31 rows have a finite sum


@flax.struct.dataclass
class State:
    """Rows, their masses, and what sampling is judged by."""

    ring: Ring
    tree: SumTree  # leaf i: mass of slot i; in a dump only the leaves, f32[size]
    ranks: Ranks | None  # None where proportional
    replayed: Array  # bool[nodes, 16], laid out as the leaves; in a dump bool[size]
    sweep: Sweep  # of masses and `replayed`
    updates: Array  # i32[] calls of update_priorities
    bad: Array  # i32[] priorities refused because they were not finite


class Options(NamedTuple):
    """Arguments of `make_prioritized`."""

    capacity: int
    batch_size: int
    alpha: float
    beta: Schedule | None
    epsilon: float
    priority: str
    scheme: str
    policy_batch: str
    refresh_every: int


def make_prioritized(
    capacity: int,
    batch_size: int,
    *,
    alpha: float,
    beta: float | Schedule | None,
    epsilon: float = 1e-6,
    priority: str = "td",
    scheme: str = "proportional",
    policy_batch: str = "same",
    refresh_every: int = 10_000,
) -> Replay:
    """Replay that draws `batch_size` of the newest `capacity` rows by priority, with replacement.

    Priorities go in as |TD error|. New rows take min(given, current maximum); inf is the current maximum: of the
    leaves, and at least 1 until the ring is full. Priorities that are not finite are counted and change nothing.

    Args:
      capacity: rows.
      batch_size: rows drawn, one from each of as many segments of equal mass.
      alpha: exponent, 0 (uniform) or more.
      beta: exponent of the importance weights, or a schedule of it over updates; None: all weights are 1.
      epsilon: added to |TD error|, above 0, so that every row can be drawn again.
      priority: "td" or "lap", of the proportional scheme.
      scheme: "proportional" or "rank".
      policy_batch: "same", or "uniform": states of the policy loss are drawn uniformly, because where TD errors are
        large the critic misleads the policy (Saglam et al. 2023, "Actor Prioritized Experience Replay").
      refresh_every: updates between two sorts of all rows, of the rank-based scheme.

    Raises:
      ValueError: an argument out of its range.
    """
    if min(capacity, batch_size, refresh_every) < 1:
        raise ValueError(f"make_prioritized: {capacity=}, {batch_size=} and {refresh_every=} must be at least 1")
    if not (alpha >= 0 and epsilon > 0):
        raise ValueError(f"make_prioritized: {alpha=} must be 0 or more, and {epsilon=} above 0")
    for text, choices in (
        (priority, ("td", "lap")), (scheme, ("proportional", "rank")), (policy_batch, ("same", "uniform"))
    ):  # fmt: skip
        if text not in choices:
            raise ValueError(f"make_prioritized: unknown choice {text!r}; known are {' and '.join(choices)}")
    schedule = optax.constant_schedule(beta) if isinstance(beta, int | float) else beta
    options = Options(
        capacity, batch_size, alpha, schedule, epsilon, priority, scheme, policy_batch, refresh_every
    )  # fmt: skip
    return Replay(
        init=partial(_init, options),
        add=partial(_add, options),
        sample=partial(_sample, options),
        update_priorities=partial(_update_priorities, options),
        size=lambda state: state.ring.size,
        dump=_dump,
        load=partial(_load, options),
        metrics=partial(_metrics, options),
    )


def anneal(first: float, last: float, updates: int, every: int = 1) -> Schedule:
    """From `first` to `last` in a straight line over `updates`, changing once in `every`; `last` from then on."""
    linear = optax.linear_schedule(first, last, updates)
    return lambda count: linear(count - count % every)


def anneal_as_coded(first: float, last: float, updates: int) -> Schedule:
    """What the study's code made of its schedule: `first` for one epoch, then, once and for all, over 1 too much.

    Its increment lacks parentheses, (last - first) / epochs + 1, and is added while beta is at most 1.
    """
    increment = (last - first) / (updates / EPOCH) + 1
    return lambda count: jnp.where(count < EPOCH, first, first + increment)


def _init(options: Options, example: Transition) -> State:
    tree = sum_tree.init(options.capacity)
    return State(
        ring=ring.init(example, options.capacity),
        tree=tree,
        ranks=ranks.init(options.capacity) if options.scheme == "rank" else None,
        replayed=jnp.zeros(tree.levels[-1].shape, bool),
        sweep=sweeping.init(),
        updates=jnp.zeros((), jnp.int32),
        bad=jnp.zeros((), jnp.int32),
    )


def _masses(options: Options, ranking: Ranks | None, priorities: Array) -> Array:
    """Leaves for priorities f32[n], of which none is NaN."""
    if ranking is not None:
        mass = ranks.lookup(ranking, priorities).astype(jnp.float32) ** -options.alpha
    elif options.priority == "lap":
        mass = jnp.maximum(priorities, 1.0) ** options.alpha
    else:
        mass = (jnp.maximum(priorities, 0.0) + options.epsilon) ** options.alpha
    return jnp.clip(mass, SMALLEST, LARGEST)


def _ceiling(state: State) -> Array:
    """Mass of a new row, f32[]: the largest there is, and at least 1 until the ring is full."""
    full = state.ring.size == state.ring.rows.shape[0]
    largest = jnp.where(full, state.sweep.maximum, jnp.maximum(state.sweep.maximum, 1.0))
    return largest if state.ranks is None else jnp.ones(())  # the mass of rank 1


def _add(options: Options, state: State, chunk: Transition, priorities: Array) -> State:
    stored, slots = ring.add(state.ring, chunk)
    known = jnp.where(jnp.isnan(priorities), jnp.inf, jnp.maximum(priorities, 0.0))
    masses = jnp.minimum(_masses(options, state.ranks, known), _ceiling(state))
    ranking = state.ranks
    if ranking is not None:
        ranking = ranks.write(ranking, slots, known, jnp.ones(slots.shape, bool))
    # XLA turns a scatter of one row into the update of a slice, and then copies what is read as well: write it twice.
    twice = partial(jnp.repeat, repeats=2 if slots.size == 1 else 1)
    return state.replace(
        ring=stored,
        tree=sum_tree.set_leaves(state.tree, twice(slots), twice(masses)),
        ranks=ranking,
        replayed=_mark(state.replayed, twice(slots), False),
        sweep=sweeping.written(state.sweep, masses),
        bad=state.bad + jnp.sum(jnp.isnan(priorities)),
    )


def _mark(replayed: Array, slots: Array, value: bool) -> Array:
    node, child = jnp.divmod(slots, FAN_OUT)
    return replayed.at[node, child].set(value, mode="promise_in_bounds")


def _sample(options: Options, state: State, key: Key) -> Batch:
    row_key, policy_key = jax.random.split(key)
    slots = sum_tree.stratified_sample(state.tree, row_key, options.batch_size)
    weights = jnp.ones(options.batch_size)
    if options.beta is not None:
        # N and the sum of all masses are the same in all rows of the batch, so that they cancel.
        masses = sum_tree.get_leaves(state.tree, slots)
        weights = (jnp.min(masses) / masses) ** options.beta(state.updates)
    policy_observation = None
    if options.policy_batch == "uniform":
        others = jax.random.randint(policy_key, (options.batch_size,), 0, state.ring.size)
        policy_observation = ring.gather(state.ring, others).observation
    return Batch(ring.gather(state.ring, slots), slots, weights, policy_observation)


def _update_priorities(options: Options, state: State, slots: Array, priorities: Array) -> State:
    finite = jnp.isfinite(priorities)
    # The tree ignores NaN: a row whose TD error is not finite keeps its priority.
    masses = jnp.where(finite, _masses(options, state.ranks, jnp.where(finite, priorities, 0.0)), jnp.nan)
    tree = sum_tree.set_leaves(state.tree, slots, masses)
    sweep, updates = sweeping.written(state.sweep, masses), state.updates + 1
    replayed = _mark(state.replayed, slots, True)
    ranking = state.ranks
    if ranking is not None:
        ranking = ranks.write(ranking, slots, jnp.maximum(priorities, 0.0), finite)
        due = ranks.due(updates, options.refresh_every)
        ranking, tree = ranks.run_if(due, partial(_rank_anew, options), (ranking, tree))
    return state.replace(
        tree=tree,
        ranks=ranking,
        replayed=replayed,
        sweep=sweeping.look(sweep, tree, replayed, state.ring.size, state.updates),
        updates=updates,
        bad=state.bad + jnp.sum(~finite),
    )


def _rank_anew(options: Options, ranking_and_tree: tuple[Ranks, SumTree]) -> tuple[Ranks, SumTree]:
    """Exact ranks of all rows, and the masses that follow from them."""
    ranking = ranks.refresh(ranking_and_tree[0])
    masses = _masses(options, ranking, ranking.priorities)
    return ranking, _tree_of(jnp.where(ranking.priorities == ranks.EMPTY, 0.0, masses))


def _tree_of(leaves: Array) -> SumTree:
    """The tree of leaves f32[C], to the last bit as if they had been written one by one."""
    empty = sum_tree.init(leaves.size)
    levels: list[Array] = []
    for level in reversed(empty.levels):
        levels.insert(0, jnp.pad(leaves, (0, level.size - leaves.size)).reshape(level.shape))
        leaves = functools.reduce(operator.add, (levels[0][:, child] for child in range(FAN_OUT)))
    return empty.replace(levels=tuple(levels))


def _dump(state: State, size: int) -> State:
    """Leaves only: what is above them follows from them."""
    return state.replace(
        ring=ring.dump(state.ring, size),
        tree=state.tree.levels[-1].reshape(-1)[:size],
        ranks=None if state.ranks is None else ranks.dump(state.ranks, size),
        replayed=state.replayed.reshape(-1)[:size],
    )


def _load(options: Options, dumped: State) -> State:
    missing = options.capacity - dumped.replayed.shape[0]
    tree = _tree_of(jnp.pad(dumped.tree, (0, missing)))
    shape = tree.levels[-1].shape
    return dumped.replace(
        ring=ring.load(dumped.ring, options.capacity),
        tree=tree,
        ranks=None if dumped.ranks is None else ranks.load(dumped.ranks, options.capacity),
        replayed=jnp.pad(dumped.replayed, (0, math.prod(shape) - dumped.replayed.shape[0])).reshape(shape),
    )


def _metrics(options: Options, state: State, batch: Batch) -> dict[str, Array]:
    """Of the batch, before its priorities are written; priorities as sampling uses them, that is as masses."""
    masses = jnp.sort(sum_tree.get_leaves(state.tree, batch.indices))
    correcting = jnp.min(masses) / masses  # what would undo the priorities
    age = (state.ring.position - 1 - batch.indices) % options.capacity
    rows = state.ring.size.astype(jnp.float32)
    metrics: dict[str, Any] = {
        "replay_size": rows,
        "batch_age": jnp.mean(age.astype(jnp.float32)),
        "effective_sample_size": jnp.sum(correcting) ** 2 / jnp.sum(correcting**2),
        "priority_max": _ceiling(state),
        "never_replayed": state.sweep.never_replayed / rows,
        "bad_priorities": state.bad.astype(jnp.float32),
    }
    for percent in (10, 50, 90):
        metrics[f"priority_p{percent}"] = masses[round(percent / 100 * (options.batch_size - 1))]
    return metrics if options.beta is None else metrics | {"beta": options.beta(state.updates)}
