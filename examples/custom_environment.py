"""An environment of one's own, given as a class: trained on, evaluated, and given again to the run when it is loaded.

Written into a module, it need not be given: `env="my_package.my_module:Cart"` works everywhere, on the command line and
in worker processes, too.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

import lsp


class Cart(gymnasium.Env[np.ndarray, np.ndarray]):
    """A cart on a rail that is pushed, and should come to rest in the middle."""

    def __init__(self, friction: float = 0.1) -> None:
        """Make one; arguments come from `env_kwargs`."""
        self.observation_space = Box(-np.inf, np.inf, (2,), np.float32)  # position, velocity
        self.action_space = Box(-1.0, 1.0, (1,), np.float32)  # force
        self._friction = friction
        self._state = np.zeros(2, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin anywhere within a meter of the middle."""
        super().reset(seed=seed)
        self._state = np.array([self.np_random.uniform(-1, 1), 0.0], np.float32)
        return self._state.copy(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """A tenth of a second. Numbers in `info` become columns of the run's evaluations."""
        position, velocity = self._state
        velocity += 0.1 * (float(action[0]) - self._friction * velocity)
        self._state = np.array([position + 0.1 * velocity, velocity], np.float32)
        distance = abs(float(self._state[0]))
        return self._state.copy(), -distance, distance > 2, False, {"distance": distance, "is_success": distance < 0.1}


run = lsp.train(
    env=Cart,
    env_kwargs={"friction": 0.2, "max_episode_steps": 100},
    steps=4_000,
    learning_starts=1_000,
    **{"evaluation.every": 1_000},
)
print(run.evaluations("mode")["success"].mean(axis=1))  # share of episodes that met the task, at each evaluation

loaded = lsp.load(run.folder, env=Cart)  # another process would have to say, too, what `Cart` is
print(loaded.evaluate(episodes=20))
