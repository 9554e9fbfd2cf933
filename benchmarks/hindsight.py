"""What drawing a batch in hindsight costs, 256 transitions: ours and Stable-Baselines3's HerReplayBuffer by turns.

Transitions are of FetchPush's size, episodes of 50 steps, goals of the future, 4 for each original; both memories are
full. Ours is timed as one call, and as it runs in training, within a scan. Pin it to one core that nobody else uses;
where that cannot be had, add --cpu-time:

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/hindsight.py

Stable-Baselines3 is not a dependency: `python -m pip install -e '.[peers]'`.
"""

import importlib.util
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import common
import gymnasium
import jax
import numpy as np
from gymnasium.spaces import Box, Dict
from timing import alternate, core_share, ratio

from lsp.envs import goals
from lsp.replay import make_hindsight, make_uniform
from lsp.types import GoalTask, Transition

OBSERVATION, ACTION, GOAL, EPISODE = 25, 4, 3, 50
BATCH, SCAN, RADIUS = 256, 16, 0.05
KEYS = {"observation": OBSERVATION, "achieved_goal": GOAL, "desired_goal": GOAL}


class Sized(gymnasium.Env[Any, Any]):
    """Spaces and reward of FetchPush, which is all that the buffer asks for."""

    observation_space = Dict({name: Box(-np.inf, np.inf, (size,), np.float32) for name, size in KEYS.items()})
    action_space = Box(-1.0, 1.0, (ACTION,), np.float32)

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any) -> np.ndarray:
        """As FetchPush has it."""
        return -(np.linalg.norm(achieved_goal - desired_goal, axis=-1) > RADIUS).astype(np.float32)


def make_ours(capacity: int, rng: np.random.Generator) -> dict[str, Callable[[], object]]:
    """Calls that draw a batch alone, and `SCAN` of them in a scan."""
    task = GoalTask(GOAL, partial(goals.cost, radius=RADIUS), goals.never, max_episode_steps=EPISODE)
    replay = make_hindsight(make_uniform(capacity, BATCH), task, 0.95)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal((capacity, *shape), np.float32)

    outcome = np.concatenate([normal(GOAL), np.zeros((capacity, 2), np.float32)], axis=-1)
    outcome[:, GOAL] = np.arange(capacity) % EPISODE
    size = OBSERVATION + GOAL
    chunk = Transition(normal(size), normal(ACTION), normal(), normal(), normal(size), outcome)
    example = jax.tree.map(lambda leaf: leaf[0], chunk)
    state = jax.jit(lambda chunk: replay.add(replay.init(example), chunk, chunk.reward))(chunk)

    def total(state: Any, key: Any) -> Any:
        """Something of every number drawn, so that none is left out."""
        return sum(leaf.sum() for leaf in jax.tree.leaves(replay.sample(state, key).transitions))

    one = jax.jit(replay.sample)
    many = jax.jit(lambda state, key: jax.lax.map(partial(total, state), jax.random.split(key, SCAN)))
    key = jax.random.key(0)
    return {
        "lsp, one call": lambda: jax.block_until_ready(one(state, key)),
        "lsp, in a scan": lambda: jax.block_until_ready(many(state, key)),
    }


def make_theirs(capacity: int, rng: np.random.Generator) -> Callable[[], object]:
    """A call that draws a batch from a HerReplayBuffer."""
    from stable_baselines3.common.vec_env import DummyVecEnv
    from stable_baselines3.her import HerReplayBuffer

    env = DummyVecEnv([Sized])
    buffer = HerReplayBuffer(capacity, env.observation_space, env.action_space, env, device="cpu", n_sampled_goal=4)
    for step in range(capacity):
        before, after = ({name: rng.standard_normal((1, size)) for name, size in KEYS.items()} for _ in range(2))
        ended = np.array([step % EPISODE == EPISODE - 1])
        buffer.add(before, after, np.zeros((1, ACTION)), np.zeros(1), ended, [{"TimeLimit.truncated": bool(ended[0])}])
    return lambda: buffer.sample(BATCH)


def main() -> None:
    """Print times and their ratio."""
    parser = common.parser(__doc__)
    parser.add_argument("--capacity", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=30, help="calls of a variant in a turn")
    parser.add_argument("--cpu-time", action="store_true")
    options = parser.parse_args()
    common.announce(__doc__)
    rng = np.random.default_rng(0)
    variants = make_ours(options.capacity, rng)
    if importlib.util.find_spec("stable_baselines3"):
        variants["SB3"] = make_theirs(options.capacity, rng)
    else:
        print("Stable-Baselines3 is not installed, so there is no comparison: python -m pip install -e '.[peers]'")
    clock = time.process_time if options.cpu_time else time.perf_counter
    print(f"share of the core: {core_share(lambda: variants['lsp, in a scan']()):.2f}")
    seconds = alternate(variants, options.rounds, options.calls, clock)
    seconds["lsp, in a scan"] = [time / SCAN for time in seconds["lsp, in a scan"]]
    for name, times in seconds.items():
        line = f"{name:15s} {statistics.median(times) * 1e6:8.1f} us for {BATCH} transitions"
        if "SB3" in seconds:
            line += ", {:.2f} of SB3's time ({:.2f} to {:.2f})".format(*ratio(seconds, name, "SB3"))
        print(line)


if __name__ == "__main__":
    main()
