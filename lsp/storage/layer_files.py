"""Frozen layers on disk: `layers/0`, `layers/1`, ... in a run's folder, bottom first."""

from pathlib import Path

from lsp.agents import stack
from lsp.agents.stack import Layer
from lsp.config import ConfigError
from lsp.storage import checkpoint

FOLDER, GROUP = "layers", "layer"


def save(run_dir: Path, depth: int, layer: Layer) -> Path:
    """Write the layer that has `depth` others below it, and return its path. Raises CheckpointError."""
    return checkpoint.save(run_dir / FOLDER, depth, {GROUP: layer.values}, {"layer": stack.describe(layer)})


def load(run_dir: Path) -> tuple[Layer, ...]:
    """The frozen layers of a run, bottom first.

    Raises:
      ConfigError: in one line, that there are none, or the first that is missing, damaged or incomplete.
    """
    root = run_dir / FOLDER
    depths = checkpoint.steps(root)
    if not depths:
        what = "it has frozen no layer yet: let it finish" if run_dir.is_dir() else "there is no such folder"
        raise ConfigError(f"{run_dir} has no layers to build on: {what}")
    return tuple(_load(root / str(depth)) for depth in range(depths[-1] + 1))


def _load(path: Path) -> Layer:
    try:
        arrays, host = checkpoint.load(path)
        layer = stack.from_description(host["layer"])
        return layer._replace(values=checkpoint.restore(layer.values, arrays, GROUP))
    except (checkpoint.CheckpointError, ConfigError, KeyError, TypeError) as error:
        cause = " ".join(str(error.__cause__ or error).split())
        if "observation_stats" in cause:  # what was wrong with a leaf, without advice about runs
            cause = f"its observation normalizer is missing or incomplete ({cause.partition(':')[0]})"
        raise ConfigError(f"layer {path} cannot be used: {cause}; train it again or choose another run") from error
