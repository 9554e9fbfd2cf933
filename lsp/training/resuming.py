"""Resuming a run: what may change, what must not, and cutting its files back to where a checkpoint saw them."""

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from lsp.config import LATER, Config, ConfigError, stages, to_dict
from lsp.config.schema import flag, to_text
from lsp.storage import checkpoint, layer_files
from lsp.storage.metrics import JsonLines
from lsp.storage.run_folder import parse_config, read_document, seeds_of

RESUMABLE = {"steps", "log_every", "checkpoint_every", "milestone_every", "track"}
RESUMABLE |= {f"evaluation.{name}" for name in ("every", "max_episode_steps")}
# In lock-step all engines do the same.
RESUMABLE |= {f"executors.{name}" for name in ("engine", "workers", "address", "timeout")}
"""What may be changed when a run is resumed: nothing that would make it another run."""

AHEAD = {"layers", "layer_steps"} | {f"growth.{each.name}" for each in fields(stages.GrowthConfig)}
"""What may be changed as far as it says what comes later: the end of this layer and the next ones, how they begin."""


class Resumable(NamedTuple):
    """What there is to continue in a folder."""

    config: Config  # of the first seed, from which the others differ by their seed alone
    folders: dict[int, Path]  # of the seeds that did not fail
    alone: bool  # whether this is a single run
    step: int  # of the newest checkpoint that all have
    documents: dict[Path, dict[str, Any]]  # of the runs, to be written once the checkpoints are loaded


    @property
    def finished(self) -> bool:
        """Whether nothing is left to do: no step, nothing that was due, no layer that is not written."""
        return self.step >= self.config.steps and all(_is_complete(each, self.step) for each in self.folders.values())


def _is_complete(run_dir: Path, step: int) -> bool:
    host = checkpoint.peek(run_dir / "checkpoints" / str(step), "due", "warm_up_left", "stage")
    top = len(host["stage"]["layers"])  # depth of the layer in training
    return not host["due"] and not host["warm_up_left"] and top in checkpoint.steps(run_dir / layer_files.FOLDER)


def find(folder: Path, overrides: Mapping[str, Any]) -> Resumable:
    """What there is to continue in `folder`, with new values of `RESUMABLE` and `AHEAD` fields.

    Raises:
      ConfigError: not a run, nothing left of it, or a change that would make it another run.
      CheckpointError: no checkpoint that can be used.
    """
    several = seeds_of(folder)
    documents = {each: overridden(each, overrides) for each in several.values() or [folder]}
    alive = {each: document for each, document in documents.items() if not (several and "failed" in document)}
    if not alive:
        raise ConfigError(f"{folder}: every seed failed; there is nothing to resume but one of them, alone")
    configs = {each: parse_config(each, document["config"]) for each, document in alive.items()}
    folders = {config.seed: each for each, config in sorted(configs.items(), key=lambda item: item[1].seed)}
    config = _common_config(folders, configs)
    step = _common_step(folder, list(folders.values()))
    if "steps" in overrides:
        _require_further(next(iter(folders.values())), config, step)
    for each, document in alive.items():
        document.pop("failed", None)
        document["config"] = to_dict(configs[each])
    return Resumable(config, folders, not several, step, alive)


def _require_further(run_dir: Path, config: Config, step: int) -> None:
    """Raise ConfigError where a run would end before the step at which it stands."""
    before = read_document(run_dir)["config"]["steps"]
    if config.steps < min(step, before):  # executors that are stepped together may go a little too far
        raise ConfigError(
            f"--steps={config.steps}: the run stands at step {step}; to go further, more, such as --steps={2 * step}"
        )


def _common_config(folders: Mapping[int, Path], configs: Mapping[Path, Config]) -> Config:
    """The configuration of the first seed, from which others differ by their seed alone. Raises ConfigError."""
    first = configs[next(iter(folders.values()))]
    for folder, config in configs.items():
        if dataclasses.replace(config, seed=first.seed) != first:
            raise ConfigError(f"{folder / 'config.json'} differs from that of other seeds: resume it alone")
    return first


def _common_step(folder: Path, folders: Sequence[Path]) -> int:
    """The newest step of which every seed has a checkpoint. Raises CheckpointError."""
    steps = {each: checkpoint.steps(each / "checkpoints") for each in folders}
    common = set.intersection(*map(set, steps.values()))
    if not common and len(folders) == 1:
        raise checkpoint.CheckpointError(f"{folders[0]}: no complete checkpoint to resume from: start a new run")
    if not common:
        where = ", ".join(f"{each.name}: {found or 'none'}" for each, found in steps.items())
        raise checkpoint.CheckpointError(f"{folder}: no checkpoint that all seeds have ({where})")
    return max(common)


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
    before = {name: to_text(value) for name, value in (LATER | host["config"]).items()}
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
