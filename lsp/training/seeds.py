"""Many seeds of one configuration in one process: a run's folder for each, one dispatch for all (`lsp.training.sweep`).

    runs/NAME/seed_0   runs/NAME/seed_1   ...        each a run like any other

A seed that diverges, or whose environment fails, is noted down in its `config.json` and left out; the others go on.
"""

import dataclasses
import json
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
from lsp.executors.factory import check_rewards, env_spec
from lsp.storage import checkpoint, provenance
from lsp.storage.metrics import Progress
from lsp.storage.outputs import Outputs
from lsp.storage.run_folder import locked, parse_config, read_document, write_document
from lsp.training import growth, growth_lanes, memory
from lsp.training.divergence import Diverged
from lsp.training.evaluate import Evaluator, describe
from lsp.training.growth import Stage
from lsp.training.interrupt import Interrupt
from lsp.training.resuming import overridden
from lsp.training.run import Run, Shared
from lsp.training.sweep import Lane, Sweep

T = TypeVar("T")


class Outcome(NamedTuple):
    """How a sweep ended."""

    finished: bool  # false where it was interrupted
    failures: list[str]  # a line for each seed that was left out


def folder_of(sweep_dir: Path, seed: int) -> Path:
    """The run's folder of one seed."""
    return sweep_dir / f"seed_{seed}"


def is_sweep(folder: Path) -> bool:
    """Whether `folder` holds the runs of a sweep."""
    return not (folder / "config.json").exists() and any(folder.glob("seed_*/config.json"))


class Seeds:
    """The runs of a sweep, and what they share. Build it, `start` or `restore`, then `train`."""

    def __init__(self, config: Config, folders: Mapping[int, Path], stage: Stage | None = None) -> None:
        """Make environments and compiled functions for seeds and their folders. Writes nothing. Raises ConfigError.

        `stage`: where to go on; None: the first.
        """
        self.config = validate(config)
        if config.executors.mode != "sync":
            remedy = "run the seeds one after the other"
            raise ConfigError(f"--executors.mode={config.executors.mode} does not go with --seeds: {remedy}")
        if stage is None:
            check_rewards(self.config)
        make_env = partial(envs.make, config.env, **json.loads(config.env_kwargs))
        spec = env_spec(self.config)
        memory.check_seeds(self.config, spec, len(folders))
        self.stage = stage or growth.first(self.config, spec)
        recipe = self.stage.recipe(self.config, spec)
        count = config.evaluation.episodes
        self._evaluator = Evaluator(recipe.agent, make_env, config.evaluation.protocols, range(count))
        self.sweep = Sweep(recipe, spec, list(folders))
        shared = Shared(self.stage, recipe, self._evaluator, self.sweep)
        self.runs = [
            Run(dataclasses.replace(config, seed=seed), folder, shared=shared) for seed, folder in folders.items()
        ]
        self.failures: list[str] = []

    @property
    def step(self) -> int:
        """Environment steps so far, of each seed."""
        return max(run.loop.step for run in self.runs)

    def start(self) -> None:
        """Reset every environment and choose the first actions."""
        for run in self.runs:
            run.loop.start()
        self.sweep.start(self._lanes())

    def restore(self, step: int) -> None:
        """Go on from the checkpoints of `step`; later ones are removed. Raises CheckpointError."""
        roots = [run.dir / "checkpoints" for run in self.runs]
        for run, root in zip(self.runs, roots, strict=True):
            run.restore(*checkpoint.load(root / str(step)))
        for newer in (root / str(later) for root in roots for later in checkpoint.steps(root) if later > step):
            shutil.rmtree(newer)
        print(f"{len(self.runs)} seeds go on at step {step:,} of {self.config.steps:,}", file=sys.stderr)

    def train(self, interrupt: Interrupt) -> Outcome:
        """Go on to the end, or to an interrupt, and write checkpoints."""
        shown: deque[float] = deque(maxlen=10 * len(self.runs))
        with self._outputs() as outputs, closing(Progress(self.config.steps, self.step)) as progress:
            while self.runs and self.step < self.config.steps and not interrupt.requested:
                while self.runs and growth.due(self.config, self.stage, self.step):
                    self._grow(outputs, progress)
                if not self.runs:
                    break
                before = self.step
                episodes = self._each(lambda run: self._lane(run).collect(), progress)
                if not self.runs:
                    break
                self.sweep.answer(self._lanes())
                shown.extend(episode.episode_return for ended in episodes.values() for episode in ended)
                progress.update(self.step, shown)
                records = self._each(lambda run: run.record(before, episodes[run], outputs[run]), progress)  # noqa: B023
                self._note(progress, list(records.values()))
            if self.runs:
                progress.note(f"writing {len(self.runs)} checkpoints at step {self.step:,}")
                self._each(lambda run: run.save(outputs[run]), progress)
                if self.step >= self.config.steps:
                    self._each(lambda run: run.save_layers(), progress)
        return Outcome(not self.runs or self.step >= self.config.steps, self.failures)

    @contextmanager
    def _outputs(self) -> Iterator[dict[Run, Outputs]]:
        with ExitStack() as stack:
            yield {run: stack.enter_context(closing(run.open())) for run in self.runs}

    def _grow(self, outputs: Mapping[Run, Outputs], progress: Progress) -> None:
        """Freeze the layer in training of every seed, begin the next stage, and judge the policies anew."""
        self._each(lambda run: run.end_stage(), progress)
        if not self.runs:
            return
        progress.note(growth.announcement(self.config, self.stage, self.step))
        stages, recipe = growth_lanes.grow(self.config, self.stage, self.sweep, self._lanes())
        self.stage = stages[0]
        self._evaluator.judge(recipe.agent)
        stage_of = dict(zip(self.runs, stages, strict=True))

        def begin(run: Run) -> list[dict[str, Any]]:
            stage = stage_of[run]
            if stage.dropped > 0:
                progress.note(f"seed {run.config.seed}: {growth.DROPPED.format(stage.dropped)}")
            if stage.dropped == 1.0:
                raise Diverged("none of its replay's rows is in the new layer's range: run this seed alone")
            return run.begin_stage(stage, recipe, self._evaluator, outputs[run])

        self._note(progress, list(self._each(begin, progress).values()))

    def _each(self, do: Callable[[Run], T], progress: Progress) -> dict[Run, T]:
        """What `do` gives for every run; runs that fail in it are left out from now on."""
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
        try:
            run.require_finite(run.loop.state.agent)  # a broken policy breaks environments: name the cause
        except Diverged as cause:
            error = cause
        text = f"seed {run.config.seed}: {' '.join(str(error).split())}"
        progress.note(f"{text}; the other seeds go on")
        self.failures.append(text)
        write_document(run.dir, read_document(run.dir) | {"failed": str(error)})
        run.close()

    def _note(self, progress: Progress, records: Sequence[list[dict[str, Any]]]) -> None:
        for same in zip(*records, strict=True):  # one protocol's, of every seed
            progress.note(describe(same[0], [record["return"] for record in same], "seeds"))

    def _lane(self, run: Run) -> Lane:
        assert isinstance(run.loop, Lane)
        return run.loop

    def _lanes(self) -> list[Lane]:
        return [self._lane(run) for run in self.runs]

    def close(self) -> None:
        """Close every environment."""
        for run in self.runs:
            run.close()
        self._evaluator.close()


