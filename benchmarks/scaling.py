"""How many executors a learner can use: costs measured on this machine, and a model of more of them.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/scaling.py                # constants, and the table
    OMP_NUM_THREADS=1 python benchmarks/scaling.py --lock-step --clock=wall    # engines against one environment

Costs are CPU time, so that other work on the machine falsifies them less. The model takes a core for each executor and
one for the learner, and a network that is never the bottleneck:

    collected = N / executor             rows a second, while no executor waits
    stored    = 1 / (haul / K + row)     rows a second that the learner could take in if it never learned
    learned   = 1 / (haul / K + row + utd * update)

where N executors hand over K rows at a time. The least of collected and learned is what a run does: --utd holds the
executors back to it. The last two columns say what more executors are for: with a smaller --utd, data.
"""

import argparse
import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from common import add_settings, announce, configured, parser
from timing import alternate

from lsp.agents import build, presets
from lsp.config import Config
from lsp.executors.async_workers import Fleet
from lsp.executors.collector import Collector
from lsp.executors.factory import ExecutorMaker, make, spec_of
from lsp.executors.inproc import InProcess
from lsp.training.asynchronous import AsyncLoop
from lsp.training.loop import Loop
from lsp.training.run import LOOPS
from lsp.training.worker_policy import JaxActor, make_actor
from lsp.types import Executors, Order

COUNTS = (1, 8, 64, 360, 1_000, 10_000)
HAULS = 40


class Costs(NamedTuple):
    """Seconds of CPU time."""

    executor: float  # a row: act, step, rank; one environment in a worker
    haul: float  # the learner, a haul: order, receive
    row: float  # the learner, a row: pool, store
    update: float  # the learner, an update


class Forecast(NamedTuple):
    """What the model says of a number of executors."""

    rows: float  # a second
    bottleneck: str
    idle: float  # share of the time that an executor waits for the learner
    staleness: float  # updates between acting and learning


def forecast(costs: Costs, count: int, utd: float, chunk: int, in_flight: int, publish_every: int) -> Forecast:
    """Throughput of `count` executors, each on a core of its own, and one learner."""
    collected = count / costs.executor
    store = costs.haul / chunk + costs.row
    learned = 1 / (store + utd * costs.update)
    rows = min(collected, learned)
    busiest = "updates" if utd * costs.update > store else "receiving"
    ahead = count * chunk * in_flight if collected > learned else count * chunk
    staleness = publish_every / 2 + utd * ahead
    return Forecast(rows, "executors" if collected < learned else busiest, 1 - rows / collected, staleness)


def configure(arguments: argparse.Namespace, agent: str, **executors: Any) -> Config:
    """An agent's preset, small in replay and without random actions."""
    config = presets(agent, arguments.preset)
    config = dataclasses.replace(
        config,
        env=arguments.env,
        warmup_steps=0,
        learning_starts=500,
        replay=dataclasses.replace(config.replay, capacity=arguments.capacity),
        executors=dataclasses.replace(config.executors, **executors),
    )
    return configured(config, arguments.set)


def measure(arguments: argparse.Namespace) -> Costs:
    """The costs on this machine, with one executor in one worker process."""
    config = configure(arguments, "distributed_prioritized", engine="process", mode="async", workers=1, count=1)
    config = dataclasses.replace(config, block=config.executors.chunk)
    fleet = make(config, [0], functools.partial(make_actor, config, 0, ()))
    assert isinstance(fleet, Fleet)
    try:
        loop = AsyncLoop(build(config, fleet.spec), fleet)
        loop.start()
        haul = _haul_cost(loop, fleet)
        while loop.updates < 3 * loop._updates_per_dispatch:
            loop.advance()
        pool = loop._pool or [[np.array(part) for part in _haul(loop, fleet)]]
        seconds = alternate(_dispatches(loop, pool[0]), rounds=5, calls=10, clock=time.process_time)
    finally:
        fleet.close()
    store, learn = (statistics.median(seconds[name]) for name in ("store", "learn"))
    update = (learn - store) / loop._updates_per_dispatch
    return Costs(_executor_cost(config, loop), haul, store / config.executors.chunk, update)


def _haul(loop: AsyncLoop, fleet: Fleet) -> list[np.ndarray]:
    fleet.order(False)
    haul = fleet.drain()[0]
    return [haul.rows, haul.returns, haul.priorities, haul.origins, np.zeros(len(haul.rows))]


