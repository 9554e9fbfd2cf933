"""What a run's logging and evaluation cost: whole training loops that log as by default, also to sinks, or not at all.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/outputs.py --track tensorboard

Loops take turns. As the differences are smaller than what a shared machine does to them, the time spent in logging is
also added up directly.
"""

import dataclasses
import io
import json
import statistics
import tempfile
import time
from collections import deque
from contextlib import ExitStack, closing
from pathlib import Path

import jax
from common import add_settings, announce, configured, parser
from timing import alternate, core_share, ratio

from lsp.agents import presets
from lsp.config import Config
from lsp.storage.outputs import Outputs
from lsp.training.progress import Progress
from lsp.training.run import Run
from lsp.training.session import Session

NEVER = 2**31 - 1


class Terminal(io.StringIO):
    """A terminal that nobody sees."""

    def isatty(self) -> bool:
        """So that a progress bar is drawn."""
        return True


class Recorded:
    """A run that has begun to learn, its files open."""

    def __init__(self, config: Config, folder: Path, stack: ExitStack) -> None:
        """Train until the first update; `stack` closes everything."""
        self.session = stack.enter_context(closing(Session(config, {config.seed: folder}, alone=True)))
        self.session.start()
        folder.mkdir()
        (self.run,) = self.session.runs
        self.outputs = stack.enter_context(closing(self.run.open()))
        self.progress = stack.enter_context(closing(Progress(config.steps, stream=Terminal())))
        self.telling, self.shown = 0.0, deque[float](maxlen=10)
        while self.run.seed.updates == 0:
            self.advance(1)

    def advance(self, steps: int) -> None:
        """As `lsp.training.train` does, for so many environment steps."""
        loop, seed = self.session.loop, self.run.seed
        end = seed.step + steps
        while seed.step < end:
            before = seed.step
            episodes = loop.collect(seed)
            loop.answer([seed])
            began = time.perf_counter()
            self.shown.extend(episode.episode_return for episode in episodes)
            self.progress.update(seed.step, self.shown)
            self.run.note(before, episodes)
            if self.run.due:
                self.run.write(self.outputs, lambda text: None)
            self.telling += time.perf_counter() - began
        jax.block_until_ready(loop.device.state)

    def share(self, steps: int) -> float:
        """Share of the time of so many steps that goes into telling of them."""
        began, before = time.perf_counter(), self.telling
        self.advance(steps)
        return (self.telling - before) / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--agent", default="sac_lsp")
    options.add_argument("--env", default="lsp/RllabAnt-v0")
    options.add_argument("--capacity", type=int, default=20_000, help="transitions in each run's replay")
    options.add_argument("--track", nargs="*", default=[], help="sinks to measure, too")
    options.add_argument("--steps", type=int, default=1_000, help="environment steps of a round")
    options.add_argument("--rounds", type=int, default=9)
    add_settings(options)
    arguments = options.parse_args()

    announce(__doc__)
    base = configured(presets(arguments.agent), arguments.set)
    plain = dataclasses.replace(
        base,
        env=arguments.env,
        warmup_steps=0,
        learning_starts=1_000,
        replay=dataclasses.replace(base.replay, capacity=arguments.capacity),
        evaluation=dataclasses.replace(base.evaluation, every=0),
        checkpoint_every=0,
    )
    configs = {"nothing": dataclasses.replace(plain, log_every=NEVER), "files": plain}
    configs |= {sink: dataclasses.replace(plain, track=(sink,)) for sink in arguments.track}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        recorded = {name: Recorded(config, Path(folder) / name, stack) for name, config in configs.items()}
        variants = {name: lambda each=each: each.advance(arguments.steps) for name, each in recorded.items()}
        seconds = alternate(variants, arguments.rounds, calls=1)
        print(f"{plain.env}, {plain.agent}, a line every {plain.log_every:,} steps, beside a bar on a terminal")
        for name in list(configs)[1:]:
            middle, least, most = ratio(seconds, name, "nothing")
            share = statistics.median(recorded[name].share(arguments.steps) for _ in range(3))
            print(f"{name + ':':13s} {middle:6.3f} times as long ({least:.3f} to {most:.3f}); {share:.2%} directly")
        alone = statistics.median(seconds["nothing"]) / arguments.steps
        print_evaluation(base, recorded["files"].run, recorded["files"].outputs, alone)
        print(f"share of a core: {core_share(variants['nothing']):.2f} (below 0.95: others used it, repeat)")


def print_evaluation(config: Config, run: Run, outputs: Outputs, step_seconds: float) -> None:
    """What evaluation adds at its default cadence if episodes last as long as they can."""
    run._evaluate(outputs, lambda text: None)
    run._evaluate(outputs, lambda text: None)  # compiled
    lines = [json.loads(line) for line in (run.dir / "eval.jsonl").read_text().splitlines()]
    lines = lines[-len(config.evaluation.protocols) :]
    each = sum(line["evaluation_seconds"] for line in lines) / sum(sum(line["lengths"]) for line in lines)
    episodes, every = config.evaluation.episodes * len(lines), config.evaluation.every
    least, most = (length * episodes * each / (every * step_seconds) for length in (500, 1_000))
    print(f"evaluation:   {1e3 * each:6.3f} ms a step, {1e3 * step_seconds:.2f} ms a training step")
    print(f"              {episodes} episodes of 500 to 1,000 steps every {every:,}: {least:.1%} to {most:.1%}")


if __name__ == "__main__":
    main()
