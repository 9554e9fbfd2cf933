"""Prioritized replay: rows are drawn in proportion to a power of their priority.

    P(i) = m_i / sum_j m_j,     proportional:  m_i = (|TD_i| + epsilon)^alpha,  or (LAP)  max(|TD_i|, 1)^alpha
                                rank-based:    m_i = rank(i)^-alpha

    importance weights:         w_i = (N P(i))^-beta / max over the batch of the same

Sources: Schaul et al. (2016), "Prioritized Experience Replay", arXiv 1511.05952, section 3, which is Eq. 2.29 to 2.32
of the study. LAP: Fujimoto et al. (2020), arXiv 2007.06049, for Huber's loss of threshold 1 and no weights.

The masses m are the leaves of a sum-tree (`lsp.replay.sum_tree`). In one dispatch write first and sample after, as with
every ring; the tree and the counts may be read and written in any order.

What is added, drawn and written is little, and a call is soon all overhead. XLA's CPU runtime gives kernels to a second
thread once more than eight of them are ready to run, which takes longer (15 us) than any of those here. So numbers that
are kept lie in pairs, and what could be computed at once from constants is made to follow from the rows' places.
"""

import math
from functools import partial
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import jax.numpy as jnp
import optax

from lsp import xla
from lsp.replay import priority_scan, ranks, ring, sum_tree
from lsp.replay.annealing import Schedule
from lsp.replay.priority_scan import Sweep
from lsp.replay.random_bits import bits
from lsp.replay.ranks import Ranks
from lsp.replay.ring import Ring
from lsp.replay.sum_tree import FAN_OUT, SumTree
from lsp.types import Array, Batch, Key, Replay, Transition

SMALLEST, LARGEST = 1e-30, 1e28  # masses: a row is never lost, and even 2^31 rows have a finite sum


class State(NamedTuple):
    """Rows, their masses, and what sampling is judged by."""

    ring: Ring
    tree: SumTree  # leaf i: mass of slot i; in a dump only the leaves, f32[size]
    ranks: Ranks | None  # None where proportional
    replayed: Array  # bool[nodes, 16], laid out as the leaves; in a dump bool[size]
    sweep: Sweep  # of masses and `replayed`
    counts: Array  # i32[2] `updates` and `bad`

    @property
    def updates(self) -> Array:
        """Calls of update_priorities, i32[]."""
        return self.counts[..., 0]

    @property
    def bad(self) -> Array:
        """Priorities refused because they were not finite, i32[]."""
        return self.counts[..., 1]


class Options(NamedTuple):
    """What `make_prioritized` was asked for."""

    capacity: int
    batch_size: int
    alpha: float
    beta: Schedule
    epsilon: float
    priority: Literal["td", "lap", "kl"]
    scheme: Literal["proportional", "rank"]
    weights: Literal["all", "q", "none"]
    policy_batch: Literal["same", "uniform"]
    rank_refresh: int


def make_prioritized(
    capacity: int,
    batch_size: int,
    *,
    alpha: float,
    beta: float | Schedule,
    epsilon: float = 1e-6,
    priority: Literal["td", "lap", "kl"] = "td",
    scheme: Literal["proportional", "rank"] = "proportional",
    weights: Literal["all", "q", "none"] = "all",
    policy_batch: Literal["same", "uniform"] = "same",
    rank_refresh: int = 10_000,
) -> Replay:
    """Replay that draws `batch_size` of the newest `capacity` rows by priority, with replacement.

    Priorities go in as TD errors, of which the size counts. New rows take min(given, current maximum); inf is the
    current maximum: that of all rows, and at least 1 until the ring is full. Of a drawn row, a priority that is
    not finite is refused and counted, and the row keeps the one it has.

    Args:
      capacity: rows.
      batch_size: rows drawn, one from each of as many segments of equal mass.
      alpha: exponent of priorities, 0 (uniform) or more.
      beta: exponent of importance weights, or its schedule over updates.
      epsilon: added to |TD error|, above 0, so that every row may be drawn again.
      priority: of the proportional scheme, "td" or "lap".
      scheme: "proportional" or "rank".
      weights: for "all" losses, for "q" (the study), or "none".
      policy_batch: "same", or "uniform": the states of the policy loss are drawn uniformly, because the critic misleads
        the policy where TD errors are large (Saglam et al. 2023, "Actor Prioritized Experience Replay").
      rank_refresh: updates between two sorts of all rows, of the rank-based scheme.

    Raises:
      ValueError: an argument out of its range.
    """
    schedule = beta if callable(beta) else optax.constant_schedule(beta)
    options = Options(
        capacity, batch_size, alpha, schedule, epsilon, priority, scheme, weights, policy_batch, rank_refresh
    )
    _check(options)
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


