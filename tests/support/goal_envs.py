"""Goal environments as other people write them: a point in the plane, and what their `compute_reward` may look like."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

RADIUS, LIMIT = 0.3, 20


def unbounded(size: int) -> Box:
    return Box(-np.inf, np.inf, (size,), np.float64)


class Point(gymnasium.Env[Any, Any]):
    """Honest: a step's reward is `compute_reward` of its goals, 0 within the radius and else -1; nothing terminates."""

    observation_space: Any = Dict(observation=unbounded(3), achieved_goal=unbounded(2), desired_goal=unbounded(2))
    action_space = Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, **given: Any) -> None:
        """`given` are attributes: a test's way of asking for something."""
        self.t, self.episode = 0, 0
        for name, value in given.items():
            setattr(self, name, value)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.t, self.episode = 0, self.episode + 1
        self.x, self.goal = self.np_random.uniform(-1, 1, (2, 2))
        return self.observe(), {}

    def observe(self) -> Any:
        return {"observation": np.append(self.x, 0.0), "achieved_goal": self.x.copy(), "desired_goal": self.goal.copy()}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        self.x = np.clip(self.x + 0.2 * action, -1.5, 1.5)
        info = self.info(action)
        reward = float(np.asarray(self.compute_reward(self.x, self.goal, info)).item())
        return self.observe(), reward, False, self.t >= LIMIT, info | {"is_success": reward == 0.0}

    def info(self, action: np.ndarray) -> dict[str, Any]:
        return {}

    def compute_reward(self, achieved: Any, desired: Any, info: Any) -> Any:
        return -(np.linalg.norm(achieved - desired, axis=-1) > RADIUS).astype(np.float32)


class Crash(Point):
    """As parking tasks: a penalty, and an end, beside the goal's reward."""

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        seen, reward, _, truncated, info = super().step(action)
        crashed = bool(abs(self.x).max() > 1.2)
        return seen, reward - 5.0 * crashed, crashed, truncated, info


class Cost(Point):
    """The cost of its action is in `info`."""

    def info(self, action: np.ndarray) -> dict[str, Any]:
        return {"cost": float(np.sum(action**2))}

    def compute_reward(self, achieved: Any, desired: Any, info: Any) -> Any:
        many = isinstance(info, list | tuple | np.ndarray)
        cost = np.array([each.get("cost", 0.0) for each in info]) if many else info.get("cost", 0.0)
        return super().compute_reward(achieved, desired, info) - cost


class Weighted(Cost):
    """What `info` says multiplies the goal's reward."""

    def compute_reward(self, achieved: Any, desired: Any, info: Any) -> Any:
        many = isinstance(info, list | tuple | np.ndarray)
        cost = np.array([each.get("cost", 0.0) for each in info]) if many else info.get("cost", 0.0)
        return Point.compute_reward(self, achieved, desired, info) * (1.0 + cost)


class Plane(Point):
    """Reads the two axes of one goal."""

    def compute_reward(self, achieved: Any, desired: Any, info: Any) -> Any:
        return -1.0 * (np.hypot(achieved[0] - desired[0], achieved[1] - desired[1]) > RADIUS)


class Shrinking(Point):
    """Its radius shrinks from one episode to the next, or within one: `every` says after how many steps."""

    every = LIMIT

    def compute_reward(self, achieved: Any, desired: Any, info: Any) -> Any:
        age = (self.episode * LIMIT + self.t) // self.every
        return -(np.linalg.norm(achieved - desired, axis=-1) > RADIUS / (1 + 0.1 * age)).astype(np.float32)


class Late(Shrinking):
    """Its radius is another one after a few episodes only."""

    after = 30

    def compute_reward(self, achieved: Any, desired: Any, info: Any) -> Any:
        radius = RADIUS if self.episode < self.after else 2 * RADIUS
        return -(np.linalg.norm(achieved - desired, axis=-1) > radius).astype(np.float32)


class Noisy(Point):
    """Rewards by chance."""

    def compute_reward(self, achieved: Any, desired: Any, info: Any) -> Any:
        return np.random.default_rng().normal(size=np.shape(achieved)[:-1])


class Closing(Point):
    """Evaluates goals with a simulator, which closing throws away."""

    simulator: Any = np

    def close(self) -> None:
        self.simulator = None

    def compute_reward(self, achieved: Any, desired: Any, info: Any) -> Any:
        return -(self.simulator.linalg.norm(achieved - desired, axis=-1) > RADIUS).astype(np.float32)


class Arriving(Point):
    """Terminates where its goal is met, and where it leaves the field, which is a failure."""

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        seen, reward, _, truncated, info = super().step(action)
        return seen, reward, bool(reward == 0.0 or abs(self.x).max() > 1.2), truncated, info


class Told(Arriving):
    """And says so."""

    def compute_terminated(self, achieved: Any, desired: Any, info: Any) -> bool:
        return bool(np.linalg.norm(achieved - desired) <= RADIUS)


class Grid(Point):
    """Goals are cells of a table."""

    cells = Box(0, 6, (2,), np.int64)
    observation_space = Dict(observation=unbounded(3), achieved_goal=cells, desired_goal=cells)
    table: ClassVar[np.ndarray] = np.arange(49.0).reshape(7, 7)

    def observe(self) -> Any:
        here, there = (np.clip(np.rint(2 * each + 3), 0, 6).astype(np.int64) for each in (self.x, self.goal))
        return {"observation": np.append(self.x, 0.0), "achieved_goal": here, "desired_goal": there}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        self.x = np.clip(self.x + 0.2 * action, -1.5, 1.5)
        seen = self.observe()
        reward = float(self.compute_reward(seen["achieved_goal"], seen["desired_goal"], {}))
        return seen, reward, False, self.t >= LIMIT, {}

    def compute_reward(self, achieved: Any, desired: Any, info: Any) -> Any:
        return self.table[achieved[..., 0], achieved[..., 1]] - self.table[desired[..., 0], desired[..., 1]]


class Square(Point):
    """Goals are matrices [2, 1] of float32."""

    matrix = Box(-2.0, 2.0, (2, 1), np.float32)
    observation_space = Dict(observation=unbounded(3), achieved_goal=matrix, desired_goal=matrix)

    def observe(self) -> Any:
        return {
            "observation": np.append(self.x, 0.0),
            "achieved_goal": self.x[:, None],
            "desired_goal": self.goal[:, None],
        }

    def compute_reward(self, achieved: Any, desired: Any, info: Any) -> Any:
        away = np.reshape(achieved, (-1, 2)) - np.reshape(desired, (-1, 2))
        return [[-float(distance > RADIUS)] for distance in np.linalg.norm(away, axis=-1)]


class OfMine(Point):
    """Its names are those of our wrapper, and mean something else."""

    rules, outcome, goal_dim, name, beside, warn, judge = "no diving", {}, "two", 7, "the sea", None, "Dredd"
    episode_steps, has_beside, relabels, reward_type, distance_threshold = "many", "yes", 0, "dense", "close"
    state_attributes, achieved, radius, spec_of = 3, None, "wide", 5


class MazeEnv(OfMine):
    """Of the name of another package's."""


class Taxed(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A wrapper with a cost of time around one of our tasks, whose rules are known."""

    def __init__(self) -> None:
        super().__init__(gymnasium.make("lsp/Reacher2D-v0"))

    def step(self, action: np.ndarray) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        seen, reward, terminated, truncated, info = super().step(action)
        return seen, float(reward) - 0.25, terminated, truncated, info
