"""One seed's run: its folder, its records, its checkpoints. What trains it is `lsp.training.session`."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lsp.config import Config, stages, to_dict
from lsp.envs import BoxEnv
from lsp.executors import factory
from lsp.executors.episodes import any_says_success, summarize
from lsp.storage import checkpoint, layer_files
from lsp.storage.outputs import Outputs
from lsp.training import divergence, growth, resuming
from lsp.training.device import RunState, Stream, stream_key
from lsp.training.evaluate import Evaluator, Watch
from lsp.training.growth import Stage
from lsp.training.loop import TrainingLoop
from lsp.training.seed import Seed
from lsp.training.worker_policy import make_policy
from lsp.types import EnvSpec, Episode, Executors, Recipe


def env_seeds(config: Config, purpose: str, count: int) -> list[int]:
    """Environment seeds, below 2^31: even to "collect" and odd to "evaluate", so that they never share one."""
    parity = ["collect", "evaluate"].index(purpose)
    words = np.random.SeedSequence([config.seed, parity]).generate_state(count, np.uint32)
    return [int(word) >> 2 << 1 | parity for word in words]


def make_executors(config: Config, stage: Stage, spec: EnvSpec, first: BoxEnv | None = None) -> Executors:
    """The executors of a run's seed in one of its stages; the first may use the environment `first`.

    Raises ConfigError.
    """
    policy = partial(make_policy, config, stage.number, growth.to_host(stage)["layers"])
    seeds = env_seeds(config, "collect", config.executors.count)
    return factory.make(config, seeds, policy, stage.number, spec, first)


class Run:
    """One seed's run in progress."""

    def __init__(
        self, config: Config, run_dir: Path, seed: Seed, stage: Stage, loop: TrainingLoop, evaluator: Evaluator
    ) -> None:
        """Nothing is written yet.

        Args:
          config: of the whole run, with this seed.
          run_dir: its folder.
          seed: the host's half; closed with this object.
          stage: where it stands.
          loop: what trains it.
          evaluator: of any seed; this run takes first states of its own.
        """
        self.config, self.dir, self.seed, self.stage, self._loop = config, run_dir, seed, stage, loop
        self.recent: list[Episode] = []  # since the last line of metrics
        self.due: list[str] = []  # what is still to be written of this step, in turn: metrics, evaluation, checkpoint
        self.warm_up_left = 0  # updates of the critics alone that come before the next step
        self._says_success = False  # whether any episode so far said if it met the task
        self._seconds = 0.0  # of earlier sessions of this run
        self._began = time.perf_counter()
        self.use(evaluator)

    def use(self, evaluator: Evaluator) -> None:
        """Evaluate the agent of `evaluator` from now on."""
        self._evaluator = evaluator.reseeded(env_seeds(self.config, "evaluate", self.config.evaluation.episodes))

    def open(self) -> Outputs:
        """The run's files, open."""
        return Outputs(self.dir, self.config, self.seed.step, self._elapsed)

    def note(self, before: int, episodes: Sequence[Episode], early: bool = False) -> None:
        """Take note of a step from `before`, in which `episodes` ended, and of what is due after it.

        `early`: whether a checkpoint is due in any case.
        """
        config, step = self.config, self.seed.step
        self.recent += episodes
        self._says_success = self._says_success or any_says_success(episodes)
        if crossed(before, step, config.log_every):
            self.due.append("metrics")
        ended = step >= config.steps or growth.due(config, self.stage, step)
        if (ended and config.evaluation.every > 0) or crossed(before, step, config.evaluation.every):
            self.due.append("evaluation")
        if (early or crossed(before, step, config.checkpoint_every)) and step < config.steps:
            self.due.append("checkpoint")

    def write(self, outputs: Outputs, watch: Watch) -> list[dict[str, Any]]:
        """Write what is due; returns the evaluations made. Where `watch` ends one, it is still due.

        Raises Diverged, CheckpointError, EnvironmentFault, OSError, or what `watch` does.
        """
        evaluations: list[dict[str, Any]] = []
        while self.due:
            match self.due[0]:
                case "metrics":
                    self.require_sound()
                    outputs.write_metrics(self._metrics_line())
                    self._begin_interval()
                case "evaluation":
                    evaluations += self._evaluate(outputs, watch)
                case "checkpoint":
                    self.save(outputs)
            self.due.pop(0)
        return evaluations

    def give_up_line(self) -> None:
        """Leave out a line of metrics that is due, since it cannot be made."""
        if self.due[:1] == ["metrics"]:
            self.due.pop(0)
            self._begin_interval()

    def end_stage(self) -> None:
        """Freeze the layer in training. Raises Diverged."""
        self.require_finite_agent()
        if self.config.growth.add_layer:
            self.save_layers()

    def begin_stage(self, stage: Stage, evaluator: Evaluator) -> None:
        """Continue with the next stage, which the loop has begun; another evaluation is due."""
        self.stage = stage
        make: Callable[[], Executors] = partial(make_executors, self.config, stage, self._loop.device.spec)
        self._loop.renew_executors(self.seed, make, stages.reward_of(self.config, stage.number))
        self.use(evaluator)
        if self.config.evaluation.every > 0:
            self.due.append("evaluation")

    def save_layers(self) -> None:
        """Write the frozen layers and that in training, as it stands, to the run's folder."""
        spec, recipe = self._loop.device.spec, self._recipe
        for depth, layer in enumerate(growth.freeze(self.stage, recipe.config, spec, self._state.agent)):
            layer_files.save(self.dir, depth, layer)

    @property
    def _recipe(self) -> Recipe:
        return self._loop.device.recipe

    @property
    def _state(self) -> RunState:
        return self._loop.device.state_of(self.seed.index)

    def _elapsed(self) -> float:
        return self._seconds + time.perf_counter() - self._began

    def _metrics_line(self) -> dict[str, Any]:
        seed = self.seed
        line = {"step": seed.step, "updates": seed.updates, "seconds": round(self._elapsed(), 3)}
        line |= {"layer": len(self.stage.layers), "dropped": self.stage.dropped}
        line |= {"episodes": len(self.recent)} | summarize(self.recent, self._says_success) | self._loop.metrics(seed)
        return line | seed.executors.stats()

    def _begin_interval(self) -> None:
        """Of metrics; only now, for a line that could not be written is written later."""
        self.recent = []
        self._loop.begin_interval(self.seed)

    def require_sound(self) -> None:
        """Raise Diverged where the learner, or an error that it made, is not finite."""
        state = self._state
        self._require_finite(state.agent)
        if self._recipe.replay.refused(state.replay) > 0:
            raise divergence.diverged("a TD error is not finite", self.seed.step, self.dir)

    def require_finite_agent(self) -> None:
        """Raise Diverged, naming the first leaf of the learner that is not finite."""
        self._require_finite(self._state.agent)

    def _require_finite(self, tree: Any) -> None:
        divergence.require_finite(tree, self.seed.step, self.dir)

    def _evaluate(self, outputs: Outputs, watch: Watch) -> list[dict[str, Any]]:
        seed = self.seed
        key = stream_key(seed.root, Stream.EVALUATE, seed.step)
        now = {"step": seed.step, "updates": seed.updates, "layer": len(self.stage.layers)}
        params = self._loop.device.actor_params_of(seed.index)
        records = [now | record for record in self._evaluator(params, key, self._says_success, watch)]
        self._says_success = self._says_success or any("success" in record for record in records)
        outputs.write_evaluation(*records)
        return records

    def save(self, outputs: Outputs, lost: bool = False) -> None:
        """Write a checkpoint of everything, and drop old ones. Raises CheckpointError, or Diverged before writing.

        `lost`: the executors' state is not part of it; see `Seed.get_state`.
        """
        state = jax.tree.map(np.asarray, self._state)
        self._require_finite(state.agent)
        replay = self._recipe.replay
        size = int(replay.size(state.replay))
        host = {
            "config": to_dict(self.config),
            "stage": growth.to_host(self.stage),
            "loop": self._loop.get_state(self.seed, lost),
            "lost": lost,
            "recent": [list(episode) for episode in self.recent],
            "due": [each for each in self.due if each != "checkpoint"],
            "warm_up_left": self.warm_up_left,
            "says_success": self._says_success,
            "seconds": self._elapsed(),
            "replay_size": size,
            "offsets": outputs.offsets(),
        }
        root = self.dir / "checkpoints"
        arrays = {"learner": state.agent, "replay": replay.dump(state.replay, size)}
        checkpoint.save(root, self.seed.step, arrays, host)
        checkpoint.prune(root, keep=2, milestone=self.config.milestone_every)

    def restore(self, arrays: Mapping[str, Any], host: Mapping[str, Any]) -> bool:
        """Continue from a loaded checkpoint of this run's stage; lines of metrics written after it are dropped.

        Returns whether environments are where they were, and not in new episodes.

        Raises:
          ConfigError: `config.json` was changed since.
          CheckpointError: a checkpoint that cannot be used.
        """
        resuming.require_same(self.dir, self.config, host)
        self.stage = self.stage._replace(dropped=host["stage"]["dropped"])
        device, replay = self._loop.device, self._recipe.replay
        shapes = device.release(self.seed.index)  # make room: replay may fill half of the memory
        learner = checkpoint.restore(shapes.agent, arrays, "learner")
        filled = jax.eval_shape(lambda state: replay.dump(state, host["replay_size"]), shapes.replay)
        dumped = checkpoint.restore(filled, arrays, "replay")
        self._loop.set_state(self.seed, host["loop"], RunState(learner, device.load_replay(dumped)))
        self.recent = [Episode(*episode) for episode in host["recent"]]
        self.due = [each for each in host["due"] if each != "evaluation" or self.config.evaluation.every > 0]
        self.warm_up_left = host["warm_up_left"]
        self._says_success = host["says_success"]
        self._seconds = host["seconds"]
        resuming.drop_lines(self.dir, host["offsets"])
        exact = all(executor["env"] is not None for executor in host["loop"]["executors"]["executors"])
        if host["lost"]:
            print("the checkpoint was saved after a fault: new episodes begin here", file=sys.stderr)
        elif not exact:
            print(f"environment {self.config.env} cannot be saved: a new episode begins here", file=sys.stderr)
        return exact

    def close(self) -> None:
        """Close every environment of its executors."""
        self.seed.executors.close()


def crossed(before: int, now: int, interval: int) -> bool:
    """Whether a multiple of `interval` lies in (before, now]; never for 0."""
    return interval > 0 and now // interval > before // interval
