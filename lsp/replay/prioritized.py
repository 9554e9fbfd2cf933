"""Prioritized replay: transitions are drawn in proportion to a power of their priority.

    P(i) = m_i / sum_j m_j,     proportional:  m_i = (|TD_i| + epsilon)^alpha,  or (LAP)  max(|TD_i|, 1)^alpha
                                rank-based:    m_i = rank(i)^-alpha

    importance weights:         w_i = (N P(i))^-beta / max over the batch of the same

Sources: Schaul et al. (2016), "Prioritized Experience Replay", arXiv 1511.05952, section 3, which is Eq. 2.29 to 2.32
of the study. LAP: Fujimoto et al. (2020), arXiv 2007.06049, for Huber's loss of threshold 1 and no weights.

The masses m are the leaves of a sum-tree (`lsp.replay.sum_tree`). In one dispatch write first and sample after, as with
every ring; the tree and the counts may be read and written in any order. What is added, drawn and written is little,
and a call is soon all overhead: hence the helpers of `lsp.xla`.
"""

import dataclasses
import math
from functools import partial
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import jax.numpy as jnp
import optax

from lsp import xla
from lsp.config import Config, ReplayConfig
from lsp.config.replay import weights_of
from lsp.replay import annealing, priority_scan, ranks, ring, sum_tree
from lsp.replay.annealing import Schedule
from lsp.replay.priority_scan import PriorityScan
from lsp.replay.ranks import Ranks
from lsp.replay.ring import Ring
from lsp.replay.sum_tree import FAN_OUT, SumTree
from lsp.types import Array, Batch, Key, Replay, Transition

SMALLEST, LARGEST = 1e-30, 1e28  # masses: a transition is never lost, and even 2^31 of them have a finite sum
SCHAUL: dict[str, Any] = {"priority": "td", "weights": "all", "policy_batch": "same"}
"""Choices of Schaul et al., where `ReplayConfig` has LAP's."""


class State(NamedTuple):
    """Transitions, their masses, and what sampling is evaluated by."""

    ring: Ring
    tree: SumTree  # leaf i: mass of slot i; in a dump only the leaves, f32[size]
    ranks: Ranks | None  # None where proportional
    replayed: Array  # bool[nodes, 16], laid out as the leaves; in a dump bool[size]
    scan: PriorityScan  # of masses and `replayed`
    counts: Array  # i32[2] `updates` and `bad`

    @property
    def updates(self) -> Array:
        """Calls of update_priorities, i32[]."""
        return self.counts[..., 0]

    @property
    def bad(self) -> Array:
        """Priorities refused because they were not finite, i32[]."""
        return self.counts[..., 1]


def make(config: Config) -> Replay:
    """The prioritized replay of a configuration."""
    replay = dataclasses.replace(config.replay, weights=weights_of(config.replay, config.critic))
    return _make(replay, annealing.from_config(replay))


def make_prioritized(
    capacity: int, batch_size: int, *, alpha: float, beta: float | Schedule, epsilon: float = 1e-6, **options: Any
) -> Replay:
    """Replay that draws `batch_size` of the newest `capacity` transitions by priority, with replacement.

    Priorities go in as TD errors, of which the size counts. New transitions take min(given, current maximum); inf is
    the current maximum: that of all transitions, and at least 1 until the ring is full. Of a drawn transition, a
    priority that is not finite is refused and counted, and the transition keeps the one it has.

    Args:
      capacity: transitions.
      batch_size: transitions drawn, one from each of as many segments of equal mass.
      alpha: exponent of priorities, 0 (uniform) or more.
      beta: exponent of importance weights, or its schedule over updates.
      epsilon: added to |TD error|, above 0, so that every transition may be drawn again.
      options: other fields of `lsp.config.ReplayConfig`: `priority` ("td" if not given), `scheme` ("proportional"),
        `initial` ("max"), `weights` ("all"; not "auto"), `policy_batch` ("same"; "uniform" because the critic misleads
        the policy where TD errors are large, Saglam et al. 2023, "Actor Prioritized Experience Replay"),
        `rank_refresh` (10,000).

    Raises:
      ValueError: an argument out of its range.
      TypeError: an unknown one.
    """
    sizes = {"capacity": capacity, "batch_size": batch_size, "alpha": alpha, "epsilon": epsilon}
    schedule = beta if callable(beta) else optax.constant_schedule(beta)
    return _make(ReplayConfig("prioritized", **(SCHAUL | sizes | options)), schedule)