def _haul_cost(loop: AsyncLoop, fleet: Fleet) -> float:
    _haul(loop, fleet)
    began, hauls = time.process_time(), 0
    while hauls < HAULS:
        fleet.order(False)
        hauls += len(fleet.poll(1.0))
    cost = (time.process_time() - began) / hauls
    fleet.drain()
    return cost


def _dispatches(loop: AsyncLoop, pool: list[np.ndarray]) -> dict[str, Callable[[], object]]:
    rows, returns, priorities = pool[:3]

    def run(function: Callable[..., Any]) -> None:
        arguments = (loop.root, np.int32(loop.step), rows, returns, priorities)
        loop.state, _ = function(loop.state, *arguments)
        jax.block_until_ready(loop.state)

    return {"store": lambda: run(loop._store), "learn": lambda: run(loop._learn)}


def _executor_cost(config: Config, loop: AsyncLoop) -> float:
    maker = ExecutorMaker(config.env, {}, (0,), config.gamma, config.n_step)
    spec = spec_of(maker)
    actor = JaxActor(build(config, spec).agent, config, spec, range(1), 0)
    collector = Collector(InProcess(maker, 1), actor, config.executors.chunk)
    collector.reset()
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(loop.actor_params())]
    collector.collect(Order(leaves, 0, False))
    order = Order(None, 0, False)
    seconds = alternate({"row": lambda: collector.collect(order)}, rounds=5, calls=5, clock=time.process_time)
    collector.close()
    return statistics.median(seconds["row"]) / config.executors.chunk


def lock_step(arguments: argparse.Namespace) -> None:
    """Updates a second of the base agent, and of eight executors under each engine, in turn."""
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[arguments.clock]
    loops = dict(_loops(arguments))
    for loop in loops.values():
        loop.start()
        while loop.updates == 0:
            loop.advance()
    calls: dict[str, Callable[[], object]] = {
        name: functools.partial(_until_updated, loop, 64) for name, loop in loops.items()
    }
    seconds = alternate(calls, rounds=7, calls=2, clock=clock)
    for name, loop in loops.items():
        ratios = [base / ours for base, ours in zip(seconds["one environment"], seconds[name], strict=True)]
        rate = 64 / statistics.median(seconds[name])
        print(f"{name:28} {rate:8.0f} updates/s, {statistics.median(ratios):5.2f} times one environment's")
        loop.executors.close()


def _loops(arguments: argparse.Namespace) -> Iterator[tuple[str, Loop]]:
    yield "one environment", _loop(configure(arguments, "sac_lsp"))
    for engine in ("inproc", "process"):
        for mode in ("sync", "sync_pipelined"):
            yield f"eight, {engine}, {mode}", _loop(configure(arguments, "distributed", engine=engine, mode=mode))


def _loop(config: Config) -> Loop:
    executors: Executors = make(config, list(range(config.executors.count)))
    return LOOPS[config.executors.mode](build(config, executors.spec), executors)


def _until_updated(loop: Loop, updates: int) -> None:
    last = loop.updates + updates
    while loop.updates < last:
        loop.advance()
    jax.block_until_ready(loop.state.agent)


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--env", default="lsp/RllabAnt-v0")
    options.add_argument("--preset", choices=("modern", "dissertation"), default="modern")
    options.add_argument("--capacity", type=int, default=100_000, help="rows of replay")
    options.add_argument("--lock-step", action="store_true", help="compare engines in lock-step instead")
    options.add_argument("--clock", choices=("wall", "cpu"), default="cpu", help="cpu counts this process only")
    add_settings(options)
    arguments = options.parse_args()
    announce(__doc__)
    if arguments.lock_step:
        lock_step(arguments)
        return
    costs = measure(arguments)
    print(f"{arguments.env}, {arguments.preset}; microseconds of CPU time:")
    print("  ".join(f"{name} {1e6 * value:,.0f}" for name, value in costs._asdict().items()))
    executors = configure(arguments, "distributed_prioritized").executors
    print(f"{'executors':>9}  {'utd':>6}  {'rows/s':>9}  {'bottleneck':10}  {'waiting':>7}  {'staleness':>9}")
    for utd in (1.0, 1 / 8, 1 / 64):
        for count in COUNTS:
            found = forecast(costs, count, utd, executors.chunk, executors.in_flight, executors.publish_every)
            print(f"{count:9,}  {utd:6.3f}  {found.rows:9,.0f}  {found.bottleneck:10}  "
                  f"{found.idle:7.0%}  {found.staleness:9,.0f}")


if __name__ == "__main__":
    main()
