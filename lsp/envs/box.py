"""The one wrapper between `lsp` and an environment: float32 vectors out, actions in [-1, 1] in, faults made plain."""

import sys
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Space

from lsp.config.schema import Fault
from lsp.envs import checks
from lsp.envs.checks import LARGEST, Misfit
from lsp.envs.flatten import Part, Reader
from lsp.envs.guest import Guest, seed_generators


class EnvironmentFault(Fault):
    """An environment raised, or returned what cannot be used. The message is one line: which, when and what."""


class BoxEnv(gymnasium.Wrapper[np.ndarray, np.ndarray, Any, Any]):
    """An environment as agents want it: observation f32[S], action f32[A] in [-1, 1], finite numbers only.

    Actions are scaled linearly to the bounds of the environment, clipped to them, and handed over in its own shape and
    dtype. Observations are flattened (`lsp.envs.flatten`). Whatever the environment returns is checked at every step:
    used where it can be, else an EnvironmentFault. It is one class rather than a stack of wrappers, because every layer
    costs time at each step.
    """

    guest: Guest | None = None
    """Lends the process to an environment that is none of those known to leave it alone (`lsp.envs.make`)."""

    def __init__(self, env: gymnasium.Env[Any, Any], name: str) -> None:
        """Wrap `env`, whose actions must be a bounded `Box`; `name` is for errors."""
        super().__init__(env)
        inner = env.action_space
        assert isinstance(inner, Box)
        self.name = name
        self.episode_steps = 0
        self._low, self._high = inner.low.ravel(), inner.high.ravel()
        self._center = (self._high + self._low) / 2
        self._half_range = (self._high - self._low) / 2
        self._action_shape = inner.shape
        self._reshapes = len(inner.shape) != 1
        self._action_dtype = inner.dtype
        self._options: dict[str, Any] | None = None  # what its reset gets where nobody gave any
        self._reader = self._make_reader(env.observation_space)
        plain = type(self)._observation is BoxEnv._observation
        self._observed = self._reader.read if plain else self._observation  # spares a call at each step
        self.action_space = Box(-1.0, 1.0, self._low.shape, np.float32)
        self.observation_space = Box(-np.inf, np.inf, (self._width(env.observation_space),), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode. Raises EnvironmentFault."""
        self.episode_steps = 0
        if seed is not None and self.guest is not None:
            self.guest.seed(seed)
            seed_generators(self.env, seed)
        try:
            raw, info = checks.reset_result(self._try_reset(seed, options))
            return self._observation(raw), checks.info(info)
        except Misfit as error:
            raise self._misfit(error) from None

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Step with `action` f[A]; beyond [-1, 1] it is clipped. Raises EnvironmentFault."""
        self.episode_steps += 1
        scaled = np.minimum(np.maximum(self._center + self._half_range * action, self._low), self._high)
        if self._reshapes or scaled.dtype is not self._action_dtype:
            scaled = scaled.astype(self._action_dtype).reshape(self._action_shape)
        try:
            result = self.env.step(scaled) if self.guest is None else self.guest.call(self.env.step, scaled)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise self._raised(error, f"at step {self.episode_steps}", checks.STEP) from error
        try:
            return self.checked(result)
        except Misfit as error:
            cause = "" if np.isfinite(action).all() else ", after an action that is not finite"
            raise self._misfit(error, cause) from None

    def checked(self, result: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """What a step returned, as `step` returns it. The usual types pass at once. Raises Misfit."""
        if type(result) is not tuple or len(result) != 5:
            result = checks.step_result(result)
        raw, reward, terminated, truncated, info = result
        if type(reward) is not float or not -LARGEST <= reward <= LARGEST:  # as NaN is not, either
            reward = checks.number("reward", reward)
        if type(terminated) is not bool:
            terminated = checks.truth("terminated", terminated)
        if type(truncated) is not bool:
            truncated = checks.truth("truncated", truncated)
        try:
            "".join(info)  # the cheapest test of whether all keys are text
        except TypeError:
            info = checks.info(info)
        if type(info) is not dict:
            info = checks.info(info)
        return self._observed(raw), reward, terminated, truncated, info

    @property
    def parts(self) -> list[Part]:
        """Where the boxes of the environment's own observation are in what agents see, in order."""
        width = self.observation_space.shape
        assert width is not None
        return [part for part in self._reader.parts if part.place.stop <= width[0]]

    def render(self) -> Any:
        """What the environment draws."""
        return self._call(self.env.render)

    def close(self) -> None:
        """Close the environment. What goes wrong there is said in a line and does no harm."""
        try:
            self._call(self.env.close)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            said = f"environment {self.name} raised {checks.told(error)} when it was closed; that changes nothing"
            print(f"lsp: {said}", file=sys.stderr)

    def _call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        if self.guest is None:
            return function(*arguments, **named)
        return self.guest.call(function, *arguments, **named)

    def _try_reset(self, seed: int | None, options: dict[str, Any] | None) -> Any:
        try:
            return self._call(self.env.reset, seed=seed, options=self._options if options is None else options)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if options is None and self._options is None and checks.is_about(error, "options"):
                self._options = {}
                return self._try_reset(seed, None)
            raise self._raised(error, "in reset", checks.RESET) from error

    def _make_reader(self, space: Space[Any]) -> Reader:
        """What makes vectors of observations."""
        return Reader(space)

    def _width(self, space: Space[Any]) -> int:
        """Numbers in an observation as agents see it, S."""
        del space
        return self._reader.size

    def _observation(self, raw: Any) -> np.ndarray:
        """What agents see of an observation, f32[S]. Raises Misfit."""
        return self._reader.read(raw)

    def _misfit(self, error: Misfit, cause: str = "") -> EnvironmentFault:
        wanted = f"; {error.wanted}" if error.wanted else ""
        where = f"at step {self.episode_steps}" if self.episode_steps else "at step 0, its reset"
        return self._fault(f"returned {error.what} {where}{cause}{wanted}")

    def _raised(self, error: BaseException, where: str, wanted: str) -> EnvironmentFault:
        old = f"; if it has {checks.OLD}, let it return {wanted}" if checks.unpacks(error) else ""
        return self._fault(f"raised {checks.told(error)} {where}{old}")

    def _fault(self, what: str) -> EnvironmentFault:
        return EnvironmentFault(" ".join(f"environment {self.name} {what}".split()))
