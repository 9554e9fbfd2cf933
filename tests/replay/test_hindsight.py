"""Hindsight against a naive twin that remembers every episode, over rings fed by several executors, wrapped or not.

Every row achieves a goal of its own, a number, so that a drawn goal tells which row it is from.
"""

import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp import envs
from lsp.config import GoalsConfig
from lsp.executors.executor import Executor
from lsp.packing import Layout
from lsp.replay import make_hindsight, make_prioritized, make_uniform, ring
from lsp.replay.hindsight import Relabelling, _evaluate, relabel, steps_after
from lsp.replay.reencode import reencode
from lsp.replay.ring import Ring
from lsp.training.device import example_transition
from lsp.types import GoalTask, Transition
from tests.support import goal_envs

CAPACITY, LIMIT, GAMMA, DRAWS = 37, 7, 0.9, 200
STRATEGIES = ("future", "final", "episode", "random")


def reward(achieved: Any, goal: Any, env_reward: Any) -> Any:
    """Tells its arguments apart."""
    return 2.0 * achieved[..., 0] - 3.0 * goal[..., 0] + env_reward


def terminated(achieved: Any, goal: Any) -> Any:
    return abs(achieved[..., 0] - goal[..., 0]) < 0.5


TASK = GoalTask(2, reward, terminated, max_episode_steps=LIMIT)


class Row(NamedTuple):
    """The twin's row: what it achieved is `number`, of which the goal is [number, -number]."""

    number: int
    executor: int
    episode: int
    step: int
    goal: int
    failed: bool


class Streams:
    """Executors whose episodes end at random: terminated, truncated at the limit, or broken off without a word."""

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self.count, self.rng, self.number = count, rng, 0
        self.episodes, self.steps = np.arange(count), np.zeros(count, int)

    def step(self) -> list[Row]:
        return [self._step(executor) for executor in range(self.count)]

    def _step(self, executor: int) -> Row:
        self.number += 1
        kind = self.rng.choice(["on", "failed", "met", "broken"], p=[0.8, 0.08, 0.06, 0.06])
        goal = self.number if kind == "met" else -1 - int(self.episodes[executor])
        row = Row(self.number, executor, self.episodes[executor], self.steps[executor], goal, kind == "failed")
        self.steps[executor] += 1
        if kind != "on" or self.steps[executor] == LIMIT:
            self.episodes[executor], self.steps[executor] = self.episodes.max() + 1, 0
        return row


def to_transition(rows: Sequence[Row]) -> Transition:
    number, _, _, step, goal, failed = (np.array(column, np.float32) for column in zip(*rows, strict=True))
    goals = np.stack([goal, -goal], axis=-1)
    return Transition(
        observation=np.concatenate([np.stack([number, step], axis=-1), goals], axis=-1),
        action=number[:, None],
        reward=number / 10,
        discount=np.where((failed > 0) | (goal == number), 0.0, GAMMA).astype(np.float32),
        next_observation=np.concatenate([np.stack([number + 0.5, step + 1], axis=-1), goals], axis=-1),
        outcome=np.stack([number, -number, step, failed], axis=-1),
    )


add = jax.jit(ring.add)
init = jax.jit(ring.init, static_argnums=1)


def example() -> Transition:
    return jax.tree.map(lambda leaf: leaf[0], to_transition([Row(0, 0, 0, 0, 0, False)]))


