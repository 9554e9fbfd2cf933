"""A run from its first step to its last: directory, loop, metrics, evaluation, checkpoints, signals, resume."""

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lsp import agents, checkpoint, envs, memory, provenance
from lsp.config import Config, ConfigError, from_dict, to_dict, validate
from lsp.episodes import summarize
from lsp.evaluate import Evaluator
from lsp.executors.executor import Executor
from lsp.executors.inproc import InProcess
from lsp.interrupt import Interrupt
from lsp.loop import Loop, RunState, Stream, stream_key
from lsp.metrics import JsonLines, Progress
from lsp.types import Episode

RESUMABLE = {"steps", "log_every", "checkpoint_every", "milestone_every", "evaluation.every"}
"""What may be changed when a run goes on: nothing that would make it another run."""


class Diverged(RuntimeError):
    """Training produced numbers that are not finite. The message is one line."""


def seeds(config: Config, purpose: str, count: int) -> list[int]:
    """Environment seeds: `purpose` "collect" or "evaluate" never share one."""
    sequence = np.random.SeedSequence([config.seed, ["collect", "evaluate"].index(purpose)])
    return [int(seed) for seed in sequence.generate_state(count, np.uint32) >> 1]


class Run:
    """Everything a run holds open. Build it, then `train`; or `restore` first."""

    def __init__(self, config: Config, run_dir: Path) -> None:
        """Make environments and the compiled loop; nothing is written yet. Raises ConfigError."""
        self.config, self.dir = validate(config), run_dir
        self._make_env = partial(envs.make, config.env, **json.loads(config.env_kwargs))
        collect = seeds(config, "collect", config.executors.count)
        self._executors = InProcess(
            lambda i: Executor(self._make_env(), collect[i], config.gamma, config.n_step), config.executors.count
        )
        memory.check(config, self._executors.spec)
        recipe = agents.build(config, self._executors.spec)
        self._replay = recipe.replay
        self.loop = Loop(recipe, self._executors)
        self._evaluator = Evaluator(
            recipe.agent,
            self._make_env,
            config.evaluation.protocols,
            seeds(config, "evaluate", config.evaluation.episodes),
        )
        self._recent: list[Episode] = []  # since the last line of metrics
        self._seconds = 0.0  # of earlier sessions of this run

    def train(self, interrupt: Interrupt) -> bool:
        """Go on to the end, or to an interrupt; returns whether the end was reached. A checkpoint is written either way."""
        config, loop = self.config, self.loop
        with self._outputs() as (metrics, evaluations, progress):
            self._began = time.perf_counter()
            while loop.step < config.steps and not interrupt.requested:
                before = loop.step
                self._recent += loop.advance()
                progress.update(loop.step, [episode.episode_return for episode in self._recent])
                if _crossed(before, loop.step, config.log_every):
                    metrics.write(self._metrics_line())
                    self._recent = []
                if _crossed(before, loop.step, config.evaluation.every) or loop.step >= config.steps:
                    self._evaluate(evaluations, progress)
                if _crossed(before, loop.step, config.checkpoint_every) and loop.step < config.steps:
                    self.save(metrics, evaluations)
            progress.note(f"writing a checkpoint at step {loop.step:,}")
            self.save(metrics, evaluations)
        return loop.step >= config.steps

    @contextmanager
    def _outputs(self) -> Iterator[tuple[JsonLines, JsonLines, Progress]]:
        metrics, evaluations = JsonLines(self.dir / "metrics.jsonl"), JsonLines(self.dir / "eval.jsonl")
        progress = Progress(self.config.steps, self.loop.step)
        try:
            yield metrics, evaluations, progress
        finally:
            progress.close()
            metrics.close()
            evaluations.close()

    def _elapsed(self) -> float:
        return self._seconds + time.perf_counter() - self._began

    def _metrics_line(self) -> dict[str, Any]:
        loop = self.loop
        line = {"step": loop.step, "updates": loop.updates, "seconds": round(self._elapsed(), 3)}
        line |= {"episodes": len(self._recent)} | summarize(self._recent) | loop.metrics()
        wrong = [name for name in ("critic_loss", "policy_loss", "q") if not np.isfinite(line.get(name, 0.0))]
        if wrong:
            raise Diverged(
                f"training diverged: {wrong[0]} is {line[wrong[0]]} at step {loop.step:,}; earlier checkpoints in "
                f"{self.dir / 'checkpoints'} are intact; try a lower --critic.learning-rate or --flow.max-log-scale"
            )
        return line

    def _evaluate(self, evaluations: JsonLines, progress: Progress) -> None:
        key = stream_key(self.loop.root, Stream.EVALUATE, self.loop.step)
        for record in self._evaluator(self.loop.actor_params(), key):
            evaluations.write({"step": self.loop.step, "updates": self.loop.updates} | record)
            spread = np.std(record["returns"])
            text = f"{record['return']:,.0f} ± {spread:,.0f} over {len(record['returns'])} episodes"
            progress.note(f"step {self.loop.step:,}: {record['protocol']} policy returns {text}")

    def save(self, metrics: JsonLines, evaluations: JsonLines) -> None:
        """Write a checkpoint of everything, and drop old ones."""
        state = jax.tree.map(np.asarray, self.loop.state)
        size = int(self._replay.size(state.replay))
        host = {
            "loop": self.loop.get_state(),
            "recent": [list(episode) for episode in self._recent],
            "seconds": self._elapsed(),
            "replay_size": size,
            "offsets": {"metrics": metrics.offset(), "eval": evaluations.offset()},
        }
        root = self.dir / "checkpoints"
        arrays = {"learner": state.agent, "replay": self._replay.dump(state.replay, size)}
        checkpoint.save(root, self.loop.step, arrays, host)
        checkpoint.prune(root, keep=2, milestone=self.config.milestone_every)

    def restore(self) -> None:
        """Go on from the newest checkpoint; lines of metrics written after it are dropped. Raises CheckpointError."""
        path = checkpoint.latest(self.dir / "checkpoints")
        if path is None:
            raise checkpoint.CheckpointError(f"{self.dir}: there is no complete checkpoint to resume from")
        arrays, host = checkpoint.load(path)
        shapes = jax.eval_shape(lambda: self.loop.state)
        learner = checkpoint.restore(shapes.agent, arrays["learner"], "learner")
        dump = partial(self._replay.dump, size=host["replay_size"])
        replay = checkpoint.restore(jax.eval_shape(dump, shapes.replay), arrays["replay"], "replay")
        self.loop.set_state(host["loop"], RunState(learner, jax.jit(self._replay.load, donate_argnums=0)(replay)))
        self._recent = [Episode(*episode) for episode in host["recent"]]
        self._seconds = host["seconds"]
        for name, offset in host["offsets"].items():
            lines = JsonLines(self.dir / f"{name}.jsonl")
            lines.truncate(offset)
            lines.close()

    def close(self) -> None:
        """Close every environment."""
        self._executors.close()
        self._evaluator.close()


