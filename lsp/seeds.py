"""Many seeds of one configuration in one process: a run's folder for each, and one dispatch for all (`lsp.sweep`).

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

import jax

from lsp import agents, checkpoint, envs, growth, memory, provenance
from lsp.config import Config, ConfigError, to_dict, validate
from lsp.dispatch import init_state
from lsp.divergence import Diverged
from lsp.envs import EnvironmentFault
from lsp.evaluate import Evaluator
from lsp.fields import flag, flatten, to_text
from lsp.interrupt import Interrupt
from lsp.metrics import Progress
from lsp.outputs import Outputs
from lsp.resuming import overridden
from lsp.run_dir import locked, parse_config, read_document, write_document
from lsp.sweep import Lane, Sweep
from lsp.train import Run, Shared, describe
from lsp.types import EnvSpec

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

    def __init__(self, config: Config, folders: Mapping[int, Path]) -> None:
        """Make environments and compiled functions for seeds and their folders. Writes nothing. Raises ConfigError."""
        self.config = validate(config)
        for name, can in (("layers", config.layers == 1), ("executors.mode", config.executors.mode == "sync")):
            if not can:
                value = to_text(flatten(config)[name])
                raise ConfigError(f"{flag(name)}={value} does not go with --seeds: run the seeds one after the other")
        make_env = partial(envs.make, config.env, **json.loads(config.env_kwargs))
        with closing(make_env()) as env:
            spec = envs.spec_of(env)
        self._check_memory(spec, len(folders))
        stage = growth.first(self.config, spec)
        recipe = stage.recipe(self.config, spec)
        count = config.evaluation.episodes
        self._evaluator = Evaluator(recipe.agent, make_env, config.evaluation.protocols, range(count))
        self.sweep = Sweep(recipe, spec, list(folders))
        shared = Shared(stage, recipe, self._evaluator, self.sweep)
        self.runs = [
            Run(dataclasses.replace(config, seed=seed), folder, shared=shared) for seed, folder in folders.items()
        ]
        self.failures: list[str] = []

    def _check_memory(self, spec: EnvSpec, count: int) -> None:
        memory.check_seeds(state_bytes(self.config, spec), count)

    @property
    def step(self) -> int:
        """Environment steps so far, of each seed."""
        return max(run.loop.step for run in self.runs)

    def start(self) -> None:
        """Reset every environment and choose the first actions."""
        for run in self.runs:
            run.loop.start()
        self.sweep.start(self._lanes())

    def restore(self) -> None:
        """Go on from the newest checkpoint that every seed has; later ones are removed. Raises CheckpointError."""
        roots = [run.dir / "checkpoints" for run in self.runs]
        common = set.intersection(*(set(checkpoint.steps(root)) for root in roots))
        if not common:
            where = ", ".join(f"{root.parent.name}: {checkpoint.steps(root) or 'none'}" for root in roots)
            raise checkpoint.CheckpointError(f"{roots[0].parents[1]}: no checkpoint that all seeds have ({where})")
        step = max(common)
        for run in self.runs:
            run.restore(*checkpoint.load(run.dir / "checkpoints" / str(step)))
        for newer in (root / str(later) for root in roots for later in checkpoint.steps(root) if later > step):
            shutil.rmtree(newer)
        print(f"{len(self.runs)} seeds go on at step {step:,} of {self.config.steps:,}", file=sys.stderr)

    def train(self, interrupt: Interrupt) -> Outcome:
        """Go on to the end, or to an interrupt, and write checkpoints."""
        shown: deque[float] = deque(maxlen=10 * len(self.runs))
        with self._outputs() as outputs, closing(Progress(self.config.steps, self.step)) as progress:
            while self.runs and self.step < self.config.steps and not interrupt.requested:
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


def state_bytes(config: Config, spec: EnvSpec) -> int:
    """Bytes on the device of one run: replay when full, learner, optimizer."""
    state = jax.eval_shape(partial(init_state, agents.build(config, spec), spec), jax.random.key(0))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))


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

    `overrides`: as of `lsp.train.resume`.

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
    sweep = Seeds(first, by_seed)
    with closing(sweep):
        sweep.restore()
        for folder, document in alive.items() if overrides else ():
            write_document(folder, document | {"config": to_dict(configs[folder])})
        return _train(sweep)


def _train(sweep: Seeds) -> Outcome:
    with ExitStack() as stack:
        for run in sweep.runs:
            stack.enter_context(locked(run.dir))
        return sweep.train(stack.enter_context(Interrupt()))
