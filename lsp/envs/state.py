"""Saving and restoring an environment so that a resumed run continues bit for bit.

Positions and velocities are not enough. MuJoCo's solver starts from its last solution, body poses lag a step behind
(Ant's and Humanoid's rewards are differences of them), and the time limit and the random generator live elsewhere.
"""

from typing import Any

import numpy as np
from gymnasium.envs.classic_control import Continuous_MountainCarEnv, PendulumEnv
from gymnasium.wrappers import TimeLimit

from lsp.config import ConfigError
from lsp.envs.box import BoxEnv
from lsp.envs.goal_box import TRANSPARENT, GoalBoxEnv
from lsp.envs.reacher import Reacher2DEnv
from lsp.envs.toys import PointMassEnv
from lsp.envs.wrappers import AnyEnv, AnyWrapper, unwrap

POSES = ("xpos", "xipos", "xquat")
# Everything else in these environments is constant after construction.
STATE_ATTRIBUTES: dict[type, tuple[str, ...]] = {
    PendulumEnv: ("state",),
    Continuous_MountainCarEnv: ("state",),
    PointMassEnv: ("state",),
    Reacher2DEnv: ("state", "goal"),
}
KNOWN_WRAPPERS = (BoxEnv, GoalBoxEnv, *TRANSPARENT)
KNOWN_MUJOCO_MODULES = ("gymnasium.envs.mujoco.", "lsp.envs.")


def can_restore(env: AnyEnv) -> bool:
    """Whether `get_state` and `set_state` are exact for `env`: nothing in it, wrappers included, is unknown to us."""
    wrappers, base = unwrap(env)
    known = all(type(wrapper) in KNOWN_WRAPPERS for wrapper in wrappers)
    return known and (type(base) in STATE_ATTRIBUTES or _is_known_mujoco(base))


def get_state(env: AnyEnv) -> dict[str, Any]:
    """The state of `env`, in the middle of an episode or not, as nested dicts of NumPy arrays and JSON values.

    It does not hold the last observation, which the caller has. Raises ConfigError if `can_restore` says no.
    """
    _require_restorable(env)
    wrappers, base = unwrap(env)
    return {
        "base": (_get_mujoco(base) if _is_known_mujoco(base) else {}) | _get_attributes(base),
        "generator": base.np_random.bit_generator.state,
        "elapsed_steps": [_elapsed(wrapper) for wrapper in wrappers],
    }


def set_state(env: AnyEnv, state: dict[str, Any]) -> None:
    """Put `env`, made as the saved one was, where `get_state` found that one. Raises ConfigError on a misfit."""
    _require_restorable(env)
    env.reset()
    wrappers, base = unwrap(env)
    if len(wrappers) != len(state["elapsed_steps"]):
        raise ConfigError(f"the saved state has {len(state['elapsed_steps'])} wrappers, {env} has {len(wrappers)}")
    if _is_known_mujoco(base):
        _set_mujoco(base, state["base"])
    _set_attributes(base, state["base"])
    base.np_random.bit_generator.state = state["generator"]
    for wrapper, steps in zip(wrappers, state["elapsed_steps"], strict=True):
        _set_elapsed(wrapper, steps)


def _is_known_mujoco(base: AnyEnv) -> bool:
    return type(base).__module__.startswith(KNOWN_MUJOCO_MODULES) and hasattr(base, "data")


def _require_restorable(env: AnyEnv) -> None:
    if not can_restore(env):
        raise ConfigError(f"the state of environment {env} cannot be saved and restored exactly")


def _elapsed(wrapper: AnyWrapper) -> int | None:
    """Steps that `wrapper` counted since the reset; None where it counts none. Gymnasium has no public way to ask."""
    if isinstance(wrapper, BoxEnv):
        return wrapper.episode_steps
    return wrapper._elapsed_steps if isinstance(wrapper, TimeLimit) else None


def _set_elapsed(wrapper: AnyWrapper, steps: int | None) -> None:
    if isinstance(wrapper, BoxEnv):
        assert steps is not None
        wrapper.episode_steps = steps
    elif isinstance(wrapper, TimeLimit):
        wrapper._elapsed_steps = steps  # type: ignore[assignment]  # annotated as None by its first value


def _attributes(base: AnyEnv) -> tuple[str, ...]:
    """What `base` keeps beside a simulation; our own ants say so themselves, which spares importing MuJoCo here."""
    return STATE_ATTRIBUTES.get(type(base), getattr(base, "state_attributes", ()))


def _get_attributes(base: AnyEnv) -> dict[str, Any]:
    return {name: np.array(getattr(base, name)) for name in _attributes(base)}


def _set_attributes(base: AnyEnv, saved: dict[str, Any]) -> None:
    for name in _attributes(base):
        present = np.shape(getattr(base, name))
        if name not in saved or saved[name].shape != present:
            raise ConfigError(f"the saved state does not fit {base}: {name} of shape {present} is missing from it")
        setattr(base, name, saved[name].copy())


def _get_mujoco(base: Any) -> dict[str, Any]:
    import mujoco

    signature = mujoco.mjtState.mjSTATE_INTEGRATION
    physics = np.empty(mujoco.mj_stateSize(base.model, signature))
    mujoco.mj_getState(base.model, base.data, physics, signature)
    return {"physics": physics} | {name: getattr(base.data, name).copy() for name in POSES}


def _set_mujoco(base: Any, saved: dict[str, Any]) -> None:
    import mujoco

    signature = mujoco.mjtState.mjSTATE_INTEGRATION
    size = mujoco.mj_stateSize(base.model, signature)
    if "physics" not in saved or saved["physics"].shape != (size,):
        raise ConfigError(f"the saved state does not fit {base}: {size} numbers of physics are missing from it")
    mujoco.mj_setState(base.model, base.data, saved["physics"], signature)
    mujoco.mj_forward(base.model, base.data)
    for name in POSES:
        getattr(base.data, name)[:] = saved[name]
