"""Pictures of the plane in NumPy alone: discs and rods with smooth edges, painted one over the other."""

import numpy as np

Color = tuple[int, int, int]


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
