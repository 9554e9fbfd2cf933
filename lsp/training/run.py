"""A run from its first step to its last: directory, loop, growth, metrics, evaluation, checkpoints, signals, resume."""

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lsp import envs
from lsp.config import Config, ConfigError, stages, to_dict, validate
from lsp.envs import EnvironmentFault
from lsp.executors import factory as executors
from lsp.executors.episodes import summarize
from lsp.storage import checkpoint, layer_files, provenance, sinks
from lsp.storage.metrics import Progress, crossed
from lsp.storage.outputs import Outputs
from lsp.storage.run_folder import locked, parse_config, write_document
from lsp.training import divergence, growth, memory, resuming
from lsp.training.asynchronous import AsyncLoop
from lsp.training.device import RunState, Stream, stream_key
from lsp.training.divergence import Diverged as Diverged
from lsp.training.evaluate import Evaluator, describe
from lsp.training.growth import Stage
from lsp.training.interrupt import Interrupt
from lsp.training.loop import Loop
from lsp.training.pipelined import PipelinedLoop
from lsp.training.sweep import Lane, Sweep
from lsp.training.worker_policy import make_actor
from lsp.types import Episode, Executors, Recipe

LOOPS: dict[str, Callable[[Recipe, Any], Loop]] = {"sync": Loop, "sync_pipelined": PipelinedLoop, "async": AsyncLoop}


def seeds(config: Config, purpose: str, count: int) -> list[int]:
    """Environment seeds, below 2^31: even to "collect" and odd to "evaluate", so that they never share one."""
    parity = ["collect", "evaluate"].index(purpose)
    words = np.random.SeedSequence([config.seed, parity]).generate_state(count, np.uint32)
    return [int(word) >> 2 << 1 | parity for word in words]


class Shared(NamedTuple):
    """What the runs of a sweep have in common; they differ by their seed alone."""

    stage: Stage
    recipe: Recipe
    evaluator: Evaluator
    sweep: Sweep


