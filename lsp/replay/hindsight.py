"""Hindsight: transitions are stored once, and relabelled with other goals whenever they are drawn.

Source: Andrychowicz et al. (2017), "Hindsight Experience Replay", arXiv 1707.01495: strategies future, final, episode
and random, k relabelled transitions for each that keeps its goal. Differs: nothing is stored k times; a drawn
transition takes another goal with probability k / (k + 1). One that keeps its goal keeps its reward and discount, bit
for bit. Of one that takes the goal g' in place of g, both are computed again:

    reward' = r(achieved, g') + b,    b = reward - r(achieved, g)
    discount' = 0 if the episode failed there, or g' ends it, else gamma

with r the task's reward of goals and b what else the step was rewarded for, such as the cost of its action
(`GoalTask.beside`; 0 where there is none). Episodes in progress take part, with the transitions they have so far.

Which transitions are of one episode follows from what they hold. Those of E executors come in turns, so that those of
one executor lie E slots apart. A transition at position p of that stream, of step t in its episode, belongs to an
episode that began at p - t, which never falls along the stream: the episode's last transition is found by bisection,
whatever was overwritten, and however an episode ended. The transition that is chosen must prove by its step that it is
of the episode, for growing a layer may put copies in the place of those that are lost (`lsp.replay.reencode`).
"""

from typing import Any, NamedTuple, get_args, get_type_hints

import jax
import jax.numpy as jnp

from lsp import packing, xla
from lsp.config import GoalsConfig
from lsp.replay import ring as rings
from lsp.replay.ring import Ring
from lsp.types import Array, GoalTask, Key, Replay, ReplayState, Transition


class Relabelling(NamedTuple):
    """How goals are chosen, and what follows from them."""

    task: GoalTask  # its reward and termination
    gamma: float  # discount of a step that does not terminate
    num_executors: int = 1  # E; chunks added must be multiples of E, one transition of each executor in turns
    goals: GoalsConfig = GoalsConfig("hindsight")  # `strategy`, `k` and `include_own`


def make_hindsight(memory: Replay, task: GoalTask, gamma: float, *, num_executors: int = 1, **goals: Any) -> Replay:
    """`memory`, whose drawn transitions are relabelled with goals that were achieved, k of them for each original one.

    `memory` keeps its way of drawing. Where that is by priority, a priority belongs to the transition, and is that of
    the goal it was last drawn with; states that `memory` draws for the policy loss take goals in the same way.

    Args:
      memory: uniform or prioritized replay, of 1-step transitions with an outcome.
      task: how goals are rewarded and when they terminate.
      gamma: discount of a step that does not terminate.
      num_executors: E; chunks added must be multiples of E, one transition of each executor in turns.
      goals: fields of `lsp.config.GoalsConfig`: `strategy`: goals are achieved later in the episode ("future"), at its
        end ("final"), at any time of it ("episode"), or by any transition there is ("random"); `k`: relabelled
        transitions for each that keeps its goal, 0 relabels none; `include_own`: whether a transition may take the goal
        that it achieves itself.

    Raises:
      ValueError: an argument out of its range.
      TypeError: an unknown one.
    """
    return wrap(memory, Relabelling(task, gamma, num_executors, GoalsConfig("hindsight", **goals)))


def wrap(memory: Replay, relabelling: Relabelling) -> Replay:
    """`make_hindsight` of arguments in one record. Raises ValueError."""
    strategies = get_args(get_type_hints(GoalsConfig)["strategy"])
    strategy, k = relabelling.goals.strategy, relabelling.goals.k
    gamma, num_executors = relabelling.gamma, relabelling.num_executors
    if strategy not in strategies:
        raise ValueError(f"make_hindsight: {strategy=} must be one of {', '.join(strategies)}")
    if not (k >= 0 and num_executors >= 1 and 0 <= gamma < 1):
        raise ValueError(f"make_hindsight: {k=}, {num_executors=}, {gamma=} must be >= 0, >= 1 and in [0, 1)")

    def sample(state: ReplayState, key: Key) -> Any:
        draw_key, relabel_key, policy_key = jax.random.split(key, 3)
        batch = memory.sample(state, draw_key)
        ring = _ring(state)
        batch = batch._replace(transitions=relabel(ring, batch.indices, relabel_key, relabelling))
        if batch.policy_observation is None:
            return batch
        slots_key, policy_key = jax.random.split(policy_key)
        slots = rings.below(xla.random_bits(slots_key, batch.indices.shape), memory.size(state))
        t, goal, _ = _draw_goals(ring, slots, policy_key, relabelling)
        return batch._replace(policy_observation=packing.with_goal(t.observation, goal))

    def metrics(state: ReplayState, batch: Any) -> dict[str, Array]:
        t, stored = batch.transitions, rings.gather(_ring(state), batch.indices)
        changed = jnp.any(t.observation != stored.observation, axis=-1)
        return memory.metrics(state, batch) | {"relabelled": jnp.mean(changed.astype(jnp.float32))}

    return memory._replace(sample=sample, metrics=metrics)


def _ring(state: ReplayState) -> Ring:
    """The ring in the state of any of our memories."""
    return state if isinstance(state, Ring) else state.ring


