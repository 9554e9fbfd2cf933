"""The registry of agents, and `build`, which turns a configuration into functions.

An agent is a short file whose `configure` takes a configuration (already of the wanted preset) to the agent's own, and one
line in `REGISTRY`. What a configuration may say is in `lsp.config`; the switches combine freely.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from lsp.config import Config

if TYPE_CHECKING:
    from lsp.types import EnvSpec, Recipe

REGISTRY: dict[str, Callable[[Config], Config]] = {
    "sac_lsp": lambda config: config,
}


def build(config: Config, spec: "EnvSpec") -> "Recipe":
    """The agent and replay of a configuration, as pure functions, for environments of the given sizes."""
    # JAX is imported here and not above, because the command line reads the registry before it needs any of this.
    from lsp import replay
    from lsp.agents.sac_lsp import make_agent
    from lsp.types import Recipe

    memory = replay.make_uniform(config.replay.capacity, config.replay.batch_size)
    return Recipe(make_agent(config, spec), memory, config)