class Run:
    """Everything a run holds open. Build it, then `train`; or `restore` first."""

    def __init__(
        self, config: Config, run_dir: Path, *, stage: Stage | None = None, shared: Shared | None = None
    ) -> None:
        """Make environments and the compiled loop; nothing is written yet.

        Args:
          config: of the whole run.
          run_dir: its folder.
          stage: where to go on; None: the first.
          shared: of a sweep, whose first stage this is.

        Raises:
          ConfigError: a configuration that cannot run.
        """
        self.config, self.dir = validate(config), run_dir
        sinks.check(config.track)
        if shared is not None and config.executors.mode != "sync":
            raise ConfigError(f"--executors.mode={config.executors.mode}: must be sync with several --seeds")
        begun = shared.stage if shared else stage
        if begun is None:
            executors.check_rewards(self.config)
            begun = growth.first(self.config, executors.env_spec(config))
        self.stage = begun
        self._executors = self._make_executors()
        spec, judged = self._executors.spec, seeds(config, "evaluate", config.evaluation.episodes)
        self.loop: Loop | Lane
        if shared is None:
            memory.check(config, spec)
            self.recipe = self.stage.recipe(self.config, spec)
            self.loop = LOOPS[config.executors.mode](self.recipe, self._executors)
            make_env = partial(envs.make, config.env, **json.loads(config.env_kwargs))
            self._evaluator = Evaluator(self.recipe.agent, make_env, config.evaluation.protocols, judged)
        else:
            self.recipe = shared.recipe
            self.loop = shared.sweep.join(config, self._executors)
            self._evaluator = shared.evaluator.reseeded(judged)
        self._shared = shared is not None
        self._recent: list[Episode] = []  # since the last line of metrics
        self._seconds = 0.0  # of earlier sessions of this run
        self._began = time.perf_counter()

    def _make_executors(self) -> Executors:
        """Those of the stage."""
        config = self.config
        actor = partial(make_actor, config, self.stage.number, growth.to_host(self.stage)["layers"])
        return executors.make(config, seeds(config, "collect", config.executors.count), actor, self.stage.number)

    def train(self, interrupt: Interrupt) -> bool:
        """Go on to the end, or to an interrupt, and write a checkpoint; returns whether the end was reached."""
        config, loop = self.config, self.loop
        assert isinstance(loop, Loop)
        shown: deque[float] = deque((episode.episode_return for episode in self._recent), maxlen=10)
        with closing(self.open()) as outputs, closing(Progress(config.steps, loop.step)) as progress:
            while loop.step < config.steps and not interrupt.requested:
                while growth.due(config, self.stage, loop.step):
                    self._grow(loop, outputs, progress)
                before = loop.step
                episodes = loop.advance()
                shown.extend(episode.episode_return for episode in episodes)
                progress.update(loop.step, shown)
                for record in self.record(before, episodes, outputs):
                    progress.note(describe(record, record["returns"], "episodes"))
            progress.note(f"writing a checkpoint at step {loop.step:,}")
            self.save(outputs)
            if loop.step >= config.steps:
                self.save_layers()
        return loop.step >= config.steps

    def open(self) -> Outputs:
        """The run's files, open; the clock starts."""
        outputs = Outputs(self.dir, self.config, self.loop.step)
        self._began = time.perf_counter()
        return outputs

    def record(self, before: int, episodes: Sequence[Episode], outputs: Outputs) -> list[dict[str, Any]]:
        """Write what is due after a step from `before`, in which `episodes` ended; returns the evaluations made.

        Raises Diverged or CheckpointError.
        """
        config, step = self.config, self.loop.step
        evaluations: list[dict[str, Any]] = []
        self._recent += episodes
        if crossed(before, step, config.log_every):
            outputs.write_metrics(self._metrics_line())
            self._recent = []
        ended = step >= config.steps or growth.due(config, self.stage, step)
        if (ended and config.evaluation.every > 0) or crossed(before, step, config.evaluation.every):
            evaluations = self._evaluate(outputs)
        if crossed(before, step, config.checkpoint_every) and step < config.steps:
            self.save(outputs)
        return evaluations

    def _grow(self, loop: Loop, outputs: Outputs, progress: Progress) -> None:
        self.end_stage()
        progress.note(growth.announcement(self.config, self.stage, loop.step))
        stage, recipe = growth.grow(self.config, self.stage, self.recipe, loop)
        if stage.dropped > 0:
            progress.note(growth.DROPPED.format(stage.dropped))
        self._evaluator.judge(recipe.agent)
        for record in self.begin_stage(stage, recipe, self._evaluator, outputs):
            progress.note(describe(record, record["returns"], "episodes"))

    def end_stage(self) -> None:
        """Freeze the layer in training. Raises Diverged."""
        self.require_finite(self.loop.state.agent)
        if self.config.growth.add_layer:
            self.save_layers()

    def begin_stage(self, stage: Stage, recipe: Recipe, evaluator: Evaluator, outputs: Outputs) -> list[dict[str, Any]]:
        """Go on with the next stage, which the loop has begun; judges the policy anew."""
        self.stage, self.recipe = stage, recipe
        if isinstance(self.loop, AsyncLoop):  # its workers act with a policy of their own
            self._executors = self.loop.move(self._make_executors, stages.reward_of(self.config, stage.number))
        self._evaluator = evaluator.reseeded(seeds(self.config, "evaluate", self.config.evaluation.episodes))
        return self._evaluate(outputs) if self.config.evaluation.every > 0 else []

    def save_layers(self) -> None:
        """Write the frozen layers and that in training, as it stands, to the run's folder."""
        spec, agent = self._executors.spec, self.loop.state.agent
        for depth, layer in enumerate(growth.freeze(self.stage, self.recipe.config, spec, agent)):
            layer_files.save(self.dir, depth, layer)

    def _elapsed(self) -> float:
        return self._seconds + time.perf_counter() - self._began

    def _metrics_line(self) -> dict[str, Any]:
        loop = self.loop
        line = {"step": loop.step, "updates": loop.updates, "seconds": round(self._elapsed(), 3)}
        line |= {"layer": len(self.stage.layers), "dropped": self.stage.dropped}
        line |= {"episodes": len(self._recent)} | summarize(self._recent) | loop.metrics()
        line |= self._executors.stats()
        self.require_finite({name: line[name] for name in ("critic_loss", "policy_loss", "q") if name in line})
        if line.get("bad_priorities", 0.0) > 0:
            raise divergence.diverged("a TD error is not finite", loop.step, self.dir)
        return line

    def require_finite(self, tree: Any) -> None:
        """Raise Diverged, naming the first leaf of `tree` that is not finite."""
        divergence.require_finite(tree, self.loop.step, self.dir)

    def _evaluate(self, outputs: Outputs) -> list[dict[str, Any]]:
        key = stream_key(self.loop.root, Stream.EVALUATE, self.loop.step)
        now = {"step": self.loop.step, "updates": self.loop.updates, "layer": len(self.stage.layers)}
        records = [now | record for record in self._evaluator(self.loop.actor_params(), key)]
        for record in records:
            outputs.write_evaluation(record)
        return records

    def save(self, outputs: Outputs) -> None:
        """Write a checkpoint of everything, and drop old ones. Raises CheckpointError, or Diverged before writing."""
        state = jax.tree.map(np.asarray, self.loop.state)
        self.require_finite(state.agent)
        replay = self.recipe.replay
        size = int(replay.size(state.replay))
        host = {
            "config": to_dict(self.config),
            "stage": growth.to_host(self.stage),
            "loop": self.loop.get_state(),
            "recent": [list(episode) for episode in self._recent],
            "seconds": self._elapsed(),
            "replay_size": size,
            "offsets": outputs.offsets(),
        }
        root = self.dir / "checkpoints"
        arrays = {"learner": state.agent, "replay": replay.dump(state.replay, size)}
        checkpoint.save(root, self.loop.step, arrays, host)
        checkpoint.prune(root, keep=2, milestone=self.config.milestone_every)

    def restore(self, arrays: Mapping[str, Any], host: Mapping[str, Any]) -> None:
        """Go on from a loaded checkpoint of this run's stage; lines of metrics written after it are dropped.

        Raises:
          ConfigError: `config.json` was changed since.
          CheckpointError: a checkpoint that cannot be used.
        """
        resuming.require_same(self.dir, self.config, host)
        self.stage = self.stage._replace(dropped=host["stage"]["dropped"])
        replay = self.recipe.replay
        shapes = self.loop.release()  # make room: replay may fill half of the memory
        learner = checkpoint.restore(shapes.agent, arrays, "learner")
        filled = jax.eval_shape(lambda state: replay.dump(state, host["replay_size"]), shapes.replay)
        rows = checkpoint.restore(filled, arrays, "replay")
        self.loop.set_state(host["loop"], RunState(learner, jax.jit(replay.load)(rows)))
        self._recent = [Episode(*episode) for episode in host["recent"]]
        self._seconds = host["seconds"]
        resuming.drop_lines(self.dir, host["offsets"])
        if not self._shared:
            print(f"going on at step {self.loop.step:,} of {self.config.steps:,}", file=sys.stderr)
        if any(executor["env"] is None for executor in host["loop"]["executors"]["executors"]):
            print(f"environment {self.config.env} cannot be saved: a new episode begins here", file=sys.stderr)

    def close(self) -> None:
        """Close every environment."""
        self._executors.close()
        if not self._shared:
            self._evaluator.close()