def relabel(ring: Ring, slots: Array, key: Key, relabelling: Relabelling) -> Transition:
    """The transitions in `slots` i32[B], some with another goal, which have reward and discount of that goal.

    A failure (a fall, say) terminates whatever the goal. A transition that only its goal, or a time limit, ended
    continues under a goal that it does not meet, and bootstraps from its successor. Where the environment's own
    functions have no finite reward for another goal, a transition keeps its own.
    """
    t, goal, changed = _draw_goals(ring, slots, key, relabelling)
    assert t.outcome is not None
    task = relabelling.task
    achieved, _, failure = packing.split_outcome(t.outcome)
    reward, terminated = _evaluate(task, achieved, goal, t.reward)
    reward = reward if t.beside is None else reward + t.beside
    if task.on_host:
        changed &= jnp.isfinite(reward)
        goal = jnp.where(changed[:, None], goal, t.observation[:, -task.dim :])
    next_goal = jnp.where(changed[:, None], goal, t.next_observation[:, -task.dim :])
    discount = jnp.where((failure > 0) | terminated, 0.0, relabelling.gamma)
    return t._replace(
        observation=packing.with_goal(t.observation, goal),
        reward=reward if task.replaces else jnp.where(changed, reward, t.reward),
        discount=jnp.where(changed, discount, t.discount),
        next_observation=packing.with_goal(t.next_observation, next_goal),
    )


def _draw_goals(ring: Ring, slots: Array, key: Key, relabelling: Relabelling) -> tuple[Transition, Array, Array]:
    """The transitions in `slots` i32[B], a goal for each, f32[B, G], and whether that is another one, bool[B]."""
    share_bits, goal_bits = xla.random_bits(key, (2, *slots.shape))  # one draw serves both choices
    t = rings.gather(ring, slots)
    dim, k = relabelling.task.dim, relabelling.goals.k
    chosen, exists = _choose(ring, slots, goal_bits, relabelling)
    changed = exists & (share_bits.astype(jnp.float32) < 2.0**32 * k / (k + 1.0))
    theirs = _columns(ring, chosen, ring.layout.achieved_goal)
    return t, jnp.where(changed[:, None], theirs, t.observation[:, -dim:]), changed


def _evaluate(task: GoalTask, achieved: Array, goal: Array, env_reward: Array) -> tuple[Array, Array]:
    """Reward f32[B] and termination bool[B]."""

    def evaluate(achieved: Any, goal: Any, env_reward: Any) -> tuple[Any, Any]:
        reward = task.reward(achieved, goal, env_reward)
        return reward.astype(jnp.float32), task.terminated(achieved, goal)

    if not task.on_host:
        return evaluate(achieved, goal, env_reward)
    shapes = jax.ShapeDtypeStruct(env_reward.shape, jnp.float32), jax.ShapeDtypeStruct(env_reward.shape, bool)
    return jax.pure_callback(evaluate, shapes, achieved, goal, env_reward, vmap_method="broadcast_all")


def _choose(ring: Ring, slots: Array, random_bits: Array, relabelling: Relabelling) -> tuple[Array, Array]:
    """Slots i32[B] of the transitions whose achieved goals `slots` shall have, and whether there are such, bool[B].

    Where there are several, `random_bits` u32[B] say which.
    """
    strategy, include_own = relabelling.goals.strategy, relabelling.goals.include_own
    capacity = ring.rows.shape[0]
    age = (ring.position - 1 - slots) % capacity  # 0 is the newest transition
    step = _episode_step(ring, slots)
    if strategy == "random":
        stride, before, after = 1, ring.size - 1 - age, age
    else:
        stride = relabelling.num_executors
        after = steps_after(ring, slots, stride, relabelling.task.max_episode_steps)
        before = jnp.clip(step.astype(jnp.int32), 0, (ring.size - 1 - age) // stride)
    first = {"future": jnp.zeros_like(after), "final": after}.get(strategy, -before)
    # The own transition, at 0, is left out by drawing from one fewer and stepping over it.
    leave_out = jnp.asarray(not include_own) & (first <= 0)
    count = after - first + 1 - leave_out
    offset = first + rings.below(random_bits, count)
    offset += leave_out & (offset >= 0)
    chosen = jnp.where(count > 0, (slots + offset * stride) % capacity, slots)
    if strategy == "random":
        return chosen, count > 0
    return chosen, (count > 0) & (_episode_step(ring, chosen) == step + offset)


def steps_after(ring: Ring, slots: Array, num_executors: int, max_episode_steps: int | None = None) -> Array:
    """How many transitions of its own episode follow each of those in `slots` i32[B] in the ring, i32[B].

    An episode in progress ends, as far as this can know, with its newest transition. `max_episode_steps` bounds the
    search; None: the ring does.
    """
    capacity = ring.rows.shape[0]
    newest = (ring.position - 1 - slots) % capacity // num_executors  # transitions of the same executor since
    step = _episode_step(ring, slots)
    longest = min(max_episode_steps or capacity, -(-capacity // num_executors))
    found = jnp.zeros_like(slots)
    for bit in reversed(range((longest - 1).bit_length())):
        further = found + (1 << bit)
        there = (slots + jnp.minimum(further, newest) * num_executors) % capacity
        same = _episode_step(ring, there) == step + further
        found = jnp.where((further <= newest) & same, further, found)
    return found


def _episode_step(ring: Ring, slots: Array) -> Array:
    """Steps in their episodes of the transitions in `slots`, [B]."""
    step = ring.layout.episode_step
    return _columns(ring, slots, slice(step, step + 1))[:, 0]


def _columns(ring: Ring, slots: Array, columns: slice) -> Array:
    """Neighboring numbers of packed transitions, [B, size]. Of each row nothing else is read."""
    places = jnp.arange(columns.start, columns.stop)
    return ring.rows.at[slots[:, None], places[None]].get(mode="promise_in_bounds")
