"""Hindsight: rows are stored once, and judged by other goals whenever they are drawn.

Source: Andrychowicz et al. (2017), "Hindsight Experience Replay", arXiv 1707.01495: strategies future, final, episode
and random, k relabelled rows for each that keeps its goal. Differs: nothing is stored k times; a drawn row takes
another goal with probability k / (k + 1). Termination is judged anew with the reward. Episodes in progress take part,
with the rows they have so far.

Which rows are of one episode follows from what they hold. The rows of E executors come in turns, so that those of one
executor lie E slots apart. A row at position p of that stream, of step t in its episode, belongs to an episode that
began at p - t, which never falls along the stream: the episode's last row is found by bisection, whatever was
overwritten, and however an episode ended. The row that is chosen must prove by its step that it is of the episode, for
growing a layer may put copies in the place of rows that are lost (`lsp.replay.reencode`).
"""

from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from lsp import packing
from lsp.replay import ring as rings
from lsp.replay.random_bits import bits
from lsp.replay.ring import Ring
from lsp.types import Array, GoalTask, Key, Replay, ReplayState, Transition

Strategy = Literal["future", "final", "episode", "random"]


class Options(NamedTuple):
    """How goals are chosen; see `make_hindsight`."""

    task: GoalTask
    gamma: float
    num_executors: int = 1
    strategy: Strategy = "future"
    k: float = 4.0
    include_own: bool = True


def make_hindsight(
    memory: Replay,
    task: GoalTask,
    gamma: float,
    *,
    num_executors: int = 1,
    strategy: Strategy = "future",
    k: float = 4.0,
    include_own: bool = True,
) -> Replay:
    """`memory`, whose drawn rows are judged by goals that were achieved, k of them for each original one.

    `memory` keeps its way of drawing rows. Where that is by priority, a priority belongs to the row, and is that of the
    goal it was last drawn with; states that `memory` draws for the policy loss take goals in the same way.

    Args:
      memory: uniform or prioritized replay, of 1-step rows with an outcome.
      task: judges goals.
      gamma: discount of a step that does not terminate.
      num_executors: E; chunks added must be multiples of E, one row of each executor in turns.
      strategy: goals are achieved later in the episode ("future"), at its end ("final"), at any time of it ("episode"),
        or by any row there is ("random").
      k: relabelled rows for each that keeps its goal; 0 relabels none.
      include_own: whether a row may take the goal that it achieves itself.

    Raises:
      ValueError: an argument out of its range.
    """
    if strategy not in get_args(Strategy):
        raise ValueError(f"make_hindsight: {strategy=} must be one of {', '.join(get_args(Strategy))}")
    if not (k >= 0 and num_executors >= 1 and 0 <= gamma < 1):
        raise ValueError(f"make_hindsight: {k=}, {num_executors=}, {gamma=} must be >= 0, >= 1 and in [0, 1)")
    options = Options(task, gamma, num_executors, strategy, k, include_own)

    def sample(state: ReplayState, key: Key) -> Any:
        draw_key, relabel_key, policy_key = jax.random.split(key, 3)
        batch = memory.sample(state, draw_key)
        batch = batch._replace(transitions=relabel(_ring(state), batch.indices, relabel_key, options))
        if batch.policy_observation is None:
            return batch
        slots_key, policy_key = jax.random.split(policy_key)
        slots = rings.below(bits(slots_key, batch.indices.shape), memory.size(state))
        return batch._replace(policy_observation=relabel(_ring(state), slots, policy_key, options).observation)

    def metrics(state: ReplayState, batch: Any) -> dict[str, Array]:
        t, stored = batch.transitions, rings.gather(_ring(state), batch.indices)
        changed = jnp.any(t.observation != stored.observation, axis=-1)
        return memory.metrics(state, batch) | {"relabelled": jnp.mean(changed.astype(jnp.float32))}

    return memory._replace(sample=sample, metrics=metrics)


def _ring(state: ReplayState) -> Ring:
    """The ring in the state of any of our memories."""
    return state if isinstance(state, Ring) else state.ring