def _make(config: ReplayConfig, beta: Schedule) -> Replay:
    """`beta` replaces the fields of `config` about it."""
    _check(config)
    return Replay(
        init=partial(_init, config),
        add=partial(_add, config),
        sample=partial(_sample, config, beta),
        update_priorities=partial(_update_priorities, config),
        size=lambda state: state.ring.size,
        dump=_dump,
        load=partial(_load, config),
        metrics=partial(_metrics, config, beta),
        refused=lambda state: state.bad,
        ranks_new=config.initial == "td",
    )


def _check(config: ReplayConfig) -> None:
    least = {"capacity": 1, "batch_size": 1, "rank_refresh": 1, "alpha": 0.0, "epsilon": SMALLEST}
    for name, kind in get_type_hints(ReplayConfig).items():
        value = getattr(config, name)
        if name in least and not least[name] <= value < math.inf:
            raise ValueError(f"make_prioritized: {name}={value} must be finite and at least {least[name]}")
        if get_origin(kind) is Literal and value not in get_args(kind):
            raise ValueError(f"make_prioritized: {name}={value!r} must be one of {', '.join(get_args(kind))}")
    if config.weights == "auto":
        raise ValueError("make_prioritized: weights='auto' depends on the critics' loss: choose all, q or none")


def _init(config: ReplayConfig, example: Transition) -> State:
    tree = sum_tree.init(config.capacity)
    return State(
        ring=ring.init(example, config.capacity),
        tree=tree,
        ranks=ranks.init(config.capacity) if config.scheme == "rank" else None,
        replayed=jnp.zeros(tree.levels[-1].shape, bool),
        scan=priority_scan.init(),
        counts=jnp.zeros(2, jnp.int32),
    )


def _masses(config: ReplayConfig, ranking: Ranks | None, priorities: Array) -> Array:
    """Leaves for priorities f32[n], 0 or more and not NaN."""
    if ranking is not None:
        mass = ranks.lookup(ranking, priorities).astype(jnp.float32) ** -config.alpha
    elif config.priority == "lap":
        mass = jnp.maximum(priorities, 1.0) ** config.alpha
    else:
        mass = (priorities + config.epsilon) ** config.alpha
    return jnp.clip(mass, SMALLEST, LARGEST)


def _ceiling(state: State) -> Array:
    """Mass of a new transition, f32[]: the largest there is, and at least 1 until the ring is full."""
    full = state.ring.size == state.ring.rows.shape[0]
    largest = jnp.where(full, state.scan.maximum, jnp.maximum(state.scan.maximum, 1.0))
    return largest if state.ranks is None else jnp.ones(())  # the mass of rank 1


def _add(config: ReplayConfig, state: State, chunk: Transition, priorities: Array) -> State:
    stored, slots = ring.add(state.ring, chunk)
    known = jnp.where(jnp.isnan(priorities), jnp.inf, jnp.abs(priorities))
    masses = jnp.minimum(_masses(config, state.ranks, known), _ceiling(state))
    ranking = state.ranks
    if ranking is not None:
        ranking = ranks.write(ranking, slots, known)
    slots, written = xla.scatter_twice(slots, masses)
    return state._replace(
        ring=stored,
        tree=sum_tree.set_leaves(state.tree, slots, written),
        ranks=ranking,
        replayed=_mark(state.replayed, slots, False),
        scan=priority_scan.after_writes(state.scan, masses),
        counts=_count(state, 0, jnp.isnan(priorities)),
    )


def _count(state: State, updates: int, refused: Array) -> Array:
    """`counts` after so many more `updates`, and the `refused` ones among priorities, bool[n]."""
    return state.counts + xla.pair(jnp.int32(updates), jnp.sum(refused, dtype=jnp.int32))


def _mark(replayed: Array, slots: Array, value: bool) -> Array:
    node, child = jnp.divmod(slots, FAN_OUT)
    return replayed.at[node, child].set(xla.constant_like(slots, value), mode="promise_in_bounds")


