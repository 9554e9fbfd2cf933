"""Training the seeds of one configuration from their first step to their last: start, train, resume.

    runs/NAME                             a single run
    runs/NAME/seed_0  runs/NAME/seed_1    one folder a seed of several, each a run like any other

One loop trains them all. A seed that diverges, or whose environment fails, ends a single run; of several it is noted in
its `config.json` and left out, and the others continue.
"""

import dataclasses
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from lsp import envs
from lsp.config import Config, ConfigError, to_dict, validate
from lsp.envs import EnvironmentFault
from lsp.executors.factory import check_rewards
from lsp.storage import checkpoint, provenance, sinks
from lsp.storage.outputs import Outputs
from lsp.storage.run_folder import locked, parse_config, read_document, write_document
from lsp.training import growth, memory
from lsp.training.asynchronous import AsyncLoop
from lsp.training.device import Device
from lsp.training.divergence import Diverged
from lsp.training.evaluate import Evaluator, describe
from lsp.training.growth import Stage
from lsp.training.interrupt import Interrupt
from lsp.training.loop import Loop, TrainingLoop
from lsp.training.pipelined import ActBeforeUpdates
from lsp.training.progress import Progress
from lsp.training.resuming import overridden
from lsp.training.run import Run, env_seeds, make_executors
from lsp.training.seed import Seed

T = TypeVar("T")

LOOPS: dict[str, Callable[[Device], TrainingLoop]] = {
    "sync": Loop,
    "sync_pipelined": lambda device: Loop(device, ActBeforeUpdates()),
    "async": AsyncLoop,
}


class Ending(NamedTuple):
    """How a session ended."""

    finished: bool  # false where it was interrupted
    failures: list[str]  # a line for each seed that was left out


def folder_of(folder: Path, seed: int) -> Path:
    """The folder of one seed of several."""
    return folder / f"seed_{seed}"


def has_seeds(folder: Path) -> bool:
    """Whether `folder` holds the runs of several seeds."""
    return not (folder / "config.json").exists() and any(folder.glob("seed_*/config.json"))


