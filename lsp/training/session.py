"""Training the seeds of one configuration from their first step to their last: start, train, resume.

    runs/NAME                             a single run
    runs/NAME/seed_0  runs/NAME/seed_1    one folder a seed of several, each a run like any other

One loop trains them all. A seed that diverges, or whose environment fails, ends a single run; of several it is noted in
its `config.json` and left out, and the others continue.
"""

import contextlib
import dataclasses
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, TextIO

from lsp import envs
from lsp.agents.stack import Layer
from lsp.config import Config, ConfigError, to_dict, validate
from lsp.envs import goal_probe
from lsp.executors.factory import check_rewards
from lsp.storage import checkpoint, provenance, sinks
from lsp.storage.run_folder import locked, require_new, seed_folder, write_document
from lsp.training import announce, growth, memory, resuming
from lsp.training.asynchronous import AsyncLoop
from lsp.training.callbacks import Hooks
from lsp.training.device import Device
from lsp.training.endings import Ending
from lsp.training.evaluate import Evaluator
from lsp.training.growth import Stage
from lsp.training.interrupt import Interrupt
from lsp.training.loop import Loop, TrainingLoop
from lsp.training.pipelined import ActBeforeUpdates
from lsp.training.run import Run, env_seeds, make_executors
from lsp.training.seed import Seed
from lsp.training.train import Training

LOOPS: dict[str, Callable[[Device], TrainingLoop]] = {
    "sync": Loop,
    "sync_pipelined": lambda device: Loop(device, ActBeforeUpdates()),
    "async": AsyncLoop,
}


class Session:
    """The runs of one configuration, and what they share. Build it, `start` or `restore`, then `train`."""

    def __init__(
        self,
        config: Config,
        folders: Mapping[int, Path],
        alone: bool,
        stage: Stage | None = None,
        stream: TextIO | None = None,
    ) -> None:
        """Make environments and compiled functions. Writes nothing.

        Args:
          config: that of any seed.
          folders: of the seeds.
          alone: whether this is a single run, whose fault ends the session.
          stage: where to continue; None: the first.
          stream: where it says what it does; None: standard error.

        Raises:
          ConfigError: a configuration that cannot run.
        """
        self.config, self._alone, self._stream = validate(config), alone, stream
        first = next(iter(folders.values()))
        self._shown = announce.typed(first if alone else first.parent)  # before an environment may change the folder
        config, self.runs = self.config, list[Run]()
        sinks.check(config.track)
        if config.executors.mode != "sync" and len(folders) > 1:
            remedy = "run the seeds one after the other"
            raise ConfigError(f"--executors.mode={config.executors.mode} does not go with --seeds: {remedy}")
        layers = growth.load_layers(config) if stage is None else ()  # before an environment may change the folder
        self._spare = [envs.make_env(config)]  # used where the first one is needed: some tasks allow no second one
        self._evaluator = self._make_evaluator()
        try:
            self._make(folders, stage, layers)
        except BaseException:
            self.close()
            raise

    def _make(self, folders: Mapping[int, Path], stage: Stage | None, layers: tuple[Layer, ...]) -> None:
        config, first = self.config, self._spare[0]
        spec = envs.spec_of(first)
        notes = [*announce.about(config), *goal_probe.probe(first)]
        new = stage is None
        if stage is None:
            check_rewards(config, first)
            stage = growth.first(config, spec, layers)
        memory.check(config, spec, len(folders))
        self._subject = announce.Subject(config, spec, self._shown, () if self._alone else tuple(folders))
        self._notes = announce.notes(notes)
        recipe = stage.recipe(config, spec)
        self.loop = LOOPS[config.executors.mode](Device(recipe, spec, list(folders)))
        self._evaluator.evaluate(recipe.agent)
        inproc, evaluates = config.executors.engine == "inproc", config.evaluation.every > 0
        relabels = config.goals.kind != "none"
        judges = relabels and spec.goals is not None and spec.goals.on_host  # by functions of this environment's own
        if not (inproc or evaluates or judges):
            self._spare.pop().close()
        for index, (seed, folder) in enumerate(folders.items()):
            of_seed = dataclasses.replace(config, seed=seed)
            spare = self._spare.pop() if inproc and self._spare else None
            host = Seed(index, of_seed, make_executors(of_seed, stage, spec, spare))
            self.runs.append(Run(of_seed, folder, host, stage, self.loop, self._evaluator))
        if evaluates:
            self._evaluator.prepare()
        if new:  # only now, for what cannot run says why and nothing else
            said = announce.header(self._subject, memory.replay_bytes(config, spec))
            _say([*said, *self._notes, announce.COMPILING], self._stream)

    def _make_evaluator(self) -> Evaluator:
        def make_env() -> envs.BoxEnv:
            return self._spare.pop() if self._spare else envs.make_env(self.config)

        config = self.config.evaluation
        seeds = env_seeds(self.config, "evaluate", config.episodes)
        return Evaluator(make_env, config.protocols, seeds, config.max_episode_steps)

    def start(self) -> None:
        """Reset every environment and choose the first actions."""
        self.loop.start([run.seed for run in self.runs])

    def restore(self, step: int, first: tuple[Mapping[str, Any], Mapping[str, Any]]) -> None:
        """Continue from the checkpoints of `step`, of which that of the `first` run is loaded; later ones are removed.

        Raises:
          ConfigError, CheckpointError: as of `Run.restore`.
        """
        roots = [run.dir / "checkpoints" for run in self.runs]
        loaded = (checkpoint.load(roots[i] / str(step)) if i else first for i in range(len(roots)))
        exact = [run.restore(*each) for run, each in zip(self.runs, loaded, strict=True)]
        if not all(exact):
            self.loop.act_again([run.seed for run in self.runs])
        for newer in (root / str(later) for root in roots for later in checkpoint.steps(root) if later > step):
            shutil.rmtree(newer)
        _say([*announce.resumed(self._subject, step, self.runs[0].seed.updates), *self._notes], self._stream)

    def train(self, interrupt: Interrupt, hooks: Hooks | None = None) -> Ending:
        """Train to the end, or to an interrupt, and write checkpoints. Of a single run, raises what ended it."""
        shared = self.config, self.runs, self.loop, self._evaluator, self._alone
        return Training(*shared, interrupt, self._stream, hooks).complete()

    def close(self) -> None:
        """Close every environment."""
        everything: tuple[Any, ...] = (*self.runs, *self._spare, self._evaluator)
        for each in everything:
            with contextlib.suppress(Exception):  # whatever an environment may raise: nobody needs it any more
                each.close()


