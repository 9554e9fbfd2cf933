"""The goal tasks of gymnasium-robotics (an extra): their rewards as array functions.

Hindsight thereby stays on the device. Each equals the environment's own `compute_reward`; a test compares them.
"""

from functools import partial
from importlib import metadata
from typing import Any

from lsp.config import ConfigError, packaging
from lsp.envs import goals
from lsp.envs.goals import Rules, distance

PACKAGE = "gymnasium_robotics."
MAZE_RADIUS = 0.45  # meters; a number in the mazes' code
TOO_NEW = (3, 12)
"""The first MuJoCo with which the Fetch tasks fail: it compares enumerations in another way than they expect."""


def rules_of(base: Any) -> Rules | None:
    """The rules of the Fetch tasks and of mazes; None of any other."""
    if not type(base).__module__.startswith(PACKAGE):  # a class of that name, or a subclass that may reward otherwise
        return None
    kinds = {cls.__name__ for cls in type(base).__mro__ if cls.__module__.startswith(PACKAGE)}
    if "MujocoFetchEnv" in kinds:
        if base.reward_type == "sparse":
            return Rules(partial(goals.cost, radius=float(base.distance_threshold)), goals.never)
        return Rules(_negative_distance, goals.never)
    if "MazeEnv" in kinds:
        ends = goals.never if base.continuing_task else _in_maze_radius
        reward = partial(goals.bonus, radius=MAZE_RADIUS) if base.reward_type == "sparse" else _exponential
        return Rules(reward, ends)
    return None


def _negative_distance(achieved: Any, goal: Any, env_reward: Any) -> Any:
    del env_reward
    return -distance(achieved, goal)


def _exponential(achieved: Any, goal: Any, env_reward: Any) -> Any:
    del env_reward
    return 2.718281828459045 ** -distance(achieved, goal)


def _in_maze_radius(achieved: Any, goal: Any) -> Any:
    return distance(achieved, goal) <= MAZE_RADIUS


def check_mujoco(name: str) -> None:
    """Raise ConfigError if MuJoCo is one that breaks these environments; `name` is that of the wanted one."""
    version = metadata.version("mujoco")
    if tuple(int(part) for part in version.split(".")[:2]) >= TOO_NEW:
        remedy = f"{packaging.PIP} install 'mujoco<3.12'"
        raise ConfigError(f"environment {name!r} fails with mujoco {version}, which is too new for it: {remedy}")