class Session:
    """The runs of one configuration, and what they share. Build it, `start` or `restore`, then `train`."""

    def __init__(self, config: Config, folders: Mapping[int, Path], alone: bool, stage: Stage | None = None) -> None:
        """Make environments and compiled functions. Writes nothing.

        Args:
          config: that of any seed.
          folders: of the seeds.
          alone: whether this is a single run, whose fault ends the session.
          stage: where to continue; None: the first.

        Raises:
          ConfigError: a configuration that cannot run.
        """
        self.config, self._alone = validate(config), alone
        config = self.config
        sinks.check(config.track)
        if config.executors.mode != "sync" and len(folders) > 1:
            remedy = "run the seeds one after the other"
            raise ConfigError(f"--executors.mode={config.executors.mode} does not go with --seeds: {remedy}")
        if stage is None:
            check_rewards(config)
        spec = envs.env_spec(config)
        stage = stage or growth.first(config, spec)
        memory.check(config, spec, len(folders))
        recipe = stage.recipe(config, spec)
        device = Device(recipe, spec, list(folders))
        self.loop = LOOPS[config.executors.mode](device)
        make_env = partial(envs.make_env, config)
        seeds = env_seeds(config, "evaluate", config.evaluation.episodes)
        self._evaluator = Evaluator(recipe.agent, make_env, config.evaluation.protocols, seeds)
        self.runs = [self._make_run(index, stage, *item) for index, item in enumerate(folders.items())]
        self.failures: list[str] = []

    def _make_run(self, index: int, stage: Stage, seed: int, folder: Path) -> Run:
        config = dataclasses.replace(self.config, seed=seed)
        host = Seed(index, config, make_executors(config, stage))
        return Run(config, folder, host, stage, self.loop, self._evaluator)

    @property
    def step(self) -> int:
        """Environment steps so far, of each seed."""
        return max(run.seed.step for run in self.runs)

    def start(self) -> None:
        """Reset every environment and choose the first actions."""
        self.loop.start(self._seeds())

    def restore(self, step: int, first: tuple[Mapping[str, Any], Mapping[str, Any]]) -> None:
        """Continue from the checkpoints of `step`, of which that of the `first` run is loaded; later ones are removed.

        Raises:
          ConfigError, CheckpointError: as of `Run.restore`.
        """
        roots = [run.dir / "checkpoints" for run in self.runs]
        for i, run in enumerate(self.runs):
            run.restore(*(checkpoint.load(roots[i] / str(step)) if i else first))
        for newer in (root / str(later) for root in roots for later in checkpoint.steps(root) if later > step):
            shutil.rmtree(newer)
        who = "resuming" if self._alone else f"resuming {len(self.runs)} seeds"
        print(f"{who} at step {step:,} of {self.config.steps:,}", file=sys.stderr)

    def train(self, interrupt: Interrupt) -> Ending:
        """Train to the end, or to an interrupt, and write checkpoints. Of a single run, raises what ended it."""
        recent = [episode.episode_return for run in self.runs for episode in run.recent]
        shown: deque[float] = deque(recent, maxlen=10 * len(self.runs))
        with self._outputs() as outputs, closing(Progress(self.config.steps, self.step)) as progress:
            while self.runs and self.step < self.config.steps and not interrupt.requested:
                while self.runs and growth.due(self.config, self.runs[0].stage, self.step):
                    self._grow(outputs, progress)
                if self.runs:
                    self._advance(outputs, progress, shown)
            if self.runs:
                self._finish(outputs, progress)
        return Ending(not self.runs or self.step >= self.config.steps, self.failures)

    def _advance(self, outputs: Mapping[Run, Outputs], progress: Progress, shown: deque[float]) -> None:
        """One step of every executor, and whatever is due after it."""
        before = self.step
        episodes = self._each(lambda run: self.loop.collect(run.seed), progress)
        if not self.runs:
            return
        self.loop.answer(self._seeds())
        shown.extend(episode.episode_return for ended in episodes.values() for episode in ended)
        progress.update(self.step, shown)
        self._note(progress, self._each(lambda run: run.record(before, episodes[run], outputs[run]), progress))

    def _finish(self, outputs: Mapping[Run, Outputs], progress: Progress) -> None:
        what = "a checkpoint" if self._alone else f"{len(self.runs)} checkpoints"
        progress.note(f"writing {what} at step {self.step:,}")
        self._each(lambda run: run.save(outputs[run]), progress)
        if self.runs and self.step >= self.config.steps:
            self._each(lambda run: run.save_layers(), progress)

    @contextmanager
    def _outputs(self) -> Iterator[dict[Run, Outputs]]:
        with ExitStack() as stack:
            yield {run: stack.enter_context(closing(run.open())) for run in self.runs}

    def _grow(self, outputs: Mapping[Run, Outputs], progress: Progress) -> None:
        """Freeze the layer in training of every seed, begin the next stage, and evaluate the policies again."""
        self._each(lambda run: run.end_stage(), progress)
        if not self.runs:
            return
        stage = self.runs[0].stage
        progress.note(growth.announcement(self.config, stage, self.step))
        following, recipe = growth.grow(self.config, stage, self.loop, self._seeds())
        self._evaluator.evaluate(recipe.agent)
        stage_of = dict(zip(self.runs, following, strict=True))

        def begin(run: Run) -> list[dict[str, Any]]:
            if (dropped := stage_of[run].dropped) > 0:
                note = growth.DROPPED.format(dropped)
                progress.note(note if self._alone else f"seed {run.config.seed}: {note}")
            if dropped == 1.0 > min(stage.dropped for stage in following):
                raise Diverged("none of its replay's transitions is in the new layer's range: run this seed alone")
            return run.begin_stage(stage_of[run], self._evaluator, outputs[run])

        self._note(progress, self._each(begin, progress))

    def _each(self, do: Callable[[Run], T], progress: Progress) -> dict[Run, T]:
        """What `do` gives for every run; of several, runs that fail in it are left out from now on."""
        results: dict[Run, T] = {}
        for run in self.runs:
            try:
                results[run] = do(run)
            except (Diverged, EnvironmentFault) as error:
                self._fail(run, error, progress)
        if len(results) < len(self.runs):
            self.runs = list(results)
        return results

    def _fail(self, run: Run, error: RuntimeError, progress: Progress) -> None:
        """Leave a run out, or of a single one raise why."""
        if isinstance(error, EnvironmentFault):
            try:
                run.require_finite_agent()  # a broken policy breaks environments: name the cause
            except Diverged as cause:
                error = cause
        if self._alone:
            raise error
        text = f"seed {run.config.seed}: {' '.join(str(error).split())}"
        progress.note(f"{text}; the other seeds continue")
        self.failures.append(text)
        write_document(run.dir, read_document(run.dir) | {"failed": str(error)})
        run.close()

    def _note(self, progress: Progress, evaluations: Mapping[Run, Sequence[dict[str, Any]]]) -> None:
        """Tell a person of evaluations: of a single run over its episodes, of several over seeds."""
        for records in zip(*evaluations.values(), strict=True):  # one protocol's, of every seed
            first, what = records[0], "episodes" if self._alone else "seeds"
            returns = first["returns"] if self._alone else [record["return"] for record in records]
            progress.note(describe(first, returns, what))

    def _seeds(self) -> list[Seed]:
        return [run.seed for run in self.runs]

    def close(self) -> None:
        """Close every environment."""
        for run in self.runs:
            run.close()
        self._evaluator.close()


