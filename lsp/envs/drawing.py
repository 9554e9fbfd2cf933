"""Pictures of the plane in NumPy alone: discs and rods with smooth edges, painted one over the other.

And markers of goals in MuJoCo's pictures, as its viewers take them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

Color = tuple[int, int, int]
Point = np.ndarray | Sequence[float]
GOAL, MET = (214, 96, 77), (77, 160, 93)  # of a goal, and of one that is met
PLATE, ARROW = 0.02, 0.04  # meters: half of a disc's height; radius of an arrow
DISC_ALPHA, ARROW_ALPHA = 0.55, 0.9


def plane(pixels: int, reach: float) -> np.ndarray:
    """Positions of the pixels of a square picture, f64[pixels, pixels, 2]: x to the right, y up, -reach to reach."""
    middles = (np.arange(pixels) + 0.5) / pixels * 2 - 1
    return reach * np.stack(np.meshgrid(middles, -middles), axis=-1)


def disc(positions: np.ndarray, center: np.ndarray, radius: float) -> np.ndarray:
    """How far each position [..., 2] is outside of a disc; negative inside."""
    return np.linalg.norm(positions - center, axis=-1) - radius


def rod(positions: np.ndarray, start: np.ndarray, end: np.ndarray, radius: float) -> np.ndarray:
    """How far each position [..., 2] is outside of a rod with round ends; negative inside."""
    along = end - start
    share = np.clip((positions - start) @ along / (along @ along), 0.0, 1.0)
    return np.linalg.norm(positions - start - share[..., None] * along, axis=-1) - radius


def paint(picture: np.ndarray, outside: np.ndarray, color: Color, pixel: float) -> None:
    """Paint what is not `outside` [H, W] over a picture f64[H, W, 3], in place; `pixel` is the width of the edge."""
    cover = np.clip(0.5 - outside / pixel, 0.0, 1.0)[..., None]
    picture += cover * (np.array(color) - picture)


def goal_disc(center: Point, radius: float, met: bool) -> dict[str, Any]:
    """A marker on the ground: a flat disc of this radius around `center` (x, y), all in m."""
    import mujoco

    cylinder, position = mujoco.mjtGeom.mjGEOM_CYLINDER, np.array([*center, PLATE])
    return {"type": cylinder, "pos": position, "size": np.array([radius, PLATE, 0.0]), "rgba": _rgba(met, DISC_ALPHA)}


def goal_arrow(start: Point, vector: Point, met: bool) -> dict[str, Any]:
    """A marker in the air: an arrow from `start` (x, y, z) along `vector` (x, y), as long as that, all in m."""
    import mujoco

    x, y = vector
    length = float(np.hypot(x, y))
    along = np.array([x, y, 0.0]) / length if length > 0 else np.array([1.0, 0.0, 0.0])
    up = np.array([0.0, 0.0, 1.0])
    frame = np.stack([np.cross(up, along), up, along], axis=1)  # an arrow points along its own z
    size = np.array([ARROW, ARROW, length])
    arrow = mujoco.mjtGeom.mjGEOM_ARROW
    return {"type": arrow, "pos": np.array(start), "size": size, "mat": frame.ravel(), "rgba": _rgba(met, ARROW_ALPHA)}


def _rgba(met: bool, alpha: float) -> np.ndarray:
    return np.array([*(MET if met else GOAL), 255 * alpha], np.float32) / 255
