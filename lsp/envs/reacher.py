"""A two-link arm in the plane that has to touch a point: a task with goals that steps in microseconds."""

from functools import partial
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

from lsp.envs import drawing, goals

TIMESTEP = 0.1  # seconds
LINK = 0.5  # meters, each of both
DAMPING = 2.0  # 1/s
TORQUE = 10.0  # rad/s^2 at action 1
RADIUS = 0.05  # meters
REACH = (0.2, 0.95)  # meters from the shoulder where goals are
OBSERVATION_DIM, GOAL_DIM = 8, 2
PIXELS, VIEW = 256, 1.1  # of a frame; meters from its middle to its edges
THICKNESS = 0.035  # meters, half of a link's
PAPER, FLOOR, LINKS, JOINTS = (250, 250, 248), (238, 239, 236), (58, 88, 128), (30, 48, 76)


def fingertip(angles: np.ndarray) -> np.ndarray:
    """Position of the hand in m, of joint angles in rad; [..., 2] -> [..., 2]."""
    shoulder, both = angles[..., 0], angles.sum(-1)
    return LINK * np.stack([np.cos(shoulder) + np.cos(both), np.sin(shoulder) + np.sin(both)], axis=-1)


class Reacher2DEnv(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """Bring the hand to a point. Registered as `lsp/Reacher2D-v0`, with a time limit of 50 steps of 0.1 s.

    Observation: sines and cosines of both joints' angles [4], their velocities in rad/s [2], the hand in m [2]; goal
    and achieved goal: a place of the hand in m [2]. Action [2] in [-1, 1]: accelerations of the joints, in 10 rad/s^2.
    It starts at rest in any pose, and with a goal uniform in the ring that the hand reaches, 0.2 to 0.95 m away.

    Reward: 0 within 0.05 m of the goal, else -1. It never terminates. `info`: `is_success`, `distance` in m.

    A frame u8[256, 256, 3] shows the arm, the ring where goals are, and the goal as large as it counts: red until the
    hand is there, then green.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": round(1 / TIMESTEP)}  # type: ignore[misc]  # Gymnasium: without ClassVar
    observation_space: Any = Dict(
        observation=Box(-np.inf, np.inf, (OBSERVATION_DIM,), np.float64),
        achieved_goal=Box(-np.inf, np.inf, (GOAL_DIM,), np.float64),
        desired_goal=Box(-np.inf, np.inf, (GOAL_DIM,), np.float64),
    )
    action_space = Box(-1.0, 1.0, (2,), np.float32)
    rules = goals.Rules(partial(goals.cost, radius=RADIUS), goals.never)

    def __init__(self, render_mode: str | None = None) -> None:
        """Leave the arm stretched out; `reset` poses it. Raises ValueError."""
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode={render_mode!r}: must be 'rgb_array'")
        self.render_mode = render_mode
        self.state, self.goal = np.zeros(4), np.zeros(GOAL_DIM)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Pose the arm and choose a goal."""
        super().reset(seed=seed)
        self.state = np.concatenate((self.np_random.uniform(-np.pi, np.pi, 2), np.zeros(2)))
        nearest, farthest = REACH
        radius = np.sqrt(self.np_random.uniform(nearest**2, farthest**2))  # uniform in area
        angle = self.np_random.uniform(-np.pi, np.pi)
        self.goal = radius * np.array([np.cos(angle), np.sin(angle)])
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Accelerate the joints by `action` f[2] for 0.1 s (semi-implicit Euler)."""
        angles, velocities = self.state[:2], self.state[2:]
        velocities = velocities + TIMESTEP * (TORQUE * np.clip(action, -1.0, 1.0) - DAMPING * velocities)
        self.state = np.concatenate((angles + TIMESTEP * velocities, velocities))
        observation = self._observe()
        achieved = observation["achieved_goal"]
        reward = self.compute_reward(achieved, self.goal, {})
        away = float(goals.distance(achieved, self.goal))
        return observation, float(reward), False, False, {"is_success": away <= RADIUS, "distance": away}

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any) -> Any:
        """0 within 0.05 m, else -1; goals [..., 2] -> [...]."""
        del info
        return self.rules.reward(achieved_goal, desired_goal, 0.0)

    def render(self) -> Any:
        """A frame u8[256, 256, 3]; None without a `render_mode`."""
        if self.render_mode is None:
            return None
        positions, pixel = drawing.plane(PIXELS, VIEW), 2 * VIEW / PIXELS
        picture = np.full((PIXELS, PIXELS, 3), PAPER, np.float64)
        shoulder, angle = np.zeros(2), self.state[0]
        elbow, hand = LINK * np.array([np.cos(angle), np.sin(angle)]), fingertip(self.state[:2])
        met = goals.distance(hand, self.goal) <= RADIUS
        shapes = [
            (drawing.disc(positions, shoulder, REACH[1]), FLOOR),
            (drawing.disc(positions, shoulder, REACH[0]), PAPER),
            (drawing.rod(positions, shoulder, elbow, THICKNESS), LINKS),
            (drawing.rod(positions, elbow, hand, THICKNESS), LINKS),
            (drawing.disc(positions, self.goal, RADIUS), drawing.MET if met else drawing.GOAL),
            *((drawing.disc(positions, joint, 0.6 * THICKNESS), JOINTS) for joint in (shoulder, elbow)),
            (drawing.disc(positions, hand, 0.4 * THICKNESS), PAPER),
        ]
        for outside, color in shapes:
            drawing.paint(picture, outside, color, pixel)
        return np.round(picture).astype(np.uint8)

    def _observe(self) -> dict[str, np.ndarray]:
        angles, velocities = self.state[:2], self.state[2:]
        hand = fingertip(angles)
        return {
            "observation": np.concatenate((np.cos(angles), np.sin(angles), velocities, hand)),
            "achieved_goal": hand,
            "desired_goal": self.goal.copy(),
        }