def _sample(config: ReplayConfig, beta: Schedule, state: State, key: Key) -> Batch:
    ones, observation = jnp.ones(config.batch_size), None
    draws = 2 if config.policy_batch == "uniform" else 1
    bits = xla.random_bits(key, (draws, config.batch_size))
    if config.policy_batch == "uniform":
        observation = ring.gather(state.ring, ring.below(bits[1], state.ring.size)).observation
    slots = sum_tree.stratified_find(state.tree, bits[0])
    weights = ones
    if config.weights != "none":
        # N and the sum of all masses are the same in the whole batch, so that they cancel.
        masses = sum_tree.get_leaves(state.tree, slots)
        weights = (jnp.min(masses) / masses) ** beta(state.updates)
    # The weights are those of the drawn transitions: states drawn uniformly need none.
    own = config.weights == "q" or (config.weights == "all" and observation is not None)
    policy_weights = ones if own else None
    return Batch(ring.gather(state.ring, slots), slots, weights, observation, policy_weights)


def _update_priorities(config: ReplayConfig, state: State, slots: Array, priorities: Array) -> State:
    finite = jnp.isfinite(priorities)
    known = jnp.where(finite, jnp.abs(priorities), 0.0)
    masses = jnp.where(finite, _masses(config, state.ranks, known), jnp.nan)  # the tree ignores writes of NaN
    tree = sum_tree.set_leaves(state.tree, slots, masses)
    scan, counts = priority_scan.after_writes(state.scan, masses), _count(state, 1, ~finite)
    replayed = _mark(state.replayed, slots, True)
    ranking = state.ranks
    if ranking is not None:
        ranking = ranks.write(ranking, jnp.where(ranks.last_of_each(slots, finite), slots, config.capacity), known)
        due = ranks.due(counts[0], config.rank_refresh)
        ranking, tree = xla.cond_any(due, partial(_refresh_ranks, config), (ranking, tree))
    return state._replace(
        tree=tree,
        ranks=ranking,
        replayed=replayed,
        scan=priority_scan.inspect_window(scan, tree, replayed, state.ring.size, state.updates),
        counts=counts,
    )


def _refresh_ranks(config: ReplayConfig, ranking_and_tree: tuple[Ranks, SumTree]) -> tuple[Ranks, SumTree]:
    """Exact ranks of all transitions, and the masses that follow from them."""
    ranking = ranks.refresh(ranking_and_tree[0])
    masses = _masses(config, ranking, ranking.priorities)
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


def _load(config: ReplayConfig, dumped: State) -> State:
    missing = config.capacity - dumped.replayed.shape[0]
    leaves: Any = dumped.tree
    tree = sum_tree.from_leaves(jnp.pad(leaves, (0, missing)))
    shape = tree.levels[-1].shape
    return dumped._replace(
        ring=ring.load(dumped.ring, config.capacity),
        tree=tree,
        ranks=None if dumped.ranks is None else ranks.load(dumped.ranks, config.capacity),
        replayed=jnp.pad(dumped.replayed, (0, math.prod(shape) - dumped.replayed.shape[0])).reshape(shape),
    )


def _metrics(config: ReplayConfig, beta: Schedule, state: State, batch: Batch) -> dict[str, Array]:
    """Of the batch, before its priorities are written; priorities as sampling uses them, that is as masses."""
    masses = jnp.sort(sum_tree.get_leaves(state.tree, batch.indices))
    correcting = masses[0] / masses  # what would undo the priorities
    age = (state.ring.position - 1 - batch.indices) % config.capacity
    size = state.ring.size.astype(jnp.float32)
    metrics = {
        "replay_size": size,
        "batch_age": jnp.mean(age.astype(jnp.float32)),
        "effective_sample_size": jnp.sum(correcting) ** 2 / jnp.sum(correcting**2),
        "priority_max": _ceiling(state),
        "never_replayed": state.scan.never_replayed / size,
        "bad_priorities": state.bad.astype(jnp.float32),
    }
    for percent in (10, 50, 90):
        metrics[f"priority_p{percent}"] = masses[round(percent / 100 * (config.batch_size - 1))]
    return metrics if config.weights == "none" else metrics | {"beta": jnp.asarray(beta(state.updates))}