def _say(lines: Sequence[str], stream: TextIO | None) -> None:
    with contextlib.suppress(OSError):  # nobody reads: training notices, and saves what there is
        for line in lines:
            print(line, file=stream or sys.stderr)


def start(
    config: Config,
    folder: Path,
    seeds: Sequence[int] = (),
    stream: TextIO | None = None,
    hooks: Hooks | None = None,
) -> Ending:
    """Train from the beginning into a new folder; with `seeds`, each of them into a folder of its own in it.

    `folder` should be absolute, for environments may change the working folder. What there is to say goes to `stream`,
    by default standard error; `hooks` are called on the way, and may stop it.

    Raises:
      ConfigError: a configuration that cannot run, or a folder that exists; nothing is written then.
      Ended, Diverged: a fault of a single run on the way; what could be saved was.
      EnvironmentFault: of an environment that cannot even start; nothing is written.
    """
    require_new(folder)
    folders = {seed: seed_folder(folder, seed) for seed in seeds} or {config.seed: folder}
    config = dataclasses.replace(config, seed=next(iter(folders)))
    with closing(Session(config, folders, not seeds, stream=stream)) as session:
        with _hint(session.config):
            session.start()
        source = provenance.describe()
        for run in session.runs:
            write_document(run.dir, {"config": to_dict(run.config)} | source)
        return _train(session, hooks)


def resume(
    folder: Path, overrides: Mapping[str, Any], stream: TextIO | None = None, hooks: Hooks | None = None
) -> Ending:
    """Continue exactly where the newest checkpoint of a run stands. One that is finished is left alone, and says so.

    Of several seeds, continue with all that did not fail, from the newest checkpoint that they have in common.
    `overrides` maps dotted field names to new values, of `RESUMABLE` and `AHEAD` only; `config.json` takes them over.
    `folder` should be absolute, for environments may change the working folder. What there is to say goes to `stream`,
    by default standard error; `hooks` are called on the way, and may stop it.

    Raises:
      ConfigError: not a run, nothing left of it, or a change that would make it another run.
      CheckpointError: no checkpoint that can be used.
      Ended, Diverged: a fault of a single run on the way; what could be saved was.
      EnvironmentFault: of an environment that cannot even start.
    """
    found = resuming.find(folder, overrides)
    if found.finished and not overrides.keys() & resuming.AHEAD:  # another layer may be what is to come
        _say(announce.finished(found.config, announce.typed(folder), found.step), stream)
        return Ending(True, [])
    loaded = checkpoint.load(next(iter(found.folders.values())) / "checkpoints" / str(found.step))
    stage = growth.from_host(loaded[1]["stage"])
    with closing(Session(found.config, found.folders, found.alone, stage, stream)) as session:
        with _hint(session.config):
            session.restore(found.step, loaded)
        for each, document in found.documents.items():
            write_document(each, provenance.resumed(document, found.step))
        return _train(session, hooks)


@contextmanager
def _hint(config: Config) -> Iterator[None]:
    """Worker processes make their environments when they are first asked: say what may be wrong with one too many."""
    try:
        yield
    except ConfigError as error:
        if config.executors.engine == "inproc" or config.evaluation.every == 0:
            raise
        remedy = "where a task allows a single one, add --evaluation.every=0 and --executors.count=1"
        raise ConfigError(f"{error}; {remedy}") from error


def _train(session: Session, hooks: Hooks | None) -> Ending:
    with ExitStack() as stack:
        for run in session.runs:
            stack.enter_context(locked(run.dir))
        interrupt = Interrupt() if hooks is None else hooks.interrupt
        return session.train(stack.enter_context(interrupt), hooks)
