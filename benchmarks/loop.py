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
from typing import Any

import jax
import numpy as np
from common import add_settings, announce, configured, parser
from timing import alternate
from training import Training

from lsp import packing
from lsp.agents import presets
from lsp.config import Config
from lsp.types import ActionSample


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


def windows(training: Training, steps: int, size: int) -> Iterator[tuple[float, float]]:
    """Environment steps a second, and the share of a core, of each window of `size` steps."""
    for _ in range(0, steps, size):
        before, wall, cpu = training.step, time.perf_counter(), time.process_time()
        while training.step < before + size:
            training.advance()
        training.wait()
        seconds = time.perf_counter() - wall
        yield (training.step - before) / seconds, (time.process_time() - cpu) / seconds


def parts(training: Training) -> dict[str, Callable[[], object]]:
    """What a step is made of, each alone. They use up the training, which cannot continue afterwards."""
    config, device, executors = training.config, training.device, training.seeds[0].executors
    count, chunk = config.executors.count, config.executors.count * config.block
    width = packing.Layout.of(device.spec).width
    new = [np.zeros(shape, np.float32) for shape in ((chunk, width), (chunk,), (count, device.spec.observation_dim))]
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (count, device.spec.action_dim)).astype(np.float32)
    params, step, random = device.actor_params(), np.int32(training.step), np.bool_(False)

    def dispatch(function: Callable[..., Any]) -> None:
        device.state, *results = function(device.state, device.roots, step, *new, random)
        jax.block_until_ready((device.state, results))

    return {
        "learn": partial(dispatch, device.compiled.advance),
        "collect": partial(dispatch, device.compiled.collect),
        "act": lambda: np.asarray(device.compiled.act(params, device.roots, step, new[-1], random)),
        "environments": lambda: executors.step(ActionSample(actions, actions)),
    }


def report_parts(training: Training, rate: float, calls: int) -> None:
    """Milliseconds of each part, and the loop's rate against that of its parts put together."""
    config, updates = training.config, training.device.updates_per_dispatch
    seconds = alternate(parts(training), rounds=7, calls=calls)
    alone = {name: statistics.median(times) for name, times in seconds.items()}
    block, steps = config.block, config.block * config.executors.count
    print(f"one update alone:           {1e3 * (alone['learn'] - alone['collect']) / updates:8.3f} ms")
    print(f"store transitions and act:  {1e3 * alone['collect']:8.3f} ms")
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
    options.add_argument("--capacity", type=int, default=1_000_000, help="transitions in replay, all filled beforehand")
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
    began = time.perf_counter()
    training = Training(config)
    training.fill()
    training.start()
    full = time.perf_counter()
    while training.updates == 0:
        collected = time.perf_counter()
        training.advance()
    compiled = time.perf_counter() - collected
    for _ in windows(training, 2 * arguments.window, arguments.window):  # warm up
        pass
    rates, shares = zip(*windows(training, arguments.steps, arguments.window), strict=True)
    median = statistics.median(rates)
    executors, spec = config.executors.count, training.device.spec
    print(f"{config.env}, {config.preset}: {spec}, {executors} executors, block {config.block}, "
          f"{training.device.updates_per_dispatch} updates a dispatch, {config.replay.capacity:,} transitions")
    print(f"start and fill:             {full - began:8.1f} s")
    print(f"compile the updates:        {compiled:8.1f} s")
    print(f"environment steps a second: {median:8.0f} median of {len(rates)} windows, {max(rates):.0f} best")
    per_cpu_second = statistics.median(rate / share for rate, share in zip(rates, shares, strict=True))
    print(f"the same of CPU time:       {per_cpu_second:8.0f} median")
    print(f"share of a core:            {statistics.median(shares):8.2f} (below 0.95 others were using it: repeat)")
    print(f"most memory so far:         {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:8.2f} GiB")
    report_parts(training, median, arguments.calls)
    training.close()


if __name__ == "__main__":
    main()