def start(config: Config, folder: Path, seeds: Sequence[int] = ()) -> Ending:
    """Train from the beginning into a new folder; with `seeds`, each of them into a folder of its own in it.

    Raises:
      ConfigError: a configuration that cannot run, or a folder that exists; nothing is written then.
      CheckpointError: a checkpoint that cannot be written.
      EnvironmentFault, Diverged: a fault of a single run on the way; what was written stays.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ConfigError(f"{folder} exists: choose another --name, or resume it with --resume={folder}")
    folders = {seed: folder_of(folder, seed) for seed in seeds} or {config.seed: folder}
    with closing(Session(dataclasses.replace(config, seed=next(iter(folders))), folders, not seeds)) as session:
        session.start()
        source = provenance.describe()
        for run in session.runs:
            write_document(run.dir, {"config": to_dict(run.config)} | source)
        return _train(session)


def resume(folder: Path, overrides: Mapping[str, Any]) -> Ending:
    """Continue exactly where the newest checkpoint of a run stands.

    Of several seeds, continue with all that did not fail, from the newest checkpoint that they have in common.
    `overrides` maps dotted field names to new values, of `RESUMABLE` and `AHEAD` only; `config.json` takes them over.

    Raises:
      ConfigError: not a run, nothing left of it, or a change that would make it another run.
      CheckpointError: no checkpoint that can be used.
      EnvironmentFault, Diverged: a fault of a single run on the way; what was written stays.
    """
    several = has_seeds(folder)
    found = [path.parent for path in folder.glob("seed_*/config.json")] if several else [folder]
    documents = {each: overridden(each, overrides) for each in found}
    alive = {each: document for each, document in documents.items() if not (several and "failed" in document)}
    if not alive:
        raise ConfigError(f"{folder}: every seed failed; there is nothing to resume")
    configs = {each: parse_config(each, document["config"]) for each, document in alive.items()}
    folders = {config.seed: each for each, config in sorted(configs.items(), key=lambda item: item[1].seed)}
    config = _common_config(folders, configs)
    step = _common_step(folder, list(folders.values()))
    loaded = checkpoint.load(next(iter(folders.values())) / "checkpoints" / str(step))
    with closing(Session(config, folders, not several, growth.from_host(loaded[1]["stage"]))) as session:
        session.restore(step, loaded)
        for each, document in alive.items():
            write_document(each, provenance.resumed(document | {"config": to_dict(configs[each])}, step))
        return _train(session)


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


def _train(session: Session) -> Ending:
    with ExitStack() as stack:
        for run in session.runs:
            stack.enter_context(locked(run.dir))
        return session.train(stack.enter_context(Interrupt()))
