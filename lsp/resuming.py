"""Going on with a run: what may change, what must not, and cutting its files back to where a checkpoint saw them."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from lsp import checkpoint, layering
from lsp.config import Config, ConfigError, to_dict
from lsp.fields import flag, to_text
from lsp.metrics import JsonLines
from lsp.run_dir import read_document

RESUMABLE = {"steps", "log_every", "checkpoint_every", "milestone_every", "evaluation.every", "track"} | {
    f"executors.{name}" for name in ("engine", "workers", "address", "timeout")  # in lock-step all engines do the same
}
"""What may be changed when a run goes on: nothing that would make it another run."""


def overridden(run_dir: Path, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The run's document with new values of `RESUMABLE` fields. Raises ConfigError."""
    for name in overrides:
        if name not in RESUMABLE:
            allowed = ", ".join(map(flag, sorted(RESUMABLE)))
            raise ConfigError(f"{flag(name)} cannot change when a run is resumed; only {allowed} can")
    document = read_document(run_dir)
    if "steps" in overrides:
        document["config"] = layering.extended(document["config"], overrides["steps"])
    document["config"] |= overrides
    return document


def load_latest(run_dir: Path) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Arrays and host state of the newest checkpoint. Raises CheckpointError."""
    path = checkpoint.latest(run_dir / "checkpoints")
    if path is None:
        raise checkpoint.CheckpointError(f"{run_dir}: no complete checkpoint to resume from: start a new run")
    return checkpoint.load(path)


def require_same(run_dir: Path, config: Config, saved: Mapping[str, Any]) -> None:
    """Raise ConfigError where `config` makes another run than `saved`, a checkpoint's configuration."""
    for name, value in to_dict(config).items():
        now, before = to_text(value), to_text(saved.get(name))
        if now != before and name not in {*RESUMABLE, "layer_steps"}:
            raise ConfigError(
                f"{run_dir / 'config.json'} has {flag(name)}={now}, its checkpoint was saved with {before}: "
                "put that back, or start a new run"
            )


def drop_lines(run_dir: Path, offsets: Mapping[str, int]) -> None:
    """Cut files of metrics back to where a checkpoint saw them; one that was moved away begins anew."""
    for name, offset in offsets.items():
        path = run_dir / f"{name}.jsonl"
        if path.exists():
            try:
                with closing(JsonLines(path)) as lines:
                    lines.truncate(offset)
            except ValueError as error:
                raise checkpoint.CheckpointError(str(error)) from error