def _check(options: Options) -> None:
    least = {"capacity": 1, "batch_size": 1, "rank_refresh": 1, "alpha": 0.0, "epsilon": SMALLEST}
    for name, kind in get_type_hints(Options).items():
        value = getattr(options, name)
        if name in least and not least[name] <= value < math.inf:
            raise ValueError(f"make_prioritized: {name}={value} must be finite and at least {least[name]}")
        if get_origin(kind) is Literal and value not in get_args(kind):
            raise ValueError(f"make_prioritized: {name}={value!r} must be one of {', '.join(get_args(kind))}")


def _init(options: Options, example: Transition) -> State:
    tree = sum_tree.init(options.capacity)
    return State(
        ring=ring.init(example, options.capacity),
        tree=tree,
        ranks=ranks.init(options.capacity) if options.scheme == "rank" else None,
        replayed=jnp.zeros(tree.levels[-1].shape, bool),
        sweep=priority_scan.init(),
        counts=jnp.zeros(2, jnp.int32),
    )


def _masses(options: Options, ranking: Ranks | None, priorities: Array) -> Array:
    """Leaves for priorities f32[n], 0 or more and not NaN."""
    if ranking is not None:
        mass = ranks.lookup(ranking, priorities).astype(jnp.float32) ** -options.alpha
    elif options.priority == "lap":
        mass = jnp.maximum(priorities, 1.0) ** options.alpha
    else:
        mass = (priorities + options.epsilon) ** options.alpha
    return jnp.clip(mass, SMALLEST, LARGEST)


def _ceiling(state: State) -> Array:
    """Mass of a new row, f32[]: the largest there is, and at least 1 until the ring is full."""
    full = state.ring.size == state.ring.rows.shape[0]
    largest = jnp.where(full, state.sweep.maximum, jnp.maximum(state.sweep.maximum, 1.0))
    return largest if state.ranks is None else jnp.ones(())  # the mass of rank 1


def _add(options: Options, state: State, chunk: Transition, priorities: Array) -> State:
    stored, slots = ring.add(state.ring, chunk)
    known = jnp.where(jnp.isnan(priorities), jnp.inf, jnp.abs(priorities))
    masses = jnp.minimum(_masses(options, state.ranks, known), _ceiling(state))
    ranking = state.ranks
    if ranking is not None:
        ranking = ranks.write(ranking, slots, known)
    # XLA turns a scatter of one row into the update of a slice, and then copies what is read as well: write it twice.
    twice = partial(jnp.repeat, repeats=2 if slots.size == 1 else 1)
    return state._replace(
        ring=stored,
        tree=sum_tree.set_leaves(state.tree, twice(slots), twice(masses)),
        ranks=ranking,
        replayed=_mark(state.replayed, twice(slots), False),
        sweep=priority_scan.written(state.sweep, masses),
        counts=_count(state, 0, jnp.isnan(priorities)),
    )


def _count(state: State, updates: int, refused: Array) -> Array:
    """`counts` after so many more `updates`, and the `refused` ones among priorities, bool[n]."""
    return state.counts + jnp.stack([jnp.int32(updates), jnp.sum(refused, dtype=jnp.int32)])


def _mark(replayed: Array, slots: Array, value: bool) -> Array:
    node, child = jnp.divmod(slots, FAN_OUT)
    values = (slots >= 0) == value  # all of them `value`; a constant vector would be a kernel, and ready at once
    return replayed.at[node, child].set(values, mode="promise_in_bounds")


