"""What an environment is wrapped in."""

from typing import Any

import gymnasium

AnyEnv = gymnasium.Env[Any, Any]
AnyWrapper = gymnasium.Wrapper[Any, Any, Any, Any]


def unwrap(env: AnyEnv) -> tuple[list[AnyWrapper], Any]:
    """The wrappers from the outside in, and the environment inside."""
    wrappers: list[AnyWrapper] = []
    while isinstance(env, gymnasium.Wrapper):
        wrappers.append(env)
        env = env.env
    return wrappers, env
