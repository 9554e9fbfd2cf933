"""Hierarchical maximum-entropy reinforcement learning with latent space policies, in JAX.

    recipe = lsp.build(lsp.presets("sac_lsp", "modern"))     # pure functions: recipe.agent, recipe.replay

Importing `lsp` does no work and starts no device; `import lsp.losses`, `lsp.flows`, ... bring the rest.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lsp.agents import presets
    from lsp.config import Config, ConfigError
    from lsp.types import ActionSample, Agent, Batch, EnvSpec, Episode, Flow, Recipe, Replay, Transition, UpdateInfo

__all__ = [
    "ActionSample",
    "Agent",
    "Batch",
    "Config",
    "ConfigError",
    "EnvSpec",
    "Episode",
    "Flow",
    "Recipe",
    "Replay",
    "Transition",
    "UpdateInfo",
    "build",
    "presets",
]

_HOMES = {"presets": "lsp.agents", "Config": "lsp.config", "ConfigError": "lsp.config"}


def build(config: "Config", spec: "EnvSpec | None" = None) -> "Recipe":
    """The agent and replay of `config`, as pure functions.

    `spec` has the sizes of the environment; without it, the environment is made once to read them. Raises ConfigError.
    """
    from lsp import agents, envs
    from lsp.config import validate

    config = validate(config)
    if spec is None:
        spec = envs.learner_spec(config, print)
    return agents.build(config, spec)


def __getattr__(name: str) -> Any:
    # On demand, because the records import JAX, which takes seconds.
    if name in __all__:
        return getattr(importlib.import_module(_HOMES.get(name, "lsp.types")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
