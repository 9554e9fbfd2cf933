"""From the first step of a session to its last: collect, learn, grow, write what is due, leave out what fails."""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from typing import TextIO, TypeVar

from lsp.config import Config, ConfigError
from lsp.storage import checkpoint
from lsp.storage.outputs import Outputs
from lsp.storage.run_folder import read_document, write_document
from lsp.training import growth
from lsp.training.callbacks import Hooks, Status
from lsp.training.divergence import Diverged
from lsp.training.endings import Ending, rescue
from lsp.training.evaluate import Evaluator, about_cuts, describe
from lsp.training.interrupt import Interrupt, Interrupted
from lsp.training.loop import TrainingLoop
from lsp.training.progress import COMPILING, Progress
from lsp.training.results import Evaluation
from lsp.training.run import Run, crossed
from lsp.training.seed import Seed

T = TypeVar("T")
FIRST_CHECKPOINT = 600.0
"""Seconds after which the first checkpoint is written, if steps have not brought it before: no default loses hours."""


class Training:
    """Trains the runs of a session, all at the same step."""

    def __init__(
        self,
        config: Config,
        runs: list[Run],
        loop: TrainingLoop,
        evaluator: Evaluator,
        alone: bool,
        interrupt: Interrupt,
        stream: TextIO | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        """Prepare to train.

        Args:
          config: that of any seed.
          runs: that have been started or restored; those that fail are taken out of the list.
          loop: what trains them.
          evaluator: of any seed.
          alone: whether this is a single run, whose fault ends the session.
          interrupt: that may ask to stop, entered.
          stream: where progress is shown; None: standard error.
          hooks: what else to call; they share the `interrupt`.
        """
        self._config, self._runs, self._loop, self._evaluator = config, runs, loop, evaluator
        self._alone, self._interrupt, self._stream = alone, interrupt, stream
        self._hooks, self._chunk = hooks or Hooks(), config.block * config.executors.count
        self._files: Mapping[Run, Outputs] = {}
        self._failures: list[str] = []
        recent = [episode.episode_return for run in runs for episode in run.recent]
        self._shown: deque[float] = deque(recent, maxlen=10 * len(runs))  # returns of the latest episodes
        self._told_of_cuts = False
        self._learns = False  # whether the functions of this stage have been compiled and learning has begun
        saved = all(checkpoint.steps(run.dir / "checkpoints") for run in runs)
        never = saved or config.checkpoint_every == 0
        self._first_checkpoint = math.inf if never else time.monotonic() + FIRST_CHECKPOINT

    def complete(self) -> Ending:
        """Train to the end, or to an interrupt, and write checkpoints. Of a single run, raises what ended it."""
        progress = Progress(self._config.steps, self._step, self._stream, updates=self._updates)
        with self._outputs() as self._files, closing(progress) as self._progress:
            with contextlib.suppress(Interrupted):
                with self._progress.aside("growth"):
                    self._warm_up()  # what the session before was about to do
                self._write()
                while self._runs and self._step < self._config.steps:
                    self._interrupt.check()
                    while self._runs and growth.due(self._config, self._runs[0].stage, self._step):
                        with self._progress.aside("growth"):
                            self._grow()
                    if self._runs:
                        self._advance()
            finished = not any(run.seed.step < self._config.steps or run.due or run.warm_up_left for run in self._runs)
            if self._runs:
                self._finish(finished)
        return Ending(finished, self._failures)

    @property
    def _step(self) -> int:
        """Environment steps so far, of each seed."""
        return max(run.seed.step for run in self._runs)

    def _updates(self) -> int:
        """Updates so far, of each seed; 0 where none is left."""
        return max((run.seed.updates for run in self._runs), default=0)

    def _advance(self) -> None:
        """One step of every executor, and whatever is due after it."""
        before = self._step
        episodes = self._each(lambda run: self._loop.collect(run.seed), lost=True)
        if not self._runs:
            return
        with self._for_all(lost=True):
            if self._learns:
                self._loop.answer(self._seeds())
            else:
                self._begin_learning()
        if not self._runs:
            return
        self._shown.extend(episode.episode_return for ended in episodes.values() for episode in ended)
        self._progress.update(self._step, self._shown)
        early = time.monotonic() >= self._first_checkpoint
        for run in self._runs:
            run.note(before, episodes[run], early)
        if self._runs[0].due:
            if "checkpoint" in self._runs[0].due:
                self._first_checkpoint = math.inf
            self._write()
        if self._hooks.on_step and self._runs and crossed(before, self._step, self._chunk):
            self._hooks.call(self._hooks.on_step, self._status())

    def _begin_learning(self) -> None:
        """A step before which this stage has not learned: the first dispatch that does is compiled, and takes long."""
        first, updates = self._runs[0].seed, self._updates()
        dispatch = self._loop.device.updates_per_dispatch
        # Asynchronous loops count the steps of a dispatch as they answer: look one ahead.
        ahead = self._config.block * self._config.executors.count if self._config.executors.mode == "async" else 0
        compiles = first.budget.updates_due(self._config, first.step + ahead, updates) >= dispatch
        with self._progress.aside("compiling", text=COMPILING if compiles else ""):
            self._loop.answer(self._seeds())
        if self._updates() > updates:
            self._learns = True
            self._progress.restart()

    def _write(self) -> None:
        """Write what is due, and tell a person of evaluations: over a run's episodes, or over several seeds."""
        with self._writing():
            evaluations = self._each(lambda run: run.write(self._files[run], self._watch))
        for records in zip(*filter(None, evaluations.values()), strict=True):  # one protocol's, of every seed
            first, what = records[0], "episodes" if self._alone else "seeds"
            returns = first["returns"] if self._alone else [record["return"] for record in records]
            self._progress.note(describe(first, returns, what))
            if (note := about_cuts(records, self._config.evaluation.max_episode_steps)) and not self._told_of_cuts:
                self._progress.note(note)
                self._told_of_cuts = True
        for run, records in evaluations.items() if self._hooks.on_evaluation else ():
            for record in records:
                self._hooks.call(self._hooks.on_evaluation, Evaluation.of(record, run.config.seed))

    def _status(self) -> Status:
        step, steps, returns = self._step, self._config.steps, tuple(self._shown)
        return Status(step, steps, self._updates(), returns, self._runs[0].dir)

    def _writing(self) -> AbstractContextManager[None]:
        """Around what is written now, where that is more than a line of metrics."""
        due = self._runs[0].due if self._runs else []
        if "evaluation" in due:
            return self._progress.aside("evaluation", self._config.evaluation.every)
        if "checkpoint" in due:
            return self._progress.aside("checkpoint", self._config.checkpoint_every)
        return contextlib.nullcontext()

    def _watch(self, text: Callable[[], str]) -> None:
        """Between two steps of what takes long: show it, and raise Interrupted where somebody wants to stop."""
        self._interrupt.check()
        self._progress.busy(text)

    def _finish(self, finished: bool) -> None:
        what = "a checkpoint" if self._alone else f"{len(self._runs)} checkpoints"
        self._progress.note(f"writing {what} at step {self._step:,}")
        self._each(lambda run: run.save(self._files[run]))
        if finished:
            self._each(lambda run: run.save_layers())

    @contextmanager
    def _outputs(self) -> Iterator[dict[Run, Outputs]]:
        with ExitStack() as stack:
            yield {run: stack.enter_context(closing(run.open())) for run in self._runs}

    def _grow(self) -> None:
        """Freeze the layer in training of every seed, begin the next stage, and evaluate the policies again."""
        self._each(lambda run: run.end_stage())
        if not self._runs:
            return
        stage = self._runs[0].stage
        self._progress.note(growth.announcement(self._config, stage, self._step))
        self._learns = False  # what comes now is compiled for this stage
        with self._progress.aside("growing", text="growing the next layer"), self._for_all():
            following, left = growth.grow(self._config, stage, self._loop, self._seeds(), self._interrupt.check)
        if not self._runs:
            return
        self._evaluator.evaluate(self._loop.device.recipe.agent)
        stage_of = dict(zip(self._runs, following, strict=True))

        def begin(run: Run) -> None:
            run.begin_stage(stage_of[run], self._evaluator)
            run.warm_up_left = left
            if (dropped := stage_of[run].dropped) > 0:
                note = growth.DROPPED.format(dropped)
                self._progress.note(note if self._alone else f"seed {run.config.seed}: {note}")
            if dropped == 1.0 > min(stage.dropped for stage in following):
                raise Diverged("none of its replay's transitions is in the new layer's range: run this seed alone")

        self._each(begin)
        self._warm_up()
        self._write()

    def _warm_up(self) -> None:
        """Make the updates of the critics alone with which a stage begins, as far as they are still to be made."""
        if not self._runs or self._runs[0].warm_up_left == 0:
            return
        first = self._runs[0]

        def watch(text: str) -> None:
            self._watch(lambda: text)

        with self._for_all():
            left = growth.warm_up(self._config, first.stage, self._loop.device, first.warm_up_left, watch)
            for run in self._runs:
                run.warm_up_left = left
                self._loop.renew_policy(run.seed)

    @contextmanager
    def _for_all(self, lost: bool = False) -> Iterator[None]:
        """Do something for all runs at once, whose fault is of all."""
        recipe = self._loop.device.recipe
        try:
            yield
        except Interrupted:
            raise
        except (Exception, SystemExit) as error:
            usable = self._loop.device.recipe is recipe
            for run in self._runs:
                self._fail(run, error, lost, usable)
            self._runs.clear()

    def _each(self, do: Callable[[Run], T], lost: bool = False) -> dict[Run, T]:
        """What `do` gives for every run; of several, runs that fail in it are left out from now on."""
        results: dict[Run, T] = {}
        failed = []
        try:
            for run in self._runs:
                try:
                    results[run] = do(run)
                except Interrupted:
                    raise
                except (Exception, SystemExit) as error:  # environments raise what they like
                    self._fail(run, error, lost)
                    failed.append(run)
        finally:
            if failed:
                self._runs[:] = [run for run in self._runs if run not in failed]
        return results

    def _fail(self, run: Run, error: BaseException, lost: bool, usable: bool = True) -> None:
        """Save what is sound of a run, and leave it out; of a single one raise why."""
        fault = rescue(run, error, self._files[run], lost, usable)
        if self._alone:
            raise fault from error
        text = f"seed {run.config.seed}: {' '.join(str(fault).split())}"
        self._failures.append(text)
        self._progress.note(f"{text}; the other seeds continue")
        with contextlib.suppress(ConfigError, OSError):  # a full disk
            write_document(run.dir, read_document(run.dir) | {"failed": str(fault)})
        with contextlib.suppress(Exception):  # whatever an environment may raise: nobody needs it any more
            run.close()

    def _seeds(self) -> list[Seed]:
        return [run.seed for run in self._runs]
