"""Trying out an environment that evaluates goals itself: what hindsight assumes of it is looked at before training.

Hindsight rewards a transition for another goal than it was collected with. It has the goals of the transition and no
more: neither the `info` of its step nor the state that the environment was in.
"""

import time
from typing import Any, NoReturn

import gymnasium
import numpy as np

from lsp.config import ConfigError
from lsp.envs.goal_box import GoalBoxEnv
from lsp.envs.judge import ASIDE

STEPS, SECONDS = 200, 3.0
"""Random actions that are tried, and after how long no more are."""


def probe(env: gymnasium.Env[Any, Any]) -> list[str]:
    """What hindsight assumes of `env` and a person should know, each in one line; it takes random steps for this.

    Nothing of an environment without goals, and of one whose rules are known and whose rewards nothing changes.

    Raises:
      ConfigError: goals that cannot be evaluated for other transitions.
      EnvironmentFault: an environment that fails.
    """
    if not (isinstance(env, GoalBoxEnv) and env.has_beside):
        return []
    told, env.warn = env.warn, _refuse
    try:
        farthest = _walk(env)
    finally:
        env.warn = told
    lines = []
    if farthest is not None:
        beside, reward = farthest
        lines.append(
            f"a step's reward is not that of its goal alone (it was {reward:g} where compute_reward says "
            f"{reward - beside:g}); with another goal, a transition gets reward + compute_reward(achieved, new goal) - "
            "compute_reward(achieved, its own goal)"
        )
    if env.rules.on_host:
        lines += _of_host(env)
    return [f"environment {env.name}: {line}" for line in lines]


def _walk(env: GoalBoxEnv) -> tuple[float, float] | None:
    """Take random actions; of the step with the largest reward beside its goal's, that part and the whole."""
    assert env.action_space.shape is not None
    rng, began = np.random.default_rng(0), time.monotonic()
    farthest: tuple[float, float] | None = None
    env.reset(seed=0)
    for _ in range(STEPS):
        _, reward, terminated, truncated, info = env.step(rng.uniform(-1.0, 1.0, env.action_space.shape))
        if env.rules.on_host:
            env.watch()
            if env.beside:
                _check_info(env, info)
        if env.beside and abs(env.beside) > abs(farthest[0] if farthest else 0.0):
            farthest = env.beside, reward
        if terminated or truncated:
            env.reset()
        if time.monotonic() - began > SECONDS:
            break
    env.reset()
    return farthest


def _check_info(env: GoalBoxEnv, info: dict[str, Any]) -> None:
    """What `info` adds to a step's reward must be the same under other goals, for it is not known of them."""
    achieved, goal = env.last_goals
    try:
        added = [
            env.judge.of_step(achieved, other, info) - env.judge.of_step(achieved, other, {})
            for other in (goal, achieved, (goal + achieved) / 2)
        ]
    except Exception:  # the step's own reward came out; what else it does with info does not concern hindsight
        return
    if not np.allclose(added, added[0], rtol=1e-5, atol=1e-6, equal_nan=True):
        raise ConfigError(
            f"environment {env.name!r}: its compute_reward uses info, which adds {min(added):g} to the reward of one "
            f"goal and {max(added):g} to that of another; {ASIDE}"
        )


def _of_host(env: GoalBoxEnv) -> list[str]:
    lines = []
    if not env.judge.ends_goals:
        lines.append(
            "it has no compute_terminated, so that an episode that terminates has failed whatever its goal, unless its "
            "last step says is_success; goals that are met in hindsight do not terminate"
        )
    if env.judge.one_by_one:
        lines.append(f"its compute_reward takes {1e3 * env.judge.seconds():.0f} ms for 1,000 goals, one by one")
    return lines


def _refuse(line: str) -> NoReturn:
    raise ConfigError(f"{line}; {ASIDE}")