def relabel(ring: Ring, slots: Array, key: Key, options: Options) -> Transition:
    """The rows in `slots` i32[B], some with another goal; reward and discount of all are judged by the goal they have.

    The failure of a row (a fall, say) terminates whatever the goal. A row that only its goal, or a time limit, ended
    goes on under a goal that it does not meet, and bootstraps from its successor.
    """
    # Whole words: one draw serves both choices.
    share_word, goal_word = bits(key, (2, *slots.shape))
    t = rings.gather(ring, slots)
    assert t.outcome is not None
    task = options.task
    chosen, exists = _choose(ring, slots, goal_word, options)
    changed = exists & (share_word.astype(jnp.float32) < 2.0**32 * options.k / (options.k + 1.0))
    goal = jnp.where(changed[:, None], _columns(ring, chosen, 0, task.dim), t.observation[:, -task.dim :])
    next_goal = jnp.where(changed[:, None], goal, t.next_observation[:, -task.dim :])
    achieved, failed = t.outcome[:, : task.dim], t.outcome[:, -1] > 0
    reward, terminated = _judge(task, achieved, goal, t.reward)
    return t._replace(
        observation=packing.with_goal(t.observation, goal),
        reward=reward,
        discount=jnp.where(failed | terminated, 0.0, options.gamma),
        next_observation=packing.with_goal(t.next_observation, next_goal),
    )


def _judge(task: GoalTask, achieved: Array, goal: Array, env_reward: Array) -> tuple[Array, Array]:
    """Reward f32[B] and termination bool[B]."""

    def judge(achieved: Any, goal: Any, env_reward: Any) -> tuple[Any, Any]:
        reward = task.reward(achieved, goal, env_reward)
        return reward.astype(jnp.float32), task.terminated(achieved, goal)

    if not task.on_host:
        return judge(achieved, goal, env_reward)
    shapes = jax.ShapeDtypeStruct(env_reward.shape, jnp.float32), jax.ShapeDtypeStruct(env_reward.shape, bool)
    return jax.pure_callback(judge, shapes, achieved, goal, env_reward, vmap_method="broadcast_all")


def _choose(ring: Ring, slots: Array, word: Array, options: Options) -> tuple[Array, Array]:
    """Slots i32[B] of the rows whose achieved goals `slots` shall have, and whether there are such, bool[B].

    Where there are several, the random `word` u32[B] says which.
    """
    capacity = ring.rows.shape[0]
    age = (ring.position - 1 - slots) % capacity  # 0 is the newest row
    step = _columns(ring, slots, options.task.dim, 1)[:, 0]
    if options.strategy == "random":
        stride, before, after = 1, ring.size - 1 - age, age
    else:
        stride = options.num_executors
        after = steps_after(ring, slots, stride, options.task.max_episode_steps)
        before = jnp.clip(step.astype(jnp.int32), 0, (ring.size - 1 - age) // stride)
    first = {"future": jnp.zeros_like(after), "final": after}.get(options.strategy, -before)
    # The own row, at 0, is left out by drawing from one fewer and stepping over it.
    leave_out = jnp.asarray(not options.include_own) & (first <= 0)
    count = after - first + 1 - leave_out
    offset = first + rings.below(word, count)
    offset += leave_out & (offset >= 0)
    chosen = jnp.where(count > 0, (slots + offset * stride) % capacity, slots)
    if options.strategy == "random":
        return chosen, count > 0
    return chosen, (count > 0) & (_columns(ring, chosen, options.task.dim, 1)[:, 0] == step + offset)


def steps_after(ring: Ring, slots: Array, num_executors: int, max_episode_steps: int | None = None) -> Array:
    """How many rows of its own episode follow each row in `slots` i32[B] in the ring, i32[B].

    An episode in progress ends, as far as this can know, with its newest row. `max_episode_steps` bounds the search;
    None: the ring does.
    """
    capacity = ring.rows.shape[0]
    newest = (ring.position - 1 - slots) % capacity // num_executors  # rows of the same executor since
    step_column = ring.outcome_dim - 2
    step = _columns(ring, slots, step_column, 1)[:, 0]
    longest = min(max_episode_steps or capacity, -(-capacity // num_executors))
    found = jnp.zeros_like(slots)
    for bit in reversed(range((longest - 1).bit_length())):
        further = found + (1 << bit)
        there = (slots + jnp.minimum(further, newest) * num_executors) % capacity
        same = _columns(ring, there, step_column, 1)[:, 0] == step + further
        found = jnp.where((further <= newest) & same, further, found)
    return found


def _columns(ring: Ring, slots: Array, start: int, size: int) -> Array:
    """Part of the outcome of rows, [B, size]. Of each row nothing else is read."""
    columns = ring.rows.shape[1] - ring.outcome_dim + start + jnp.arange(size)
    return ring.rows.at[slots[:, None], columns[None]].get(mode="promise_in_bounds")
