"""Resuming a run: what may change, what must not, and cutting its files back to where a checkpoint saw them."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

from lsp.config import Config, ConfigError, stages, to_dict
from lsp.config.schema import flag, to_text
from lsp.storage import checkpoint
from lsp.storage.metrics import JsonLines
from lsp.storage.run_folder import read_document

RESUMABLE = {"steps", "log_every", "checkpoint_every", "milestone_every", "evaluation.every", "track"} | {
    f"executors.{name}" for name in ("engine", "workers", "address", "timeout")  # in lock-step all engines do the same
}
"""What may be changed when a run is resumed: nothing that would make it another run."""

AHEAD = {"layers", "layer_steps"} | {f"growth.{each.name}" for each in fields(stages.GrowthConfig)}
"""What may be changed as far as it says what comes later: the end of this layer and the next ones, how they begin."""


def overridden(run_dir: Path, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The run's document with new values of `RESUMABLE` and `AHEAD` fields. Raises ConfigError."""
    for name in overrides:
        if name not in RESUMABLE | AHEAD:
            growth = {each for each in AHEAD if each.startswith("growth.")}
            allowed = ", ".join(sorted({"--growth.*", *map(flag, RESUMABLE | AHEAD - growth)}))
            raise ConfigError(f"{flag(name)} cannot change when a run is resumed; only {allowed} can")
    document = read_document(run_dir)
    if "steps" in overrides:
        document["config"] = stages.extended(document["config"], overrides["steps"])
    document["config"] |= overrides
    return document


def require_same(run_dir: Path, config: Config, host: Mapping[str, Any]) -> None:
    """Raise ConfigError where `config` makes another run than that of a checkpoint, whose host state this is."""
    now = {name: to_text(value) for name, value in to_dict(config).items()}
    before = {name: to_text(value) for name, value in host["config"].items()}
    changed = {name for name in now if now[name] != before.get(name, "")}
    for name in sorted(changed - RESUMABLE - AHEAD):
        raise ConfigError(
            f"{run_dir / 'config.json'} has {flag(name)}={now[name]}, its checkpoint was saved with "
            f"{before.get(name, '')}: put that back, or start a new run"
        )
    _require_ahead(config, host, changed)


def _require_ahead(config: Config, host: Mapping[str, Any], changed: set[str]) -> None:
    """Raise ConfigError where one of the `changed` fields is about what has happened."""
    stage, step = host["stage"]["number"], host["loop"]["step"]
    if (stage or host["stage"]["layers"]) and (late := sorted(name for name in changed if name.startswith("growth."))):
        raise ConfigError(f"{flag(late[0])} cannot change any more: a layer has grown; start a new run, --from-layers")
    past, ends = tuple(host["config"]["layer_steps"][:stage]), stages.boundaries(config)
    kept = config.layer_steps[:stage] == past and stage < len(ends) and ends[stage] >= step
    if changed & {"layers", "layer_steps"} and not kept:
        begun, rest = [*past, step - sum(past)], config.layers - stage - 1
        later = max(config.steps - step, 0) // max(rest, 1) or 100_000
        example = ",".join(map(str, begun + [later] * rest))
        raise ConfigError(
            f"{flag('layer_steps')}={to_text(config.layer_steps)}: the run is at step {step} of layer {stage + 1}; "
            f"such as {flag('layer_steps')}={example}"
        )


def drop_lines(run_dir: Path, offsets: Mapping[str, int]) -> None:
    """Cut files of metrics back to where a checkpoint saw them; one that was moved away is started again."""
    for name, offset in offsets.items():
        path = run_dir / f"{name}.jsonl"
        if path.exists():
            try:
                with closing(JsonLines(path)) as lines:
                    lines.truncate(offset)
            except ValueError as error:
                raise checkpoint.CheckpointError(str(error)) from error
