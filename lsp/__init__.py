"""Hierarchical maximum-entropy reinforcement learning with latent space policies, in JAX.

    run = lsp.train("distributed_prioritized", env="lsp/RllabAnt-v0")     # or lsp.load("runs/NAME")
    action = run.policy.act(observation)

    recipe = lsp.build(lsp.presets("sac_lsp", "modern"))     # pure functions: recipe.agent, recipe.replay

Importing `lsp` does no work and starts no device: a name, or a module such as `lsp.losses`, comes when it is asked for.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lsp.agents import presets
    from lsp.api.policy import Policy
    from lsp.api.run import Run, load
    from lsp.api.train import train
    from lsp.config import Config, ConfigError
    from lsp.config.schema import Fault
    from lsp.training.callbacks import Callback, Status
    from lsp.training.results import Evaluation
    from lsp.types import ActionSample, Agent, Batch, EnvSpec, Episode, Flow, Recipe, Replay, Transition, UpdateInfo

__all__ = [
    "ActionSample",
    "Agent",
    "Batch",
    "Callback",
    "Config",
    "ConfigError",
    "EnvSpec",
    "Episode",
    "Evaluation",
    "Fault",
    "Flow",
    "Policy",
    "Recipe",
    "Replay",
    "Run",
    "Status",
    "Transition",
    "UpdateInfo",
    "build",
    "load",
    "presets",
    "train",
]

_HOMES = {
    "Callback": "lsp.training.callbacks",
    "Config": "lsp.config",
    "ConfigError": "lsp.config",
    "Evaluation": "lsp.training.results",
    "Fault": "lsp.config.schema",
    "Policy": "lsp.api.policy",
    "Run": "lsp.api.run",
    "Status": "lsp.training.callbacks",
    "load": "lsp.api.run",
    "presets": "lsp.agents",
    "train": "lsp.api.train",
}


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
    if name in _modules():
        return importlib.import_module(f"lsp.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_modules()})


def _modules() -> set[str]:
    return {module.name for module in pkgutil.iter_modules(__path__)}
