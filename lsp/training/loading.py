"""A run as others read it: its configuration and what one of its checkpoints holds of the learner."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from lsp import envs
from lsp.agents.stack import Layer
from lsp.config import Config, ConfigError
from lsp.storage import checkpoint
from lsp.storage.run_folder import read_config
from lsp.training import growth
from lsp.training.growth import Stage
from lsp.types import EnvSpec, Params, Recipe, State


class LoadedRun(NamedTuple):
    """What a run's folder says at one of its checkpoints."""

    folder: Path
    config: Config  # of the whole run
    spec: EnvSpec
    stage: Stage  # of that checkpoint, with zeros for the layers' values: those are in `state`
    recipe: Recipe  # of that stage
    state: State  # the learner's; its leaves are memory-mapped NumPy arrays
    step: int  # environment steps at the checkpoint

    def actor_params(self) -> Params:
        """What the policy needs, as `Agent.act` takes it."""
        return self.recipe.agent.actor_params(self.state)

    def layers(self) -> Sequence[Layer]:
        """The frozen layers, bottom first, and the layer in training as it stands."""
        return growth.freeze(self.stage, self.recipe.config, self.spec, self.state)


def load_run(folder: Path, step: int | None = None, env: envs.BoxEnv | None = None) -> LoadedRun:
    """The run in `folder` at its newest checkpoint, or at that of `step`; its replay is left on the disk.

    Sizes are those of `env`, its environment; without, one is made to read them.

    Raises:
      ConfigError: not a run, or no checkpoint of that step.
      CheckpointError: no checkpoint that can be used.
    """
    config = read_config(folder)
    step = _choose(folder / "checkpoints", step)
    spec = envs.env_spec(config) if env is None else envs.spec_of(env)
    arrays, host = checkpoint.load(folder / "checkpoints" / str(step))
    stage = growth.from_host(host["stage"])
    recipe = stage.recipe(config, spec)
    state = checkpoint.restore(jax.eval_shape(recipe.agent.init, jax.random.key(0)), arrays, "learner")
    return LoadedRun(folder, config, spec, stage, recipe, state, step)


def _choose(root: Path, step: int | None) -> int:
    """`step`, or the newest where it is None."""
    found = checkpoint.steps(root)
    if step is not None and step not in found:
        raise ConfigError(f"--step={step}: {root} has checkpoints of steps {', '.join(map(str, found)) or '(none)'}")
    if not found:
        raise checkpoint.CheckpointError(f"{root.parent}: no complete checkpoint yet")
    return found[-1] if step is None else step
