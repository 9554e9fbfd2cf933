"""The study's ant with goals: go to a place, hold a velocity; and the study's own six variants.

All fall and are observed as `lsp.envs.rllab_ant` says; observations are dictionaries, as goal environments have them.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from gymnasium.spaces import Box, Dict

from lsp.envs import drawing, goals
from lsp.envs.rllab_ant import NUM_POSITIONS, NUM_VELOCITIES, OBSERVATION_DIM, TORSO, RllabAntEnv

PLACE_RADIUS, PLACES = 0.5, (1.0, 5.0)  # meters; how far from the start goals are
VELOCITY_RADIUS, SPEEDS = 0.3, (0.0, 1.5)  # meters per second
OVERVIEW = {"lookat": np.array([0.0, 0.0, 0.0]), "distance": 14.0, "elevation": -55.0, "azimuth": 90.0}
"""A camera that sees all places where goals are, x to the right."""
ARROW_HEIGHT = 0.9  # meters above the ground


class AntGoalEnv(RllabAntEnv):
    """What the ants with goals share. A subclass says which goals there are, what of them is achieved, and `rules`."""

    rules: goals.Rules
    state_attributes = ("goal",)
    """What a saved state must hold beyond the simulation."""

    def __init__(self, goal_dim: int, radius: float, render_mode: str | None = None, **renderer: Any) -> None:
        """Goals of `goal_dim` numbers, met within `radius`."""
        super().__init__(render_mode, **renderer)
        self.goal, self.radius = np.zeros(goal_dim), radius
        anything = Box(-np.inf, np.inf, (goal_dim,), np.float64)
        observation = Box(-np.inf, np.inf, (OBSERVATION_DIM,), np.float64)
        self.observation_space: Any = Dict(observation=observation, achieved_goal=anything, desired_goal=anything)

    def achieved(self) -> np.ndarray:
        """The goal that the present state meets, f64[G]."""
        raise NotImplementedError

    def choose_goal(self) -> np.ndarray:
        """A goal for the episode that has just begun, f64[G]."""
        raise NotImplementedError

    def reset_model(self) -> Any:
        """Start as the ant does, and choose a goal."""
        observation = super().reset_model()
        self.goal = self.choose_goal()
        return self._with_goals(observation)

    def step(self, action: np.ndarray) -> Any:
        """Apply torques `action` f[8] for 0.02 s. `info` has `is_success`, `distance` to the goal, and the ant's."""
        observation, own_reward, terminated, truncated, info = super().step(action)
        achieved = self.achieved()
        away = float(goals.distance(achieved, self.goal))
        info |= {"is_success": away <= self.radius, "distance": away}
        reward = self.step_reward(achieved, own_reward)
        return self._with_goals(observation), reward, terminated, truncated, info

    def step_reward(self, achieved: np.ndarray, own_reward: float) -> float:
        """What `step` returns as reward; `own_reward` is what the ant without goals would."""
        return float(self.rules.reward(achieved, self.goal, own_reward))

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any) -> Any:
        """Reward of goals [..., G] -> [...]; `info` may hold the ant's own as `own_reward`."""
        own_reward = info.get("own_reward", 0.0) if isinstance(info, dict) else 0.0
        return self.rules.reward(achieved_goal, desired_goal, own_reward)

    def _met(self) -> bool:
        return float(goals.distance(self.achieved(), self.goal)) <= self.radius

    def _arrow(self, velocity: np.ndarray, seconds: float = 1.0) -> dict[str, Any]:
        """A marker above the ant that shows a velocity f[2] as goal: the way that it makes in so many seconds."""
        start = *self.data.qpos[:2], ARROW_HEIGHT
        return drawing.goal_arrow(start, seconds * velocity, self._met())

    def _with_goals(self, observation: np.ndarray) -> dict[str, np.ndarray]:
        return {"observation": observation, "achieved_goal": self.achieved(), "desired_goal": self.goal.copy()}

    def _in_ring(self, bounds: tuple[float, float]) -> np.ndarray:
        """A point of the plane, uniform in area between two distances from the origin."""
        nearest, farthest = bounds
        radius = np.sqrt(self.np_random.uniform(nearest**2, farthest**2))
        angle = self.np_random.uniform(-np.pi, np.pi)
        return radius * np.array([np.cos(angle), np.sin(angle)])


class RllabAntGoalEnv(AntGoalEnv):
    """Go to a place and stay. Registered as `lsp/RllabAntGoal-v0`, with a time limit of 500 steps of 0.02 s.

    A goal is a position of the torso in m [2], uniform in area 1 to 5 m from the origin, where the ant starts. Reward:
    1 within 0.5 m of the goal, else 0; so falling, which ends the episode, never pays.
    """

    rules = goals.Rules(partial(goals.bonus, radius=PLACE_RADIUS), goals.never)
    camera: ClassVar[dict[str, Any]] = OVERVIEW

    def __init__(self, render_mode: str | None = None, **renderer: Any) -> None:
        """`renderer` holds `MujocoEnv`'s options."""
        super().__init__(2, PLACE_RADIUS, render_mode, **renderer)

    def achieved(self) -> np.ndarray:
        """Where the torso is, in m."""
        return self.data.qpos[:2].copy()

    def choose_goal(self) -> np.ndarray:
        """A place around the start."""
        return self._in_ring(PLACES)

    def markers(self) -> Iterator[dict[str, Any]]:
        """The place."""
        yield drawing.goal_disc(self.goal, self.radius, self._met())


