"""Environment steps a second of the whole loop, with a full replay, and what its parts cost alone.

Pin it to one core, and let no one else use that core:

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/loop.py --env Ant-v5 --block 1
"""

import argparse
import dataclasses
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial

import jax
import numpy as np
from common import Training, add_settings, announce, configured, fill, parser, random_transitions
from timing import alternate

from lsp import envs, packing
from lsp.agents import build, presets
from lsp.config import Config
from lsp.executors.executor import Executor
from lsp.executors.inproc import InProcess
from lsp.training.device import RunState
from lsp.types import ActionSample, Recipe


def make_config(arguments: argparse.Namespace) -> Config:
    """The preset with the flags that were given, and no random actions."""
    config = presets("sac_lsp", arguments.preset)
    given = {name: getattr(arguments, name) for name in ("env", "block", "utd", "n_step")}
    given = {name: value for name, value in given.items() if value is not None}
    config = dataclasses.replace(
        config,
        warmup_steps=0,
        learning_starts=1_000,
        replay=dataclasses.replace(config.replay, capacity=arguments.capacity),
        executors=dataclasses.replace(config.executors, count=arguments.count),
        **given,
    )
    return configured(config, arguments.set)


def filled(recipe: Recipe, state: RunState, executors: InProcess) -> RunState:
    """`state` with random rows all over its replay."""
    draw = partial(random_transitions, executors.spec, gamma=recipe.config.gamma)
    return state._replace(replay=fill(recipe.replay.add, state.replay, recipe.config.replay.capacity, draw))


def windows(loop: Training, steps: int, size: int) -> Iterator[tuple[float, float]]:
    """Environment steps a second, and the share of a core, of each window of `size` steps."""
    for _ in range(0, steps, size):
        before, wall, cpu = loop.step, time.perf_counter(), time.process_time()
        while loop.step < before + size:
            loop.advance()
        jax.block_until_ready(loop.device.state)
        seconds = time.perf_counter() - wall
        yield (loop.step - before) / seconds, (time.process_time() - cpu) / seconds


def parts(loop: Training) -> dict[str, Callable[[], object]]:
    """What a step is made of, each alone. They use up the loop, which cannot continue afterwards."""
    device, executors = loop.device, loop.seeds[0].executors
    config, spec, compiled = device.recipe.config, device.spec, device.compiled
    count, chunk = config.executors.count, config.executors.count * config.block
    shapes = ((chunk, packing.Layout.of(spec).width), (chunk,), (count, spec.observation_dim))
    new = [np.zeros(shape, np.float32) for shape in shapes]
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (count, spec.action_dim)).astype(np.float32)
    params, step, random = device.actor_params(), np.int32(loop.step), np.bool_(False)

    def dispatch(function: Callable[..., tuple[RunState, jax.Array, jax.Array]]) -> None:
        device.state, *results = function(device.state, device.roots, step, *new, random)
        jax.block_until_ready((device.state, results))

    return {
        "learn": partial(dispatch, compiled.advance),
        "collect": partial(dispatch, compiled.collect),
        "act": lambda: np.asarray(compiled.act(params, device.roots, step, new[-1], random)),
        "environments": lambda: executors.step(ActionSample(actions, actions)),
    }


def report_parts(loop: Training, updates: int, rate: float, calls: int) -> None:
    """Milliseconds of each part, and the loop's rate against that of its parts put together."""
    seconds = alternate(parts(loop), rounds=7, calls=calls)
    alone = {name: statistics.median(times) for name, times in seconds.items()}
    config = loop.device.recipe.config
    block, steps = config.block, config.block * config.executors.count
    print(f"one update alone:           {1e3 * (alone['learn'] - alone['collect']) / updates:8.3f} ms")
    print(f"store rows and act:         {1e3 * alone['collect']:8.3f} ms")
    print(f"act:                        {1e3 * alone['act']:8.3f} ms")
    print(f"step every environment:     {1e3 * alone['environments']:8.3f} ms")
    together = alone["learn"] + (block - 1) * alone["act"] + block * alone["environments"]
    print(f"loop to its parts:          {rate * together / steps:8.2f} times the rate")


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--env", default="lsp/RllabAnt-v0")
    options.add_argument("--preset", choices=("modern", "dissertation"), default="modern")
    options.add_argument("--steps", type=int, default=5_000, help="environment steps to measure")
    options.add_argument("--capacity", type=int, default=1_000_000, help="rows of replay, all filled beforehand")
    options.add_argument("--count", type=int, default=1, help="executors")
    options.add_argument("--block", type=int, help="default: the preset's")
    options.add_argument("--utd", type=float, help="default: the preset's")
    options.add_argument("--n-step", type=int, help="default: the preset's")
    options.add_argument("--window", type=int, default=250, help="steps that a rate is the mean of")
    options.add_argument("--calls", type=int, default=20, help="calls of each part in a round")
    add_settings(options)
    arguments = options.parse_args()

    announce(__doc__)
    config = make_config(arguments)
    executors = InProcess(
        lambda i: Executor(envs.make(config.env), i, config.gamma, config.n_step), config.executors.count
    )
    recipe = build(config, executors.spec)
    began = time.perf_counter()
    loop = Training(recipe, [executors])
    loop.device.state = filled(recipe, loop.device.state, executors)
    full = time.perf_counter()
    loop.start()
    started = time.perf_counter() - full
    updates = loop.updates  # of one dispatch
    for _ in windows(loop, 2 * arguments.window, arguments.window):  # warm up
        pass
    rates, shares = zip(*windows(loop, arguments.steps, arguments.window), strict=True)
    median = statistics.median(rates)
    print(f"{config.env}, {config.preset}: {executors.spec}, {config.executors.count} executors, block {config.block}, "
          f"{updates} updates a dispatch, {config.replay.capacity:,} rows")
    print(f"make and fill:              {full - began:8.1f} s")
    print(f"until the first updates:    {started:8.1f} s")
    print(f"environment steps a second: {median:8.0f} median of {len(rates)} windows, {max(rates):.0f} best")
    per_cpu_second = statistics.median(rate / share for rate, share in zip(rates, shares, strict=True))
    print(f"the same of CPU time:       {per_cpu_second:8.0f} median")
    print(f"share of a core:            {statistics.median(shares):8.2f} (below 0.95 others were using it: repeat)")
    print(f"most memory so far:         {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:8.2f} GiB")
    report_parts(loop, updates, median, arguments.calls)
    executors.close()


if __name__ == "__main__":
    main()
