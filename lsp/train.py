"""A run from its first step to its last: directory, loop, metrics, evaluation, checkpoints, signals, resume."""

import json
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lsp import agents, checkpoint, envs, memory, provenance
from lsp.config import Config, ConfigError, to_dict, validate
from lsp.envs import EnvironmentFault
from lsp.episodes import summarize
from lsp.evaluate import Evaluator
from lsp.executors.executor import Executor
from lsp.executors.inproc import InProcess
from lsp.fields import flag, to_text
from lsp.interrupt import Interrupt
from lsp.loop import Loop, RunState, Stream, stream_key
from lsp.metrics import JsonLines, Progress
from lsp.run_dir import locked, parse_config, read_document, write_document
from lsp.types import Episode

RESUMABLE = {"steps", "log_every", "checkpoint_every", "milestone_every", "evaluation.every"}
"""What may be changed when a run goes on: nothing that would make it another run."""


class Diverged(RuntimeError):
    """Training produced numbers that are not finite. The message is one line."""


def seeds(config: Config, purpose: str, count: int) -> list[int]:
    """Environment seeds, below 2^31: even to "collect" and odd to "evaluate", so that they never share one."""
    parity = ["collect", "evaluate"].index(purpose)
    words = np.random.SeedSequence([config.seed, parity]).generate_state(count, np.uint32)
    return [int(word) >> 2 << 1 | parity for word in words]


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
        self._began = time.perf_counter()

    def train(self, interrupt: Interrupt) -> bool:
        """Go on to the end, or to an interrupt, and write a checkpoint; returns whether the end was reached."""
        config, loop = self.config, self.loop
        shown: deque[float] = deque((episode.episode_return for episode in self._recent), maxlen=10)
        with self._outputs() as (metrics, evaluations, progress):
            self._began = time.perf_counter()
            while loop.step < config.steps and not interrupt.requested:
                before = loop.step
                episodes = loop.advance()
                self._recent += episodes
                shown.extend(episode.episode_return for episode in episodes)
                progress.update(loop.step, shown)
                if _crossed(before, loop.step, config.log_every):
                    metrics.write(self._metrics_line())
                    self._recent = []
                ended = config.evaluation.every > 0 and loop.step >= config.steps
                if ended or _crossed(before, loop.step, config.evaluation.every):
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
        self.require_finite({name: line[name] for name in ("critic_loss", "policy_loss", "q") if name in line})
        if line.get("bad_priorities", 0.0) > 0:
            raise self._diverged("a TD error is not finite")
        return line

    def require_finite(self, tree: Any) -> None:
        """Raise Diverged, naming the first leaf of `tree` that is not finite."""
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            if not np.isfinite(leaf).all():
                value = np.ravel(leaf)[~np.isfinite(np.ravel(leaf))][0]
                raise self._diverged(f"{jax.tree_util.keystr(path, simple=True, separator='.')} is {value}")

    def _diverged(self, what: str) -> Diverged:
        return Diverged(
            f"training diverged: {what} at step {self.loop.step:,}; checkpoints in {self.dir / 'checkpoints'} are from "
            "before; start again with a lower --critic.learning-rate, --policy.learning-rate or --flow.max-log-scale"
        )

    def _evaluate(self, evaluations: JsonLines, progress: Progress) -> None:
        key = stream_key(self.loop.root, Stream.EVALUATE, self.loop.step)
        for record in self._evaluator(self.loop.actor_params(), key):
            evaluations.write({"step": self.loop.step, "updates": self.loop.updates} | record)
            spread = np.std(record["returns"])
            text = f"{record['return']:,.0f} ± {spread:,.0f} over {len(record['returns'])} episodes"
            if "success" in record:
                text += f", success {np.mean(record['success']):.0%}"
            progress.note(f"step {self.loop.step:,}: {record['protocol']} policy returns {text}")

    def save(self, metrics: JsonLines, evaluations: JsonLines) -> None:
        """Write a checkpoint of everything, and drop old ones. Raises CheckpointError, or Diverged before writing."""
        state = jax.tree.map(np.asarray, self.loop.state)
        self.require_finite(state.agent)
        size = int(self._replay.size(state.replay))
        host = {
            "config": to_dict(self.config),
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
        """Go on from the newest checkpoint; lines of metrics written after it are dropped.

        Raises:
          ConfigError: `config.json` was changed since.
          CheckpointError: no checkpoint that can be used.
        """
        path = checkpoint.latest(self.dir / "checkpoints")
        if path is None:
            raise checkpoint.CheckpointError(f"{self.dir}: no complete checkpoint to resume from: start a new run")
        arrays, host = checkpoint.load(path)
        self._require_same(host["config"])
        shapes = jax.eval_shape(lambda: self.loop.state)
        jax.tree.map(lambda leaf: leaf.delete(), self.loop.state)  # make room: replay may fill half of the memory
        learner = checkpoint.restore(shapes.agent, arrays, "learner")
        filled = jax.eval_shape(lambda state: self._replay.dump(state, host["replay_size"]), shapes.replay)
        replay = checkpoint.restore(filled, arrays, "replay")
        self.loop.set_state(host["loop"], RunState(learner, jax.jit(self._replay.load)(replay)))
        self._recent = [Episode(*episode) for episode in host["recent"]]
        self._seconds = host["seconds"]
        self._drop_lines(host["offsets"])
        print(f"going on at step {self.loop.step:,} of {self.config.steps:,}", file=sys.stderr)
        if any(executor["env"] is None for executor in host["loop"]["executors"]["executors"]):
            print(f"environment {self.config.env} cannot be saved: a new episode begins here", file=sys.stderr)

    def _require_same(self, saved: Mapping[str, Any]) -> None:
        for name, value in to_dict(self.config).items():
            now, before = to_text(value), to_text(saved.get(name))
            if now != before and name not in RESUMABLE:
                raise ConfigError(
                    f"{self.dir / 'config.json'} has {flag(name)}={now}, its checkpoint was saved with {before}: "
                    "put that back, or start a new run"
                )

    def _drop_lines(self, offsets: Mapping[str, int]) -> None:
        """Cut files of metrics back to where a checkpoint saw them; one that was moved away begins anew."""
        for name, offset in offsets.items():
            path = self.dir / f"{name}.jsonl"
            if path.exists():
                try:
                    with closing(JsonLines(path)) as lines:
                        lines.truncate(offset)
                except ValueError as error:
                    raise checkpoint.CheckpointError(str(error)) from error

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
    if run_dir.is_file() or (run_dir.is_dir() and any(run_dir.iterdir())):
        raise ConfigError(f"{run_dir} exists: choose another --name, or go on with --resume={run_dir}")
    run = Run(config, run_dir)
    try:
        run.loop.start()
        write_document(run_dir, {"config": to_dict(run.config)} | provenance.describe())
        return _train(run)
    finally:
        run.close()


def resume(run_dir: Path, overrides: Mapping[str, Any]) -> bool:
    """Go on with a run exactly where its newest checkpoint stands; returns whether the end was reached.

    `overrides` maps dotted field names to new values, of `RESUMABLE` only; `config.json` takes them over.

    Raises:
      ConfigError: not a run, or a change that would make it another run.
      CheckpointError: no checkpoint that can be used.
      EnvironmentFault, Diverged: a fault on the way; what was written stays.
    """
    for name in overrides:
        if name not in RESUMABLE:
            allowed = ", ".join(map(flag, sorted(RESUMABLE)))
            raise ConfigError(f"{flag(name)} cannot change when a run is resumed; only {allowed} can")
    document = read_document(run_dir)
    document["config"] |= overrides
    run = Run(parse_config(run_dir, document["config"]), run_dir)
    try:
        run.restore()
        if overrides:
            write_document(run_dir, document | {"config": to_dict(run.config)})
        return _train(run)
    finally:
        run.close()


def _train(run: Run) -> bool:
    with locked(run.dir), Interrupt() as interrupt:
        try:
            return run.train(interrupt)
        except EnvironmentFault:
            run.require_finite(run.loop.state.agent)  # a broken policy breaks environments: name the cause
            raise


def _crossed(before: int, now: int, interval: int) -> bool:
    """Whether a multiple of `interval` lies in (before, now]; never for 0."""
    return interval > 0 and now // interval > before // interval
