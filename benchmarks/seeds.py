"""What a seed of a sweep costs, environments included, against a single run: whole training loops, in alternation.

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

import jax
import jax.numpy as jnp
from timing import Seconds, alternate, core_share, ratio

from lsp import envs, packing
from lsp.agents import build, presets
from lsp.config import Config, validate
from lsp.executors.executor import Executor
from lsp.executors.inproc import InProcess
from lsp.training.device import RunState
from lsp.training.loop import Loop
from lsp.training.sweep import Lane, Sweep
from lsp.types import ActionSample, Array, Chunk, EnvSpec, Recipe

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
FILL = 1_000  # rows of every lane written at once
ALONE = 160  # steps of the single run in a round, at least


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
    return validate(
        dataclasses.replace(
            config,
            env=arguments.env,
            warmup_steps=0,
            learning_starts=config.replay.batch_size + config.executors.count * (config.n_step - 1),
            replay=dataclasses.replace(config.replay, capacity=arguments.capacity),
        )
    )


def make_executors(config: Config, seed: int) -> Timed:
    """The executors of one seed."""
    return Timed(
        lambda i: Executor(envs.make(config.env), 1_000 * seed + i, config.gamma, config.n_step),
        config.executors.count,
    )


def filled(recipe: Recipe, state: RunState, spec: EnvSpec, lanes: int) -> RunState:
    """`state`, whose leaves have so many leading axes of lanes, with random rows all over every replay."""
    layout = packing.Layout.of(spec)
    chunk = jax.random.normal(jax.random.key(1), (FILL, layout.width))
    transitions = layout.unpack(chunk)._replace(discount=jnp.full(FILL, recipe.config.gamma))

    def add(state: RunState) -> RunState:
        return state._replace(replay=recipe.replay.add(state.replay, transitions, jnp.full(FILL, jnp.inf)))

    for _ in range(lanes):
        add = jax.vmap(add)
    add_once = jax.jit(add, donate_argnums=0)
    for _ in range(-(-recipe.config.replay.capacity // FILL)):
        state = add_once(state)
    return jax.block_until_ready(state)


def start_alone(recipe: Recipe) -> tuple[Loop, Timed]:
    """A single run that learns."""
    executors = make_executors(recipe.config, 0)
    loop = Loop(recipe, executors)
    loop.state = filled(recipe, loop.state, executors.spec, lanes=0)
    loop.start()
    while loop.updates == 0:
        loop.advance()
    return loop, executors


def start_together(recipe: Recipe, spec: EnvSpec, count: int) -> tuple[Sweep, list[Lane], list[Timed]]:
    """A sweep of seeds 0 to count - 1 that learns."""
    sweep = Sweep(recipe, spec, range(count))
    sweep.state = filled(recipe, sweep.state, spec, lanes=2)
    executors = [make_executors(recipe.config, seed) for seed in range(count)]
    lanes = [
        sweep.join(dataclasses.replace(recipe.config, seed=seed), each) for seed, each in enumerate(executors)
    ]
    for lane in lanes:
        lane.start()
    sweep.start(lanes)
    while lanes[0].updates == 0:
        step_together(sweep, lanes, 1)
    return sweep, lanes, executors


def step_alone(loop: Loop, calls: int) -> Array:
    """Step the executors so often, learn what is due, and wait for it."""
    for _ in range(calls):
        loop.advance()
    return jax.block_until_ready(jax.tree.leaves(loop.state)[0])


def step_together(sweep: Sweep, lanes: Sequence[Lane], calls: int) -> Array:
    """`step_alone` for every lane."""
    for _ in range(calls):
        for lane in lanes:
            lane.collect()
        sweep.answer(lanes)
    return jax.block_until_ready(jax.tree.leaves(sweep.state)[0])


def stepping_share(work: Callable[[], object], executors: Sequence[Timed]) -> float:
    """Share of the time of `work` that goes into stepping environments."""
    start, before = Timed.clock(), sum(each.seconds for each in executors)
    work()
    return (sum(each.seconds for each in executors) - before) / (Timed.clock() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--agent", default="sac_lsp")
    parser.add_argument("--preset", choices=("modern", "dissertation"), default="modern")
    parser.add_argument("--env", default="lsp/RllabAnt-v0")
    parser.add_argument("--capacity", type=int, default=100_000, help="rows of each seed's replay, all filled")
    parser.add_argument("--steps", type=int, default=160, help="environment steps of each seed in a round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    arguments = parser.parse_args()

    Timed.clock = staticmethod(CLOCKS[arguments.clock])
    config = make_config(arguments)
    loop, alone = start_alone(build(config, make_executors(config, 0).spec))
    sweep, lanes, together = start_together(build(config, alone.spec), alone.spec, arguments.seeds)
    dispatch = config.executors.count * config.block
    dispatches = {"alone": -(-max(arguments.steps, ALONE) // dispatch), "together": -(-arguments.steps // dispatch)}
    variants = {
        "alone": lambda: step_alone(loop, config.block * dispatches["alone"]),
        "together": lambda: step_together(sweep, lanes, config.block * dispatches["together"]),
    }
    seconds = alternate(variants, arguments.rounds, calls=1, clock=Timed.clock)
    shares = [stepping_share(variants["alone"], [alone]), stepping_share(variants["together"], together)]
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