class RllabAntVelocityEnv(AntGoalEnv):
    """Hold a planar velocity. Registered as `lsp/RllabAntVelocity-v0`, with a time limit of 500 steps of 0.02 s.

    A goal is a velocity of the center of mass in m/s [2], uniform in area up to 1.5 m/s. Reward: 1 within 0.3 m/s of
    the goal, else 0; so falling, which ends the episode, never pays.
    """

    rules = goals.Rules(partial(goals.bonus, radius=VELOCITY_RADIUS), goals.never)

    def __init__(self, render_mode: str | None = None, **renderer: Any) -> None:
        """`renderer` holds `MujocoEnv`'s options."""
        super().__init__(2, VELOCITY_RADIUS, render_mode, **renderer)

    def achieved(self) -> np.ndarray:
        """How the center of mass moves, in m/s."""
        return self.data.subtree_linvel[TORSO, :2].copy()

    def choose_goal(self) -> np.ndarray:
        """A velocity in any direction."""
        return self._in_ring(SPEEDS)

    def markers(self) -> Iterator[dict[str, Any]]:
        """The velocity."""
        yield self._arrow(self.goal)


def augmented(achieved: Any, goal: Any, env_reward: Any, *, kind: str, radius: float) -> Any:
    """The rewards of the study, of its goal reward g: 0 within `radius` of the goal, else -1.

    "binary": g;    "sum": r + g (Eq. 3.3);    "proportional": r + 0.1 g r (Eq. 3.4), with the ant's own reward r.

    Differs from section 3.4: the text has g with the opposite sign, -1 where the goal is met; its code has this one.
    """
    g = goals.cost(achieved, goal, env_reward, radius=radius)
    return {"binary": g, "sum": env_reward + g, "proportional": env_reward + 0.1 * g * env_reward}[kind]


class RllabAntStudyEnv(AntGoalEnv):
    """The goals of the study on its ant. Registered as `lsp/RllabAntStudy-v0`, with a time limit of 1000 steps.

    `goal="velocity"`: all joint and root velocities [14], within 3; for an episode, those at its start plus uniform
    noise from -15 to 15, as its code has it. `goal="position"`: all joint and root positions [15], within 10; the study
    gives no range. Ours: those at the start, moved by 0 to 60 m along x and -10 to 10 m along y.

    `step` returns the ant's own reward, by which the study was evaluated. What an agent learns from is
    `compute_reward`, of which `reward` is the kind: "binary", "sum" or "proportional"; see `augmented`.
    """

    def __init__(
        self,
        goal: Literal["position", "velocity"] = "position",
        reward: Literal["binary", "sum", "proportional"] = "binary",
        render_mode: str | None = None,
        **renderer: Any,
    ) -> None:
        """Choose one of the six; `renderer` holds `MujocoEnv`'s options."""
        if goal not in ("position", "velocity"):
            raise ValueError(f"goal={goal!r}: must be 'position' or 'velocity'")
        if reward not in ("binary", "sum", "proportional"):
            raise ValueError(f"reward={reward!r}: must be 'binary', 'sum' or 'proportional'")
        self.kind = goal
        dim, radius = (NUM_POSITIONS, 10.0) if goal == "position" else (NUM_VELOCITIES, 3.0)
        self.rules = goals.Rules(partial(augmented, kind=reward, radius=radius), goals.never, replaces=True)
        super().__init__(dim, radius, render_mode, **renderer)

    def achieved(self) -> np.ndarray:
        """Present positions or velocities."""
        return (self.data.qpos if self.kind == "position" else self.data.qvel).copy()

    def choose_goal(self) -> np.ndarray:
        """Far from the present state, as in the study."""
        if self.kind == "velocity":
            return self.data.qvel + self.np_random.uniform(-15.0, 15.0, NUM_VELOCITIES)
        goal = self.data.qpos.copy()
        goal[:2] += self.np_random.uniform((0.0, -10.0), (60.0, 10.0))
        return goal

    def markers(self) -> Iterator[dict[str, Any]]:
        """Of the goal what can be drawn: the torso's place, or the velocity that it should have."""
        if self.kind == "position":
            yield drawing.goal_disc(self.goal[:2], self.radius, self._met())
        else:
            yield self._arrow(self.goal[:2], seconds=0.1)

    def step_reward(self, achieved: np.ndarray, own_reward: float) -> float:
        """The ant's own."""
        del achieved
        return own_reward