def start(config: Config, run_dir: Path) -> bool:
    """Train from the beginning into a new folder `run_dir`; returns whether the end was reached.

    Raises:
      ConfigError: a configuration that cannot run, or a folder that exists; nothing is written then.
      EnvironmentFault, Diverged, CheckpointError: a fault on the way; what was written stays.
    """
    if run_dir.is_file() or (run_dir.is_dir() and any(run_dir.iterdir())):
        raise ConfigError(f"{run_dir} exists: choose another --name, or go on with --resume={run_dir}")
    with closing(Run(config, run_dir)) as run:
        run.loop.start()
        write_document(run_dir, {"config": to_dict(run.config)} | provenance.describe())
        return _train(run)


def resume(run_dir: Path, overrides: Mapping[str, Any]) -> bool:
    """Go on with a run exactly where its newest checkpoint stands; returns whether the end was reached.

    `overrides` maps dotted field names to new values, of `RESUMABLE` and `AHEAD` only; `config.json` takes them over.

    Raises:
      ConfigError: not a run, or a change that would make it another run.
      CheckpointError: no checkpoint that can be used.
      EnvironmentFault, Diverged: a fault on the way; what was written stays.
    """
    document = resuming.overridden(run_dir, overrides)
    config = parse_config(run_dir, document["config"])
    arrays, host = resuming.load_latest(run_dir)
    with closing(Run(config, run_dir, stage=growth.from_host(host["stage"]))) as run:
        run.restore(arrays, host)
        if overrides:
            write_document(run_dir, document | {"config": to_dict(run.config)})
        return _train(run)


def _train(run: Run) -> bool:
    with locked(run.dir), Interrupt() as interrupt:
        try:
            return run.train(interrupt)
        except EnvironmentFault:
            run.require_finite(run.loop.state.agent)  # a broken policy breaks environments: name the cause
            raise
