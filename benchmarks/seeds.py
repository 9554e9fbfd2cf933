"""What one of several seeds in a process costs, environments included, against a single run: whole loops, in turns.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/seeds.py
    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/seeds.py --seeds 256 --capacity 5_000 --steps 8 --rounds 3

Replay is full from the start. On a GPU the same command measures the GPU. Where others use the core, too,
--clock=cpu counts CPU time instead of wall time.
"""

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import jax
from common import add_settings, announce, configured, parser
from timing import Seconds, alternate, core_share, ratio
from training import Training

from lsp.agents import presets
from lsp.config import Config
from lsp.executors.factory import ExecutorMaker
from lsp.executors.inproc import InProcess
from lsp.types import ActionSample, Chunk

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
FILL = 1_000  # transitions of every seed written at once


class Timed(InProcess):
    """Executors that add up the time spent in them."""

    seconds, clock = 0.0, staticmethod(time.perf_counter)

    def step(self, actions: ActionSample) -> Chunk:
        """Step every environment once."""
        start = self.clock()
        chunk = super().step(actions)
        self.seconds += self.clock() - start
        return chunk


def make_config(arguments: argparse.Namespace) -> Config:
    """The preset, learning from the first steps on, without random actions."""
    config = presets(arguments.agent, arguments.preset)
    config = dataclasses.replace(
        config,
        env=arguments.env,
        warmup_steps=0,
        learning_starts=config.replay.batch_size + config.executors.count * (config.n_step - 1),
        replay=dataclasses.replace(config.replay, capacity=arguments.capacity),
    )
    return configured(config, arguments.set)


def make_executors(config: Config, seed: int) -> Timed:
    """The executors of one seed."""
    count = config.executors.count
    return Timed(ExecutorMaker(config, tuple(1_000 * seed + i for i in range(count))), count)


def start(config: Config, count: int) -> Training:
    """Seeds 0 to count - 1, which learn."""
    training = Training(config, count, make_executors)
    training.fill(FILL)
    training.start()
    training.until_updated(1)
    return training


def stepping_share(work: Callable[[], object], training: Training) -> float:
    """Share of the time of `work` that goes into stepping environments."""

    def stepping() -> float:
        return sum(seed.executors.seconds for seed in training.seeds)

    began, before = Timed.clock(), stepping()
    work()
    return (stepping() - before) / (Timed.clock() - began)


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=8)
    options.add_argument("--agent", default="sac_lsp")
    options.add_argument("--preset", choices=("modern", "dissertation"), default="modern")
    options.add_argument("--env", default="lsp/RllabAnt-v0")
    options.add_argument("--capacity", type=int, default=100_000, help="transitions in each seed's replay, all filled")
    options.add_argument("--steps", type=int, default=160, help="environment steps of each seed in a round")
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    options.add_argument("--alone", type=int, default=160, help="steps of the single run in a round, at least")
    add_settings(options)
    arguments = options.parse_args()

    announce(__doc__)
    Timed.clock = staticmethod(CLOCKS[arguments.clock])
    config = make_config(arguments)
    trainings = {"alone": start(config, 1), "together": start(config, arguments.seeds)}
    dispatch = config.executors.count * config.block
    steps = {"alone": max(arguments.steps, arguments.alone), "together": arguments.steps}
    dispatches = {name: -(-count // dispatch) for name, count in steps.items()}
    variants = {
        name: partial(training.run, config.block * dispatches[name]) for name, training in trainings.items()
    }
    seconds = alternate(variants, arguments.rounds, calls=1, clock=Timed.clock)
    shares = [stepping_share(variants[name], training) for name, training in trainings.items()]
    seeds = {"alone": 1, "together": arguments.seeds}
    per_step = {name: [each / dispatches[name] / dispatch / seeds[name] for each in seconds[name]] for name in seeds}
    print_table(config, arguments.seeds, per_step, shares)
    print(f"share of a core:          {core_share(variants['together']):8.2f} (below 0.95: others used it, repeat)")


def print_table(config: Config, count: int, seconds: Seconds, shares: Sequence[float]) -> None:
    """One column alone, one together; `seconds` of a step of a seed."""
    devices = jax.local_devices()[:count]
    print(f"{config.env}, {config.agent}, {config.preset}, block {config.block}, "
          f"{config.replay.capacity:,} transitions each; {len(devices)} x {devices[0].device_kind}")
    print(f"                             alone  {count} seeds")
    median = [statistics.median(each) for each in seconds.values()]
    print("ms a step of a seed:      " + "".join(f"{1e3 * each:8.2f}" for each in median))
    print("updates a second:         " + "".join(f"{config.utd / each:8.0f}" for each in median))
    print("share stepping:           " + "".join(f"{each:8.1%}" for each in shares))
    middle, least, most = ratio(seconds, "together", "alone")
    rounds = len(seconds["alone"])
    print(f"a seed to a single run:   {middle:8.3f} times ({least:.3f} to {most:.3f} over {rounds} rounds)")


if __name__ == "__main__":
    main()
