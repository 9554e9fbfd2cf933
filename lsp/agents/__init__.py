"""The registry of agents; `presets`, which configures one; `build`, which turns a configuration into functions.

An agent is a short file whose `configure` takes a configuration (already of the wanted preset) to the agent's own, and
one line in `AGENTS`. What a configuration may say is in `lsp.config`; the switches combine freely.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lsp.agents import categorical, distributed, hindsight, prioritized
from lsp.config import Config, Preset, dissertation, schema, stages, validate

if TYPE_CHECKING:
    from lsp.agents.stack import Layer
    from lsp.types import EnvSpec, Recipe

AGENTS: dict[str, Callable[[Config], Config]] = {
    "sac_lsp": lambda config: config,
    "prioritized": prioritized.configure,
    "categorical": categorical.configure,
    "distributed": distributed.configure,
    "distributed_prioritized": distributed.configure_prioritized,
    "hindsight": hindsight.configure,
}


def presets(agent: str = "sac_lsp", preset: str = "modern") -> Config:
    """The configuration of an agent as we know it best (`modern`), or as the study ran it (`dissertation`).

    Raises:
      ConfigError: an unknown agent or preset; the message names the nearest.
    """
    configure = schema.choose("agent", agent, AGENTS)
    config = Config(agent=agent, preset=schema.convert("preset", preset, Preset))
    return validate(configure(dissertation(config) if preset == "dissertation" else config))


def build(config: Config, spec: "EnvSpec", layers: "Sequence[Layer]" = (), stage: int = 0) -> "Recipe":
    """The agent and replay of a configuration, as pure functions, for environments of the given sizes.

    Args:
      config: of the whole run.
      spec: sizes.
      layers: frozen ones below that in training, bottom first.
      stage: number of the layer in training among those of the run (`lsp.config.stages`).

    Returns:
      The recipe, with the configuration as this layer trains under it.

    Raises:
      ConfigError: hindsight for an environment without goals.
    """
    # JAX is imported here and not above, because the command line reads the registry before it needs any of this.
    from lsp.agents import transfer
    from lsp.agents.sac_lsp import make_agent
    from lsp.replay.registry import make_replay
    from lsp.types import Recipe

    reinitialised = transfer.reinitialised(stages.at_growth(config, stage)) if stage else ()
    config = stages.of_stage(config, stage, len(layers))
    return Recipe(make_agent(config, spec, layers, reinitialised), make_replay(config, spec), config)
