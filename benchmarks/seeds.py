"""What one of several seeds costs, environments included, against a single run: whole training loops, in alternation.

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
from common import Training, add_settings, announce, configured, fill, parser, random_transitions
from timing import Seconds, alternate, core_share, ratio

from lsp import envs
from lsp.agents import build, presets
from lsp.config import Config
from lsp.executors.executor import Executor
from lsp.executors.inproc import InProcess
from lsp.training.device import RunState
from lsp.types import ActionSample, Array, Chunk, EnvSpec, Recipe

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
FILL = 1_000  # rows of every seed written at once


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
    return Timed(
        lambda i: Executor(envs.make(config.env), 1_000 * seed + i, config.gamma, config.n_step),
        config.executors.count,
    )


def filled(recipe: Recipe, state: RunState, spec: EnvSpec, axes: int) -> RunState:
    """`state`, whose leaves have so many leading axes of seeds, with random rows all over every replay."""
    add = recipe.replay.add
    for _ in range(axes):
        add = jax.vmap(add, in_axes=(0, None, None))
    draw = partial(random_transitions, spec, gamma=recipe.config.gamma)
    return state._replace(replay=fill(add, state.replay, recipe.config.replay.capacity, draw, FILL))


def start(recipe: Recipe, count: int) -> tuple[Training, list[Timed]]:
    """So many seeds that learn, with full replays."""
    executors = [make_executors(recipe.config, seed) for seed in range(count)]
    training = Training(recipe, executors)
    device = training.device
    device.state = filled(recipe, device.state, device.spec, axes=0 if count == 1 else 2)
    training.start()
    return training, executors


def step(training: Training, calls: int) -> Array:
    """Step the executors of every seed so often, learn what is due, and wait for it."""
    for _ in range(calls):
        training.advance()
    return jax.block_until_ready(jax.tree.leaves(training.device.state)[0])


def stepping_share(work: Callable[[], object], executors: Sequence[Timed]) -> float:
    """Share of the time of `work` that goes into stepping environments."""
    start, before = Timed.clock(), sum(each.seconds for each in executors)
    work()
    return (sum(each.seconds for each in executors) - before) / (Timed.clock() - start)


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=8)
    options.add_argument("--agent", default="sac_lsp")
    options.add_argument("--preset", choices=("modern", "dissertation"), default="modern")
    options.add_argument("--env", default="lsp/RllabAnt-v0")
    options.add_argument("--capacity", type=int, default=100_000, help="rows of each seed's replay, all filled")
    options.add_argument("--steps", type=int, default=160, help="environment steps of each seed in a round")
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    options.add_argument("--alone", type=int, default=160, help="steps of the single run in a round, at least")
    add_settings(options)
    arguments = options.parse_args()

    announce(__doc__)
    Timed.clock = staticmethod(CLOCKS[arguments.clock])
    config = make_config(arguments)
    recipe = build(config, make_executors(config, 0).spec)
    (one, alone), (many, together) = start(recipe, 1), start(recipe, arguments.seeds)
    dispatch = config.executors.count * config.block
    steps = {"alone": max(arguments.steps, arguments.alone), "together": arguments.steps}
    dispatches = {name: -(-count // dispatch) for name, count in steps.items()}
    variants = {
        "alone": lambda: step(one, config.block * dispatches["alone"]),
        "together": lambda: step(many, config.block * dispatches["together"]),
    }
    seconds = alternate(variants, arguments.rounds, calls=1, clock=Timed.clock)
    shares = [stepping_share(variants["alone"], alone), stepping_share(variants["together"], together)]
    seeds = {"alone": 1, "together": arguments.seeds}
    per_step = {name: [each / dispatches[name] / dispatch / seeds[name] for each in seconds[name]] for name in seeds}
    print_table(config, arguments.seeds, per_step, shares)
    print(f"share of a core:          {core_share(variants['together']):8.2f} (below 0.95: others used it, repeat)")


def print_table(config: Config, count: int, seconds: Seconds, shares: Sequence[float]) -> None:
    """One column alone, one together; `seconds` of a step of a seed."""
    devices = jax.local_devices()[:count]
    print(f"{config.env}, {config.agent}, {config.preset}, block {config.block}, {config.replay.capacity:,} rows each; "
          f"{len(devices)} x {devices[0].device_kind}")
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