def start(config: Config, run_dir: Path) -> bool:
    """Train from the beginning into a new folder `run_dir`; returns whether the end was reached.

    Raises:
      ConfigError: a configuration that cannot run, or a folder that exists; nothing is written then.
      EnvironmentFault, Diverged, CheckpointError: a fault on the way; what was written stays.
    """
    if run_dir.exists() and any(run_dir.iterdir()):
        raise ConfigError(f"{run_dir} exists: choose another --name, or go on with --resume={run_dir}")
    run = Run(config, run_dir)
    try:
        _write_config(run)
        run.loop.start()
        return _train(run)
    finally:
        run.close()


def resume(run_dir: Path, overrides: Mapping[str, Any]) -> bool:
    """Go on with a run exactly where its newest checkpoint stands; returns whether the end was reached.

    `overrides` maps dotted field names to new values, of `RESUMABLE` only.

    Raises:
      ConfigError: not a run, or an override that would make it another run.
      CheckpointError: no checkpoint that can be used.
    """
    config = read_config(run_dir)
    for name, value in overrides.items():
        if name not in RESUMABLE:
            raise ConfigError(f"--{name} cannot change when a run is resumed; only {', '.join(sorted(RESUMABLE))} can")
        group, _, leaf = name.rpartition(".")
        inner = dataclasses.replace(getattr(config, group), **{leaf: value}) if group else value
        config = dataclasses.replace(config, **{group or leaf: inner})
    run = Run(config, run_dir)
    try:
        run.restore()
        return _train(run)
    finally:
        run.close()


def read_config(run_dir: Path) -> Config:
    """The configuration of a run directory. Raises ConfigError."""
    path = run_dir / "config.json"
    try:
        return from_dict(json.loads(path.read_text())["config"])
    except FileNotFoundError:
        raise ConfigError(f"{run_dir} is not a run: there is no {path.name} in it") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _train(run: Run) -> bool:
    with Interrupt() as interrupt:
        return run.train(interrupt)


def _write_config(run: Run) -> None:
    try:
        run.dir.mkdir(parents=True, exist_ok=True)
        document = {"config": to_dict(run.config)} | provenance.describe()
        (run.dir / "config.json").write_text(json.dumps(document, indent=2) + "\n")
    except OSError as error:
        raise ConfigError(f"cannot write to {run.dir}: {error.strerror or error}") from error


def _crossed(before: int, now: int, interval: int) -> bool:
    """Whether a multiple of `interval` lies in (before, now]; never for 0."""
    return interval > 0 and now // interval > before // interval