def start(config: Config, seeds: Sequence[int], sweep_dir: Path) -> Outcome:
    """Train all seeds from the beginning into a new folder `sweep_dir`.

    Raises:
      ConfigError: a configuration that cannot run, or a folder that exists; nothing is written then.
      CheckpointError: a checkpoint that cannot be written.
    """
    if sweep_dir.is_file() or (sweep_dir.is_dir() and any(sweep_dir.iterdir())):
        raise ConfigError(f"{sweep_dir} exists: choose another --name, or go on with --resume={sweep_dir}")
    sweep = Seeds(config, {seed: folder_of(sweep_dir, seed) for seed in seeds})
    with closing(sweep):
        sweep.start()
        source = provenance.describe()
        for run in sweep.runs:
            write_document(run.dir, {"config": to_dict(run.config)} | source)
        return _train(sweep)


def resume(sweep_dir: Path, overrides: Mapping[str, Any]) -> Outcome:
    """Go on with every seed that did not fail, from the newest checkpoint that all of them have.

    `overrides`: as of `lsp.training.run.resume`.

    Raises:
      ConfigError: not a sweep, nothing left of it, or a change that would make it another.
      CheckpointError: no checkpoint that can be used.
    """
    folders = [path.parent for path in sweep_dir.glob("seed_*/config.json")]
    documents = {folder: overridden(folder, overrides) for folder in folders}
    alive = {folder: document for folder, document in documents.items() if "failed" not in document}
    if not alive:
        raise ConfigError(f"{sweep_dir}: every seed failed; there is nothing to go on with")
    configs = {folder: parse_config(folder, document["config"]) for folder, document in alive.items()}
    by_seed = {config.seed: folder for folder, config in sorted(configs.items(), key=lambda item: item[1].seed)}
    first = configs[next(iter(by_seed.values()))]
    for folder, config in configs.items():
        if dataclasses.replace(config, seed=first.seed) != first:
            raise ConfigError(f"{folder / 'config.json'} differs from that of other seeds: resume it alone")
    step = _common_step(sweep_dir, list(by_seed.values()))
    _, host = checkpoint.load(next(iter(by_seed.values())) / "checkpoints" / str(step))
    sweep = Seeds(first, by_seed, growth.from_host(host["stage"]))
    with closing(sweep):
        sweep.restore(step)
        for folder, document in alive.items() if overrides else ():
            write_document(folder, document | {"config": to_dict(configs[folder])})
        return _train(sweep)


def _common_step(sweep_dir: Path, folders: Sequence[Path]) -> int:
    """The newest step of which every seed has a checkpoint. Raises CheckpointError."""
    steps = {folder.name: checkpoint.steps(folder / "checkpoints") for folder in folders}
    common = set.intersection(*map(set, steps.values()))
    if not common:
        where = ", ".join(f"{name}: {found or 'none'}" for name, found in steps.items())
        raise checkpoint.CheckpointError(f"{sweep_dir}: no checkpoint that all seeds have ({where})")
    return max(common)


def _train(sweep: Seeds) -> Outcome:
    with ExitStack() as stack:
        for run in sweep.runs:
            stack.enter_context(locked(run.dir))
        return sweep.train(stack.enter_context(Interrupt()))