def _sample(options: Options, state: State, key: Key) -> Batch:
    ones, observation = jnp.ones(options.batch_size), None
    draws = 2 if options.policy_batch == "uniform" else 1
    words = bits(key, (draws, options.batch_size))
    if options.policy_batch == "uniform":
        observation = ring.gather(state.ring, ring.below(words[1], state.ring.size)).observation
    slots = sum_tree.stratified_find(state.tree, words[0])
    weights = ones
    if options.weights != "none":
        # N and the sum of all masses are the same in all rows of the batch, so that they cancel.
        masses = sum_tree.get_leaves(state.tree, slots)
        weights = (jnp.min(masses) / masses) ** options.beta(state.updates)
    # The weights are those of the drawn rows: states drawn uniformly need none.
    own = options.weights == "q" or (options.weights == "all" and observation is not None)
    policy_weights = ones if own else None
    return Batch(ring.gather(state.ring, slots), slots, weights, observation, policy_weights)


def _update_priorities(options: Options, state: State, slots: Array, priorities: Array) -> State:
    finite = jnp.isfinite(priorities)
    known = jnp.where(finite, jnp.abs(priorities), 0.0)
    masses = jnp.where(finite, _masses(options, state.ranks, known), jnp.nan)  # the tree ignores writes of NaN
    tree = sum_tree.set_leaves(state.tree, slots, masses)
    sweep, counts = priority_scan.written(state.sweep, masses), _count(state, 1, ~finite)
    replayed = _mark(state.replayed, slots, True)
    ranking = state.ranks
    if ranking is not None:
        ranking = ranks.write(ranking, jnp.where(ranks.last_of_each(slots, finite), slots, options.capacity), known)
        due = ranks.due(counts[0], options.rank_refresh)
        ranking, tree = xla.run_if(due, partial(_rank_anew, options), (ranking, tree))
    return state._replace(
        tree=tree,
        ranks=ranking,
        replayed=replayed,
        sweep=priority_scan.look(sweep, tree, replayed, state.ring.size, state.updates),
        counts=counts,
    )


def _rank_anew(options: Options, ranking_and_tree: tuple[Ranks, SumTree]) -> tuple[Ranks, SumTree]:
    """Exact ranks of all rows, and the masses that follow from them."""
    ranking = ranks.refresh(ranking_and_tree[0])
    masses = _masses(options, ranking, ranking.priorities)
    return ranking, sum_tree.from_leaves(jnp.where(ranking.priorities == ranks.EMPTY, 0.0, masses))


def _dump(state: State, size: int) -> State:
    """Leaves only: what is above them follows from them."""
    leaves: Any = state.tree.levels[-1].reshape(-1)[:size]
    return state._replace(
        ring=ring.dump(state.ring, size),
        tree=leaves,
        ranks=None if state.ranks is None else ranks.dump(state.ranks, size),
        replayed=state.replayed.reshape(-1)[:size],
    )


def _load(options: Options, dumped: State) -> State:
    missing = options.capacity - dumped.replayed.shape[0]
    leaves: Any = dumped.tree
    tree = sum_tree.from_leaves(jnp.pad(leaves, (0, missing)))
    shape = tree.levels[-1].shape
    return dumped._replace(
        ring=ring.load(dumped.ring, options.capacity),
        tree=tree,
        ranks=None if dumped.ranks is None else ranks.load(dumped.ranks, options.capacity),
        replayed=jnp.pad(dumped.replayed, (0, math.prod(shape) - dumped.replayed.shape[0])).reshape(shape),
    )


def _metrics(options: Options, state: State, batch: Batch) -> dict[str, Array]:
    """Of the batch, before its priorities are written; priorities as sampling uses them, that is as masses."""
    masses = jnp.sort(sum_tree.get_leaves(state.tree, batch.indices))
    correcting = masses[0] / masses  # what would undo the priorities
    age = (state.ring.position - 1 - batch.indices) % options.capacity
    rows = state.ring.size.astype(jnp.float32)
    metrics = {
        "replay_size": rows,
        "batch_age": jnp.mean(age.astype(jnp.float32)),
        "effective_sample_size": jnp.sum(correcting) ** 2 / jnp.sum(correcting**2),
        "priority_max": _ceiling(state),
        "never_replayed": state.sweep.never_replayed / rows,
        "bad_priorities": state.bad.astype(jnp.float32),
    }
    for percent in (10, 50, 90):
        metrics[f"priority_p{percent}"] = masses[round(percent / 100 * (options.batch_size - 1))]
    return metrics if options.weights == "none" else metrics | {"beta": jnp.asarray(options.beta(state.updates))}
