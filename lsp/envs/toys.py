"""A task that steps in microseconds, for tests and first experiments."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box

TIMESTEP = 0.1  # seconds


class PointMassEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """Bring a unit mass on a plane to the origin. Registered as `lsp/PointMass-v0`, with a time limit of 50 steps.

    Observation f64[4]: position [2] in m, velocity [2] in m/s. Action [2] in [-1, 1]: force in N. It starts at rest, at
    a position uniform in [-1, 1]^2. Reward: -|position|^2 after the step. It never terminates. `info`: `distance` in m.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]  # Gymnasium: without ClassVar
    observation_space = Box(-np.inf, np.inf, (4,), np.float64)
    action_space = Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self) -> None:
        """Leave the mass at the origin; `reset` places it."""
        self.state = np.zeros(4)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Place the mass."""
        super().reset(seed=seed)
        self.state = np.concatenate((self.np_random.uniform(-1.0, 1.0, 2), np.zeros(2)))
        return self.state.copy(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Push with force `action` f[2] for 0.1 s (semi-implicit Euler)."""
        velocity = self.state[2:] + TIMESTEP * action
        position = self.state[:2] + TIMESTEP * velocity
        self.state = np.concatenate((position, velocity))
        squared = float(position @ position)
        return self.state.copy(), -squared, False, False, {"distance": squared**0.5}
