"""Two tasks of SAC-LSP for the body of `lsp/RllabAnt-v0`: a skill to learn first, and a maze to use it in.

After Haarnoja et al. (2018), arXiv 1804.02808: a lower layer learns to move fast in any direction, and a layer above it
to reach goals from a reward that is nonzero only there. The lower layer sees the same observation in both; the maze
appends its goal. Goals, radius and width of corridors are those of the released code; the walls are ours.
"""

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import mujoco
import numpy as np

from lsp.envs import drawing
from lsp.envs.rllab_ant import OBSERVATION_DIM, TORSO, RllabAntEnv

GOALS = ((6.0, -6.0), (6.0, 6.0), (12.0, 0.0))  # meters
GOAL_RADIUS = 2.0
GOAL_REWARD = 1000.0
# Corners of the free ground, counterclockwise: a cross of corridors 4 m wide. The ant starts at the origin.
OUTLINE = (
    (-2, -2), (4, -2), (4, -8), (8, -8), (8, -2), (14, -2), (14, 2), (8, 2), (8, 8), (4, 8), (4, 2), (-2, 2),
)  # fmt: skip
WALL_HEIGHT, WALL_THICKNESS = 1.0, 0.5
WALL_COLOR = (0.23, 0.32, 0.45, 1)
OVERVIEW = {"lookat": np.array([6.0, 0.0, 0.0]), "distance": 22.5, "elevation": -90.0, "azimuth": 90.0}
"""A camera above the middle of the maze that sees all of it, x to the right."""


class MultiDirectionAntEnv(RllabAntEnv):
    """The ant that should run, no matter where to. Registered as `lsp/MultiDirectionAnt-v0`.

    As `lsp/RllabAnt-v0`, but in place of the velocity along x its reward has the horizontal speed |v_xy| of the center
    of mass.
    """

    def _speed(self) -> float:
        return float(np.hypot(*self.data.subtree_linvel[TORSO, :2]))


class CrossMazeAntEnv(RllabAntEnv):
    """The ant in a cross of corridors with a goal at the end of one. Registered as `lsp/CrossMazeAnt-v0`.

    Observation f64[127]: that of `lsp/RllabAnt-v0`, and the goal's position [2] in m, drawn from three at every reset.
    Reward: 1000 within 2 m of it, where the episode ends; otherwise 0. It also ends when the ant falls.

    `info` of a step, beside the ant's: `goal_distance` in m, `success` 1 or 0.
    """

    observation_dim: ClassVar[int] = OBSERVATION_DIM + 2
    camera: ClassVar[dict[str, Any]] = OVERVIEW

    def _furnish(self, spec: mujoco.MjSpec) -> None:
        spec.nuserdata = 2  # the goal: MuJoCo's own state holds it, so that it is saved and restored with the rest
        for position, size in walls():
            spec.worldbody.add_geom(
                type=mujoco.mjtGeom.mjGEOM_BOX, pos=position, size=size, contype=1, conaffinity=1, condim=3,
                rgba=WALL_COLOR,
            )  # fmt: skip

    def reset_model(self) -> np.ndarray:
        """Draw a goal and start at the origin."""
        self.data.userdata[:] = GOALS[self.np_random.integers(len(GOALS))]
        return super().reset_model()

    def step(  # type: ignore[override]  # plain floats, where Gymnasium annotates np.float64
        self, action: np.ndarray
    ) -> tuple[np.ndarray, float, bool, bool, dict[str, float]]:
        """Apply torques `action` f[8] for 0.02 s."""
        observation, _, fell, truncated, info = super().step(action)
        distance = math.dist(self.data.qpos[:2], self.data.userdata)
        reached = distance < GOAL_RADIUS
        info |= {"goal_distance": distance, "success": float(reached)}
        return observation, GOAL_REWARD * reached, fell or reached, truncated, info

    def markers(self) -> Iterator[dict[str, Any]]:
        """The goal, within which the task is met."""
        met = math.dist(self.data.qpos[:2], self.data.userdata) < GOAL_RADIUS
        yield drawing.goal_disc(self.data.userdata, GOAL_RADIUS, met)

    def _observe(self, forces: np.ndarray) -> np.ndarray:
        return np.concatenate((super()._observe(forces), self.data.userdata))


def walls() -> Iterator[tuple[tuple[float, float, float], tuple[float, float, float]]]:
    """Center and half sizes, in m, of a box outside each edge of the free ground."""
    for start, end in zip(OUTLINE, (*OUTLINE[1:], OUTLINE[0]), strict=True):
        length = math.dist(start, end)
        outward = (end[1] - start[1]) / length, (start[0] - end[0]) / length
        edges = list(zip(start, end, outward, strict=True))
        x, y = ((a + b + WALL_THICKNESS * n) / 2 for a, b, n in edges)
        half_x, half_y = ((abs(b - a) + WALL_THICKNESS * abs(n)) / 2 for a, b, n in edges)
        yield (x, y, WALL_HEIGHT / 2), (half_x, half_y, WALL_HEIGHT / 2)