def fill(executors: int, steps: int, block: int) -> tuple[Ring, list[Row]]:
    """A ring, and its twin as a list of rows by slot, after so many steps of all executors."""
    streams, newest = Streams(executors, np.random.default_rng([executors, steps])), deque(maxlen=CAPACITY)
    state, position = init(example(), CAPACITY), 0
    for _ in range(steps // block):
        chunk = [row for _ in range(block) for row in streams.step()]
        state, _ = add(state, to_transition(chunk))
        newest.extend(chunk)
        position += len(chunk)
    slots = [(position - len(newest) + i) % CAPACITY for i in range(len(newest))]
    return state, [row for _, row in sorted(zip(slots, newest, strict=True))]


def allowed(rows: Sequence[Row], own: Row, strategy: str, include_own: bool) -> set[int]:
    """Numbers of the rows whose goals `own` may take."""
    episode = [row for row in rows if row.episode == own.episode]
    last = max(row.step for row in episode)
    match strategy:
        case "future":
            found = {row.number for row in episode if row.step >= own.step}
        case "final":
            found = {row.number for row in episode if row.step == last}
        case "episode":
            found = {row.number for row in episode}
        case _:
            found = {row.number for row in rows}
    return found if include_own else found - {own.number}


@lru_cache
def drawer(executors: int, strategy: Any, include_own: bool, task: GoalTask = TASK) -> Callable[..., Transition]:
    """Every slot relabelled `DRAWS` times, [DRAWS, C, ...]; arguments: ring, key, k."""

    @jax.jit
    def draw(state: Ring, key: Any, k: Any) -> Transition:
        relabelling = Relabelling(task, GAMMA, executors, GoalsConfig("hindsight", strategy, k, include_own))
        slots = jnp.arange(CAPACITY) % state.size
        return jax.vmap(lambda key: relabel(state, slots, key, relabelling))(jax.random.split(key, DRAWS))

    return draw


FILLINGS = {1: [(5, 1), (90, 1)], 3: [(11, 1), (60, 4)], 5: [(7, 7), (35, 7)]}  # steps and block by executors


@pytest.mark.parametrize("include_own", [True, False])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_goals_are_those_that_the_twin_allows_and_all_of_them(strategy: str, include_own: bool) -> None:
    """Of the row's own episode, and no other; with k = 1e9 a row keeps its goal only where there is no other."""
    counts = (1, 3, 5) if (strategy, include_own) == ("future", True) else (3,)  # each compiles anew
    for executors, (steps, block) in [(count, filling) for count in counts for filling in FILLINGS[count]]:
        state, rows = fill(executors, steps, block)
        drawn = drawer(executors, strategy, include_own)(state, jax.random.key(1), 1e9).observation[..., 2]
        drawn = np.asarray(drawn)
        for slot, own in enumerate(rows):
            wanted = allowed(rows, own, strategy, include_own) or {own.goal}
            found = set(drawn[:, slot].astype(int).tolist())
            assert found <= wanted
            assert strategy == "random" or found == wanted


@pytest.mark.parametrize("replaces", [False, True])
def test_rewards_terminations_and_goals_of_the_twin(replaces: bool) -> None:
    """k / (k + 1) of the rows take another goal. A failure ends, a met goal ends, nothing else does; the rest stays.

    Rows that keep their goal keep their reward, unless the task teaches another one than it gives.
    """
    state, rows = fill(3, 60, 4)
    task = TASK._replace(replaces=replaces)
    drawn = jax.tree.map(np.asarray, drawer(3, "episode", True, task)(state, jax.random.key(2), 4.0))
    stored = to_transition(rows)
    goal, number = drawn.observation[..., 2], np.array([row.number for row in rows])
    kept = goal == stored.observation[None, :, 2]
    met = np.array([row.goal == row.number for row in rows])
    assert 0.17 < np.mean(kept[:, ~met]) < 0.23  # of the others, some take the goal that they had
    np.testing.assert_array_equal(drawn.observation[..., 3], -goal)
    np.testing.assert_array_equal(drawn.next_observation[..., 2:], drawn.observation[..., 2:])
    for now, before in ((drawn.observation, stored.observation), (drawn.next_observation, stored.next_observation)):
        np.testing.assert_array_equal(now[..., :2], np.broadcast_to(before[:, :2], (*goal.shape, 2)))
    anew = np.isclose(drawn.reward, 2 * number - 3 * goal + number / 10, rtol=1e-5)
    own = drawn.reward == stored.reward
    assert anew.all() if replaces else (anew[~kept].all() and own[kept & ~met].all() and (anew | own).all())
    failed = np.array([row.failed for row in rows])
    np.testing.assert_array_equal(drawn.discount, np.where(failed | (goal == number), 0.0, np.float32(GAMMA)))
    assert np.any(drawn.discount[:, met] > 0), "a row that met its goal goes on under another"
    assert failed.any()
    assert met.any()


@pytest.mark.parametrize("strategy", ["future", "episode"])
def test_copies_in_the_place_of_lost_rows_lend_no_goal(strategy: str) -> None:
    """And take none but their own: what lies around them is of other episodes."""
    state, rows = fill(3, 60, 4)
    lost = np.random.default_rng(0).permutation(CAPACITY)[:12]
    copied = np.setdiff1d(np.arange(CAPACITY), lost)[: len(lost)]
    stored = np.array(state.rows)
    stored[lost] = stored[copied]
    stored[lost, -2] = ring.ALONE
    found = drawer(3, strategy, True)(dataclasses.replace(state, rows=stored), jax.random.key(1), 1e9).observation
    drawn = np.asarray(found[..., 2]).astype(int)
    kept = [row for slot, row in enumerate(rows) if slot not in lost]
    others = 0
    for slot, own in enumerate(rows):
        if slot in lost:
            source = rows[copied[lost.tolist().index(slot)]]
            assert set(drawn[:, slot].tolist()) <= {source.goal, source.number}
        else:
            assert set(drawn[:, slot].tolist()) <= allowed(kept, own, strategy, True) | {own.goal}
            others += len(set(drawn[:, slot].tolist()) - {own.goal, own.number})
    assert others > 20


def test_reencoding_marks_its_copies() -> None:
    """Rows of even number cannot be rewritten."""
    state, rows = fill(3, 60, 4)
    new, dropped = jax.jit(lambda state, key: reencode(state, lambda t: (t, t.action[:, 0] % 2 == 1), key))(
        state, jax.random.key(0)
    )
    lost = np.array([row.number % 2 == 0 for row in rows])
    found = np.asarray(new.rows)
    assert int(dropped) == lost.sum()
    np.testing.assert_array_equal(found[~lost], np.asarray(state.rows)[~lost])
    assert (found[lost, -2] == ring.ALONE).all()
    assert (found[lost, 4] % 2 == 1).all()  # the action, a row's number


def test_goals_of_the_future_are_equally_likely() -> None:
    state, rows = fill(3, 60, 4)
    drawn = np.asarray(drawer(3, "future", True)(state, jax.random.key(3), 1e9).observation[..., 2])
    statistic, degrees = 0.0, 0
    for slot, own in enumerate(rows):
        choices = sorted(allowed(rows, own, "future", True))
        counts = np.array([np.sum(drawn[:, slot] == number) for number in choices])
        expected = DRAWS / len(choices)
        statistic += np.sum((counts - expected) ** 2) / expected
        degrees += len(choices) - 1
    assert degrees > 30
    assert abs(statistic - degrees) < 5 * np.sqrt(2 * degrees)


@pytest.mark.parametrize("limit", [LIMIT, None])
def test_steps_after(limit: int | None) -> None:
    """With a bound on the search and without."""
    for executors in (1, 3):
        find = jax.jit(partial(steps_after, num_executors=executors, max_episode_steps=limit))
        for steps, block in FILLINGS[executors]:
            state, rows = fill(executors, steps, block)
            found = np.asarray(find(state, jnp.arange(CAPACITY) % len(rows)))[: len(rows)]
            ends = [max(row.step for row in rows if row.episode == own.episode) for own in rows]
            np.testing.assert_array_equal(found, [end - own.step for end, own in zip(ends, rows, strict=True)])


def test_one_long_episode_that_fills_the_ring() -> None:
    """Longer than the ring, and never ended: the newest row is its end."""
    state, step = init(example(), CAPACITY), jax.jit(partial(steps_after, num_executors=1))
    for number in range(100):
        state, _ = add(state, to_transition([Row(number, 0, 0, number, -1, False)]))
    ages = (99 - np.arange(CAPACITY)) % CAPACITY  # row 99 is the newest, in slot 99 % 37
    np.testing.assert_array_equal(step(state, jnp.arange(CAPACITY)), ages)


def on_host(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: np.asarray(function(*map(np.asarray, arguments)))


HOST = TASK._replace(reward=on_host(reward), terminated=on_host(terminated), on_host=True)


@pytest.mark.parametrize("task", [TASK, HOST])
def test_k_zero_keeps_everything(task: GoalTask) -> None:
    """Bit for bit, whatever the task's functions say of the reward."""
    state, rows = fill(3, 60, 4)
    drawn = drawer(3, "future", True, task)(state, jax.random.key(1), 0.0)
    for found, stored in zip(jax.tree.leaves(drawn), jax.tree.leaves(to_transition(rows)), strict=True):
        np.testing.assert_array_equal(found, np.broadcast_to(stored, found.shape))


def test_rewards_beside_the_goals_go_with_the_transition() -> None:
    """reward' = r(achieved, g') + b. Of an even row b is not known, and it keeps its goal."""
    task, streams = HOST._replace(beside=True), Streams(3, np.random.default_rng(0))
    chunk = [row for _ in range(12) for row in streams.step()]
    number = np.array([row.number for row in chunk], np.float32)
    stored = to_transition(chunk)._replace(beside=np.where(number % 2 == 0, np.nan, 100 * number).astype(np.float32))
    state, _ = add(ring.init(jax.tree.map(lambda leaf: leaf[0], stored), CAPACITY), stored)
    drawn = jax.tree.map(np.asarray, drawer(3, "episode", True, task)(state, jax.random.key(2), 1e9))
    drawn = jax.tree.map(lambda leaf: leaf[:, : len(number)], drawn)
    goal, odd = drawn.observation[..., 2], number % 2 == 1
    np.testing.assert_array_equal(goal[:, ~odd], np.broadcast_to(stored.observation[~odd, 2], goal[:, ~odd].shape))
    np.testing.assert_array_equal(drawn.next_observation[..., 2], goal)
    np.testing.assert_array_equal(drawn.reward[:, ~odd], np.broadcast_to(stored.reward[~odd], goal[:, ~odd].shape))
    assert np.isfinite(drawn.reward).all()
    expected = 2 * number - 3 * goal + number / 10 + 100 * number
    np.testing.assert_allclose(drawn.reward[:, odd], expected[:, odd], rtol=1e-5)
    assert len(np.unique(goal[:, odd])) > 10


def test_evaluating_on_the_host_is_the_same() -> None:
    """Also under vmap, where a batch has more leading axes."""
    rng = np.random.default_rng(0)
    achieved, goal = rng.integers(0, 3, (2, 4, 6, 2)).astype(np.float32)
    env_reward = rng.normal(size=(4, 6)).astype(np.float32)
    for wrap in (lambda f: f, jax.vmap):
        one, other = (jax.jit(wrap(partial(_evaluate, task)))(achieved, goal, env_reward) for task in (TASK, HOST))
        np.testing.assert_allclose(one[0], other[0], rtol=1e-6)
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize("kind", ["uniform", "prioritized"])
def test_a_wrapped_memory_draws_as_before_and_relabels(kind: str) -> None:
    """Indices and weights are the memory's; states for the policy loss have goals of their own episodes too."""
    if kind == "uniform":
        memory = make_uniform(CAPACITY, 64)
    else:
        memory = make_prioritized(CAPACITY, 64, alpha=0.6, beta=0.4, policy_batch="uniform")
    replay = make_hindsight(memory, TASK, GAMMA, num_executors=3, k=1e9, include_own=False)
    streams, twin = Streams(3, np.random.default_rng(3)), {}
    state, grow = replay.init(example()), jax.jit(replay.add)
    for _ in range(12):
        chunk = streams.step()
        state = grow(state, to_transition(chunk), np.full(3, np.inf, np.float32))
        twin |= {row.number: row for row in chunk}
    batch = jax.jit(replay.sample)(state, jax.random.key(0))
    plain = jax.jit(memory.sample)(state, jax.random.split(jax.random.key(0), 3)[0])
    np.testing.assert_array_equal(batch.indices, plain.indices)
    np.testing.assert_array_equal(batch.weights, plain.weights)
    states = [batch.transitions.observation] + ([batch.policy_observation] if kind == "prioritized" else [])
    for observations in map(np.asarray, states):
        for number, _, goal, _ in observations.astype(int).tolist():
            choices = allowed(list(twin.values()), twin[number], "future", False) or {twin[number].goal}
            assert goal in choices
    share = float(jax.jit(replay.metrics)(state, batch)["relabelled"])
    changed = np.any(np.asarray(batch.transitions.observation) != np.asarray(plain.transitions.observation), axis=-1)
    assert share == pytest.approx(changed.mean())
    assert share > 0.5


@pytest.mark.parametrize("wrong", [{"strategy": "past"}, {"k": -1.0}, {"num_executors": 0}, {"gamma": 1.0}])
def test_arguments_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"make_hindsight: .*{next(iter(wrong))}="):
        make_hindsight(make_uniform(4, 2), TASK, **({"gamma": GAMMA} | wrong))


@pytest.mark.parametrize("name", ["Crash", "Cost", "Taxed", "Arriving", "Told", "Grid", "Square", "OfMine"])
def test_batches_of_other_peoples_environments(name: str) -> None:
    """Rows that keep their goal are as they were stored; others have the reward of a step with that goal."""
    executor = Executor(envs.make(f"{goal_envs.__name__}:{name}"), 0, GAMMA, 1)
    task, rng = executor.spec.goals, np.random.default_rng(0)
    executor.reset()
    actions = rng.uniform(-1, 1, (200, 2)).astype(np.float32)
    rows = np.array([executor.step(action, action).packed for action in actions])
    stored = Layout.of(executor.spec).unpack(rows)
    replay = make_hindsight(make_uniform(200, 500), task, GAMMA, strategy="random", k=1.0)
    state = replay.add(replay.init(example_transition(executor.spec)), stored, stored.reward)
    batch = jax.jit(replay.sample)(state, jax.random.key(0))
    drawn, before = (jax.tree.map(np.asarray, t) for t in (batch.transitions, stored))
    before = jax.tree.map(lambda leaf: leaf[np.asarray(batch.indices)], before)
    goal, own = drawn.observation[:, -task.dim :], before.observation[:, -task.dim :]
    kept = (goal == own).all(axis=-1)
    assert 0.3 < kept.mean() < 0.8
    for found, expected in zip(jax.tree.leaves(drawn), jax.tree.leaves(before), strict=True):
        np.testing.assert_array_equal(found[kept], expected[kept])
    achieved, nothing = before.outcome[:, : task.dim], np.zeros(len(goal))
    of_goal, of_own = (np.asarray(task.reward(achieved, each, nothing)) for each in (goal, own))
    np.testing.assert_allclose(drawn.reward[~kept], (before.reward + of_goal - of_own)[~kept], rtol=1e-5, atol=1e-5)
    ends = (before.outcome[:, -1] > 0) | np.asarray(task.terminated(achieved, goal))
    np.testing.assert_array_equal(drawn.discount[~kept], np.where(ends, np.float32(0), np.float32(GAMMA))[~kept])
