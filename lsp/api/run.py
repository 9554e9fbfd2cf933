"""`lsp.load`, and the `Run` that it returns: a run's folder as a Python object. JAX comes with what needs it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsp import cli
from lsp.api.conduct import conduct, one_line
from lsp.api.flags import arguments
from lsp.api.policy import Policy
from lsp.api.tables import Table, table
from lsp.config import Config, ConfigError
from lsp.envs.given import PREFIX, Given, lend, read
from lsp.report.old_names import renamed
from lsp.storage import metrics
from lsp.storage.run_folder import parse_config, read_document, seed_folder, seeds_of

if TYPE_CHECKING:
    from lsp.training.callbacks import Callback
    from lsp.training.results import Evaluation


def load(folder: str | Path, env: Any = None) -> "Run":
    """The run in a folder.

        run = lsp.load("runs/NAME")
        action = run.policy.act(observation)

    What was exported or published without its checkpoints, such as `runs/published/NAME`, serves as well: all but
    `resume` works. Of a folder of several seeds, each is a run of its own: `lsp.load(folder).seeds[3]`.

    Args:
      folder: as `lsp.train` or `python -m lsp.run` wrote it.
      env: the environment again, where it was given to `lsp.train` as a Python object.

    Raises:
      ConfigError: in one line, why that is no run.
    """
    given = None if env is None else read(env)
    run = Run(folder, given)
    run._require()
    if given is not None:
        run._given = run._again(given)
    return run


class Run:
    """A run's folder: what it has written, its policy, and how to continue. `lsp.train` and `lsp.load` return one.

    It holds no copy of anything: whatever it says is read when it is asked for, also while another process trains
    there. Of several seeds, those that need a single one say so: `run.seeds[3].policy`.
    """

    def __init__(self, folder: str | Path, given: Given | None = None) -> None:
        """The run in `folder`; `given` is its environment, where that is a Python object. Reads nothing yet."""
        self.folder = Path(folder).expanduser()
        self._place = self.folder.absolute()  # whatever becomes of the working folder
        self._given = given
        self._policy: Policy | None = None

    @property
    def config(self) -> Config:
        """Everything that decides the run; of several seeds, as the first has it. Raises ConfigError."""
        return parse_config(self._first, self._fields)

    @property
    def seeds(self) -> "dict[int, Run]":
        """Each seed's run by its number; of a single run, itself."""
        several = seeds_of(self._place)
        if not several:
            return {int(self._fields["seed"]): self}
        return {number: Run(seed_folder(self.folder, number), self._given) for number in several}

    @property
    def step(self) -> int:
        """Environment steps at the newest checkpoint, or of the policy where that is all there is; 0 without."""
        from lsp import export
        from lsp.storage import checkpoint

        if not self._is_one:
            return min((each.step for each in self.seeds.values() if each.failed is None), default=0)
        if (exported := export.exported_folder(self._place)) is not None:
            return int(json.loads((exported / "policy.json").read_text())["step"])
        return max(checkpoint.steps(self._place / "checkpoints"), default=0)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do but to `resume` with more steps."""
        from lsp import export
        from lsp.storage.checkpoint import CheckpointError
        from lsp.training import resuming

        if export.exported_folder(self._place) is not None:
            return True
        try:
            return resuming.find(self._place, {}).finished
        except (CheckpointError, ConfigError):
            return False

    @property
    def failed(self) -> str | None:
        """Why this seed was left out of a run of several; None of any other run."""
        return read_document(self._place).get("failed") if self._is_one else None

    @property
    def policy(self) -> Policy:
        """The policy at the newest checkpoint: `run.policy.act(observation, key=None)`.

        Raises:
          ConfigError: a run of an environment that must be given again (`lsp.load(folder, env=...)`), or of several.
          CheckpointError: no checkpoint that can be used.
        """
        from lsp import export

        self._require(single=True)
        if self._policy is None or self._policy.step != self.step:
            with one_line(self._place, self.folder), lend(self._given):
                self._policy = Policy(export.load_policy(self._place))
        return self._policy

    def metrics(self) -> Table:
        """The lines of `metrics.jsonl` as columns, one row each `log_every` steps.

        run.metrics()["return"] is a NumPy array; `.to_pandas()` makes a DataFrame. Raises ConfigError.
        """
        return table(self._records("metrics.jsonl"))

    def evaluations(self, protocol: str | None = None) -> Table:
        """The lines of `eval.jsonl` as columns, in turn under each protocol, or under `protocol` alone.

            mode = run.evaluations("mode")
            plt.plot(mode["step"], mode["return"])      # means; mode["returns"] has every episode, [rows, episodes]

        Raises ConfigError.
        """
        records = self._records("eval.jsonl")
        return table([record for record in records if protocol in (None, record["protocol"])])

    def evaluate(
        self, episodes: int = 20, protocol: str = "mode", seed: int | None = None, env: Any = None
    ) -> "Evaluation":
        """Run whole episodes of the policy at the newest checkpoint, all side by side; nothing is written.

        Args:
          episodes: how many.
          protocol: `mode`, the zero latent (not the density's mode); `sampled`, a new latent each step, as in training;
            `fixed_latent`, one latent an episode.
          seed: of first states and latents; by default they are those of the run's own evaluations.
          env: another environment, as of `lsp.train`, with observations and actions of the same sizes; by default the
            run's own.

        Returns:
          Returns, lengths and more of every episode; `.mean` and `.std` of the returns.

        Raises:
          ConfigError: an argument, or an environment that does not fit.
          EnvironmentFault: an environment that failed.
        """
        from lsp import export
        from lsp.api.evaluation import evaluate

        self._require(single=True)
        with one_line(self._place, self.folder):
            config, given = export.task_of(self._place), self._given
            if env is not None:
                given = read(env)
                config = replace(config, env=given.name, env_kwargs=json.dumps(dict(given.kwargs)))
            return evaluate(self._place, config, given, episodes, protocol, seed)

    def resume(
        self, steps: float | str | None = None, callbacks: "Sequence[Callback]" = (), quiet: bool = False,
        env: Any = None, **fields: Any,
    ) -> "Run":  # fmt: skip
        """Continue from the newest checkpoint, exactly; a finished run goes further with more `steps`.

        Args:
          steps: of the whole run, those so far included.
          callbacks: as of `lsp.train`.
          quiet: as of `lsp.train`.
          env: the environment again, where it was given to `lsp.train` as a Python object and this is another process.
          **fields: what else may change; see `python -m lsp.run --help` on `--resume`.

        Returns:
          This run.

        Raises:
          ConfigError, Fault, KeyboardInterrupt: as of `lsp.train`.
        """
        from lsp import export
        from lsp.training import session

        self._require()
        if export.exported_folder(self._place) is not None:
            raise ConfigError(f"{self.folder} cannot be resumed: it has an exported policy, and no checkpoints")
        given = self._given if env is None else self._again(read(env))
        single = {"evaluation.every": 0} if given is not None and given.single else {}
        command = cli.parse([*arguments({"steps": steps} | fields | single), f"--resume={self._place}"])
        conduct(
            self, given, callbacks, quiet,
            lambda stream, hooks: session.resume(self._place, command.given, stream, hooks),
        )  # fmt: skip
        self._given = given
        return self

    def video(
        self, protocol: str = "sampled", *, seed: int = 0, frames: int = 500, latent_walk: str | None = None
    ) -> Path:
        """Film an episode into `videos/`, as `python -m lsp.video` does.

        Args:
          protocol: as of `evaluate`.
          seed: of the first state and the latents.
          frames: steps to film at most.
          latent_walk: `LAYER:LATENT`, a latent that moves between -2 and 2 while all others are zero.

        Returns:
          The mp4; a GIF lies beside it.

        Raises:
          ConfigError: an argument, or an environment that cannot be drawn.
        """
        from lsp import video

        self._require(single=True)
        options = {"protocol": protocol, "seed": seed, "frames": frames, "latent_walk": latent_walk}
        with one_line(self._place, self.folder), lend(self._given):
            return video.film(video.parser().parse_args([str(self._here), *arguments(options)]))[0]

    def export(self, out: str | Path | None = None) -> Path:
        """Write the policy so that it loads without lsp, by NumPy alone or as StableHLO; `python -m lsp.export`.

        Args:
          out: where to; by default `policy/` in the run's folder.

        Returns:
          The folder.

        Raises:
          ConfigError, CheckpointError: as of `policy`, or where there is nothing but an exported policy.
        """
        from lsp import export
        from lsp.storage.publishing import POLICY

        self._require(single=True)
        folder = self._here / POLICY if out is None else Path(out)
        if (exported := export.exported_folder(self._place)) is not None:
            raise ConfigError(f"{self.folder} has no checkpoint to export; its policy is exported already: {exported}")
        target = folder.absolute()
        with one_line(self._place, self.folder), lend(self._given):
            export.save(export.load_actor(self._place), target)
        return folder

    def __repr__(self) -> str:
        lines = [f"Run({str(self.folder)!r})"]
        try:
            lines += self._described()
        except (ConfigError, OSError, KeyError) as error:  # a folder of another version, or that is gone
            lines.append(str(error))
        return "\n  ".join(lines)

    def _described(self) -> list[str]:
        from lsp.training.results import Evaluation

        fields, seeds = self._fields, list(self.seeds)
        which = f"seed {seeds[0]}" if self._is_one else f"seeds {', '.join(map(str, seeds))}"
        state = f"{'finished' if self.finished else 'stands'} at step {self.step:,} of {fields['steps']:,}"
        lines = [f"{fields['agent']} on {fields['env']}, preset {fields['preset']}, {which}: {state}"]
        records = self._records("eval.jsonl") if self._is_one else []
        newest = {record["protocol"]: record for record in records}
        return lines + [repr(Evaluation.of(record, seeds[0])) for record in newest.values()]

    @property
    def _here(self) -> Path:
        """The folder as it was typed, as long as that means the same."""
        return self.folder if self.folder.absolute() == self._place else self._place

    @property
    def _is_one(self) -> bool:
        """Whether this is no folder of several seeds."""
        return not seeds_of(self._place)

    @property
    def _fields(self) -> dict[str, Any]:
        """The configuration's fields by dotted name as `config.json` has them, old names as those of today."""
        return renamed(read_document(self._first)["config"])

    @property
    def _first(self) -> Path:
        """The folder whose configuration speaks for all."""
        return next(iter(seeds_of(self._place).values()), self._place)

    def _require(self, single: bool = False) -> None:
        """Raise ConfigError where this is no run, or where it is several and must be a `single` one."""
        with one_line(self._place, self.folder):
            if self._is_one and not (self._place / "policy.json").exists():  # an exported policy of its own
                read_document(self._place)
        if single and not self._is_one:
            numbers = list(self.seeds)
            raise ConfigError(f"{self.folder} holds {len(numbers)} seeds: choose one, such as .seeds[{numbers[0]}]")

    def _records(self, name: str) -> list[dict[str, Any]]:
        self._require(single=True)
        path = self._place / name
        return [renamed(record) for record in metrics.read(path)] if path.exists() else []

    def _again(self, given: Given) -> Given:
        """What was given again for this run's environment, under the name that it has there. Raises ConfigError."""
        name = self.config.env
        if not name.startswith(PREFIX):
            raise ConfigError(f"env={given.name}: that of {self.folder} is {name}, and need not be given")
        if given.make is None:
            raise ConfigError(f"env={given.name}: {self.folder} was trained on a Python object; give that again")
        return given._replace(name=name)

