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
import jax.numpy as jnp
import numpy as np
from timing import alternate

from lsp import envs, packing
from lsp.agents import build, presets
from lsp.config import Config, validate
from lsp.executors.executor import Executor
from lsp.executors.inproc import InProcess
from lsp.training.device import Dispatches, RunState, make_dispatches
from lsp.training.loop import Loop
from lsp.types import ActionSample, EnvSpec, Key, Recipe

WINDOW = 250  # steps
FILL = 2**14  # rows written at once


def make_config(arguments: argparse.Namespace) -> Config:
    """The preset with the flags that were given, and no random actions."""
    config = presets("sac_lsp", arguments.preset)
    given = {name: getattr(arguments, name) for name in ("env", "block", "utd", "n_step")}
    given = {name: value for name, value in given.items() if value is not None}
    return validate(
        dataclasses.replace(
            config,
            warmup_steps=0,
            learning_starts=1_000,
            replay=dataclasses.replace(config.replay, capacity=arguments.capacity),
            executors=dataclasses.replace(config.executors, count=arguments.count),
            **given,
        )
    )


def fill(recipe: Recipe, state: RunState, spec: EnvSpec, key: Key) -> RunState:
    """Random rows all over the replay: a nearly empty one would stay in cache and flatter the sampling."""
    chunk = min(FILL, recipe.config.replay.capacity)

    layout = packing.Layout.of(spec)

    def add(state: RunState, key: Key) -> RunState:
        random = layout.unpack(jax.random.normal(key, (chunk, layout.width)))
        random = random._replace(discount=jnp.full(chunk, recipe.config.gamma))
        return state._replace(replay=recipe.replay.add(state.replay, random, jnp.full(chunk, jnp.inf)))

    add_once = jax.jit(add, donate_argnums=0)
    for part in range(-(-recipe.config.replay.capacity // chunk)):
        state = add_once(state, jax.random.fold_in(key, part))
    return jax.block_until_ready(state)


def windows(loop: Loop, steps: int) -> Iterator[tuple[float, float]]:
    """Environment steps a second, and the share of a core, of each window."""
    for _ in range(0, steps, WINDOW):
        before, wall, cpu = loop.step, time.perf_counter(), time.process_time()
        while loop.step < before + WINDOW:
            loop.advance()
        jax.block_until_ready(loop.state)
        seconds = time.perf_counter() - wall
        yield (loop.step - before) / seconds, (time.process_time() - cpu) / seconds


def parts(loop: Loop, dispatches: Dispatches) -> dict[str, Callable[[], object]]:
    """What a step is made of, each alone. They use up the loop, which cannot go on afterwards."""
    config, spec = loop.config, loop.executors.spec
    count, chunk = config.executors.count, config.executors.count * config.block
    shapes = ((chunk, packing.Layout.of(spec).width), (chunk,), (count, spec.observation_dim))
    new = [np.zeros(shape, np.float32) for shape in shapes]
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (count, spec.action_dim)).astype(np.float32)
    params, step, random = loop.actor_params(), np.int32(loop.step), np.bool_(False)

    def dispatch(function: Callable[..., tuple[RunState, jax.Array, jax.Array]]) -> None:
        loop.state, *results = function(loop.state, loop.root, step, *new, random)
        jax.block_until_ready((loop.state, results))

    return {
        "learn": partial(dispatch, dispatches.learn),
        "collect": partial(dispatch, dispatches.collect),
        "act": lambda: np.asarray(dispatches.act(params, loop.root, step, new[-1], random)),
        "environments": lambda: loop.executors.step(ActionSample(actions, actions)),
    }


def report_parts(loop: Loop, recipe: Recipe, updates: int, rate: float) -> None:
    """Milliseconds of each part, and the loop's rate against that of its parts put together."""
    dispatches = make_dispatches(recipe, loop.executors.spec, updates)
    seconds = alternate(parts(loop, dispatches), rounds=7, calls=20)
    alone = {name: statistics.median(times) for name, times in seconds.items()}
    block, steps = loop.config.block, loop.config.block * loop.config.executors.count
    print(f"one update alone:           {1e3 * (alone['learn'] - alone['collect']) / updates:8.3f} ms")
    print(f"store rows and act:         {1e3 * alone['collect']:8.3f} ms")
    print(f"act:                        {1e3 * alone['act']:8.3f} ms")
    print(f"step every environment:     {1e3 * alone['environments']:8.3f} ms")
    together = alone["learn"] + (block - 1) * alone["act"] + block * alone["environments"]
    print(f"loop to its parts:          {rate * together / steps:8.2f} times the rate")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="lsp/RllabAnt-v0")
    parser.add_argument("--preset", choices=("modern", "dissertation"), default="modern")
    parser.add_argument("--steps", type=int, default=5_000, help="environment steps to measure")
    parser.add_argument("--capacity", type=int, default=1_000_000, help="rows of replay, all filled beforehand")
    parser.add_argument("--count", type=int, default=1, help="executors")
    parser.add_argument("--block", type=int, help="default: the preset's")
    parser.add_argument("--utd", type=float, help="default: the preset's")
    parser.add_argument("--n-step", type=int, help="default: the preset's")
    arguments = parser.parse_args()

    config = make_config(arguments)
    executors = InProcess(
        lambda i: Executor(envs.make(config.env), i, config.gamma, config.n_step), config.executors.count
    )
    recipe = build(config, executors.spec)
    began = time.perf_counter()
    loop = Loop(recipe, executors)
    loop.state = fill(recipe, loop.state, executors.spec, jax.random.key(1))
    loop.start()
    filled = time.perf_counter()
    while loop.updates == 0:
        collected = time.perf_counter()
        loop.advance()
    compiled = time.perf_counter() - collected
    updates = loop.updates  # of one dispatch
    for _ in windows(loop, 2 * WINDOW):  # warm up
        pass
    rates, shares = zip(*windows(loop, arguments.steps), strict=True)
    median = statistics.median(rates)
    print(f"{config.env}, {config.preset}: {executors.spec}, {config.executors.count} executors, block {config.block}, "
          f"{updates} updates a dispatch, {config.replay.capacity:,} rows")
    print(f"start and fill:             {filled - began:8.1f} s")
    print(f"compile the updates:        {compiled:8.1f} s")
    print(f"environment steps a second: {median:8.0f} median of {len(rates)} windows, {max(rates):.0f} best")
    per_cpu_second = statistics.median(rate / share for rate, share in zip(rates, shares, strict=True))
    print(f"the same of CPU time:       {per_cpu_second:8.0f} median")
    print(f"share of a core:            {statistics.median(shares):8.2f} (below 0.95 others were using it: repeat)")
    print(f"most memory so far:         {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:8.2f} GiB")
    report_parts(loop, recipe, updates, median)
    executors.close()


if __name__ == "__main__":
    main()
