"""Other places for a run's numbers: TensorBoard, trackio, Weights & Biases. Their packages come with the extra `track`.

A sink gets scalars only, after they are in the run's own files, which stay the record. No JAX here.
"""

import contextlib
import contextvars
import importlib.util
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from lsp.config import ConfigError, packaging
from lsp.storage.metrics import mean_of_said

PACKAGES = {"tensorboard": "tensorboardX", "trackio": "trackio", "wandb": "wandb"}


class Sink(Protocol):
    """Where scalars go."""

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Take the scalars of one environment step, by tag such as `train/q`."""

    def close(self) -> None:
        """Hand over what is buffered; `write` afterwards is an error."""


class TensorBoard:
    """Event files in `run_dir/tensorboard`; look at them with `tensorboard --logdir runs`."""

    def __init__(self, run_dir: Path, step: int) -> None:
        """Continue at environment step `step`: later points of an earlier session are purged."""
        import tensorboardX

        folder = str(run_dir / "tensorboard")
        self._writer = tensorboardX.SummaryWriter(folder, purge_step=step + 1 if step else None, flush_secs=10)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """One event for each scalar."""
        for tag, value in scalars.items():
            self._writer.add_scalar(tag, value, step)

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()


class WandB:
    """A run of Weights & Biases in project `lsp`; WANDB_MODE=offline keeps it in `run_dir/wandb` for `wandb sync`."""

    def __init__(self, run_dir: Path, config: Mapping[str, Any]) -> None:
        """Start the run named after the folder, or continue that of an earlier session of it."""
        import wandb

        id_file = run_dir / "wandb" / "run_id"
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "lsp"),
            name=_name(run_dir),
            id=id_file.read_text() if id_file.exists() else None,
            resume="allow",
            dir=str(run_dir),
            config=dict(config),
            reinit="create_new",  # a process may train many seeds
            settings=wandb.Settings(silent=True, console="off"),
        )
        id_file.parent.mkdir(exist_ok=True)
        id_file.write_text(self._run.id)
        self._run.define_metric("*", step_metric="environment_step")

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """One record."""
        self._run.log({"environment_step": step, **scalars})

    def close(self) -> None:
        """Upload, or in offline mode write, the rest."""
        self._run.finish()


class Trackio:
    """A run of trackio in project `lsp`, kept on this machine; look at it with `trackio show --project lsp`.

    TRACKIO_DIR says where; by default it is a folder in ~/.cache.
    """

    def __init__(self, run_dir: Path, config: Mapping[str, Any]) -> None:
        """Start the run named after the folder, or continue that of an earlier session of it."""
        import trackio

        begun = run_dir / "trackio"  # without it, a run of that name is that of another folder
        project = os.environ.get("TRACKIO_PROJECT", "lsp")
        start = {
            "project": project,
            "name": _name(run_dir),
            "config": dict(config),
            "resume": "allow" if begun.exists() else "never",
            "embed": False,
            "auto_log_gpu": False,
            "auto_log_cpu": False,
        }
        # In a context of its own, or it would end the run that began last: a process may train many seeds.
        with contextlib.redirect_stdout(io.StringIO()):  # it announces itself at length
            self._run = contextvars.Context().run(lambda: trackio.init(**start))
        begun.write_text(f"trackio show --project {project}\n")

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """One record."""
        self._run.log(dict(scalars), step=step)

    def close(self) -> None:
        """Write the rest."""
        with contextlib.redirect_stdout(io.StringIO()):
            self._run.finish()


def _name(run_dir: Path) -> str:
    """What a service calls a run: the folders of several seeds are named seed_0, seed_1, ... wherever they lie."""
    return run_dir.name if not run_dir.name.startswith("seed_") else f"{run_dir.parent.name}_{run_dir.name}"


def check(track: Sequence[str]) -> None:
    """Raise ConfigError if the package of a sink is missing."""
    for name in track:
        package = PACKAGES.get(name)
        if package is not None and importlib.util.find_spec(package) is None:
            raise ConfigError(f"--track={name} needs the package {package}: {packaging.install('track')}")


def make(track: Sequence[str], run_dir: Path, config: Mapping[str, Any], step: int) -> list[Sink]:
    """The sinks that `--track` names, for a run that starts or continues at environment step `step`."""
    made: list[Sink] = []
    if "tensorboard" in track:
        made.append(TensorBoard(run_dir, step))
    if "trackio" in track:
        try:
            made.append(Trackio(run_dir, config))
        except Exception as error:  # of many kinds
            raise ConfigError(f"--track=trackio: {error}") from error
    if "wandb" in track:
        try:
            made.append(WandB(run_dir, config))
        except Exception as error:  # of many kinds
            raise ConfigError(f"--track=wandb: {error}; or keep it here with WANDB_MODE=offline") from error
    return made


def scalars_of(record: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """The numbers of a line of metrics or of an evaluation, by tag; of lists the mean over the episodes that say it.

    What nobody says is left out: the writers would make NaN, or an error, of it.
    """
    numbers = {name: mean_of_said(value) for name, value in record.items() if name not in ("step", "seeds", "returns")}
    return {f"{prefix}/{name}": number for name, number in numbers.items() if number is not None}
