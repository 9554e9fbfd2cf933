"""How many executors a learner can use: costs measured on this machine, and a model of more of them.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/scaling.py                # constants, and the table
    OMP_NUM_THREADS=1 python benchmarks/scaling.py --lock-step --clock=wall    # engines against one environment

Costs are CPU time, so that other work on the machine falsifies them less. The model takes a core for each executor and
one for the learner, and a network that is never the bottleneck:

    collected = N / executor             rows a second, while no executor waits
    stored    = 1 / (rollout / K + row)     rows a second that the learner could take in if it never learned
    learned   = 1 / (rollout / K + row + utd * update)

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
from common import Training, add_settings, announce, configured, parser
from timing import alternate

from lsp.agents import build, presets
from lsp.config import Config
from lsp.envs import env_spec
from lsp.executors.async_workers import AsyncWorkers, Collector
from lsp.executors.factory import ExecutorMaker, make
from lsp.executors.inproc import InProcess
from lsp.training.asynchronous import AsyncLoop
from lsp.training.worker_policy import JaxPolicy, make_policy
from lsp.types import Executors, RolloutRequest

COUNTS = (1, 8, 64, 360, 1_000, 10_000)
ROLLOUTS = 40


class Costs(NamedTuple):
    """Seconds of CPU time."""

    executor: float  # a row: act, step, rank; one environment in a worker
    rollout: float  # the learner, a rollout: order, receive
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
    store = costs.rollout / chunk + costs.row
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
    workers = make(config, [0], functools.partial(make_policy, config, 0, ()))
    assert isinstance(workers, AsyncWorkers)
    try:
        training = Training(build(config, workers.spec), [workers])
        training.start()
        rollout, updates = _rollout_cost(workers), training.device.updates_per_dispatch
        while training.updates < 3 * updates:
            training.advance()
        assert isinstance(training.loop, AsyncLoop)
        pool = training.loop._pool or [[np.array(part) for part in _rollout(workers)]]
        seconds = alternate(_dispatches(training, pool[0]), rounds=5, calls=10, clock=time.process_time)
    finally:
        workers.close()
    store, learn = (statistics.median(seconds[name]) for name in ("store", "learn"))
    update = (learn - store) / updates
    return Costs(_executor_cost(config, training), rollout, store / config.executors.chunk, update)


def _rollout(workers: AsyncWorkers) -> list[np.ndarray]:
    workers.request_rollouts(False)
    rollout = workers.drain()[0]
    return [rollout.packed, rollout.returns, rollout.priorities, rollout.origins, np.zeros(len(rollout.packed))]


def _rollout_cost(workers: AsyncWorkers) -> float:
    _rollout(workers)
    began, rollouts = time.process_time(), 0
    while rollouts < ROLLOUTS:
        workers.request_rollouts(False)
        rollouts += len(workers.poll(1.0))
    cost = (time.process_time() - began) / rollouts
    workers.drain()
    return cost


def _dispatches(training: Training, pool: list[np.ndarray]) -> dict[str, Callable[[], object]]:
    device, (rows, returns, priorities) = training.device, pool[:3]

    def run(function: Callable[..., Any]) -> None:
        arguments = (device.roots, np.int32(training.step), rows, returns, priorities)
        device.state, _ = function(device.state, *arguments)
        jax.block_until_ready(device.state)

    return {"store": lambda: run(device.compiled.store), "learn": lambda: run(device.compiled.learn)}


def _executor_cost(config: Config, training: Training) -> float:
    maker, spec = ExecutorMaker(config, (0,)), env_spec(config)
    policy = JaxPolicy(build(config, spec), config, spec, range(1), 0)
    collector = Collector(InProcess(maker, 1), policy, config.executors.chunk)
    collector.reset()
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(training.device.actor_params())]
    collector.collect(RolloutRequest(leaves, 0, False))
    request = RolloutRequest(None, 0, False)
    seconds = alternate({"row": lambda: collector.collect(request)}, rounds=5, calls=5, clock=time.process_time)
    collector.close()
    return statistics.median(seconds["row"]) / config.executors.chunk


def lock_step(arguments: argparse.Namespace) -> None:
    """Updates a second of the base agent, and of eight executors under each engine, in turn."""
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[arguments.clock]
    loops = dict(_loops(arguments))
    for loop in loops.values():
        loop.start()
    calls: dict[str, Callable[[], object]] = {
        name: functools.partial(_until_updated, loop, 64) for name, loop in loops.items()
    }
    seconds = alternate(calls, rounds=7, calls=2, clock=clock)
    for name, loop in loops.items():
        ratios = [base / ours for base, ours in zip(seconds["one environment"], seconds[name], strict=True)]
        rate = 64 / statistics.median(seconds[name])
        print(f"{name:28} {rate:8.0f} updates/s, {statistics.median(ratios):5.2f} times one environment's")
        loop.seeds[0].executors.close()


def _loops(arguments: argparse.Namespace) -> Iterator[tuple[str, Training]]:
    yield "one environment", _loop(configure(arguments, "sac_lsp"))
    for engine in ("inproc", "process"):
        for mode in ("sync", "sync_pipelined"):
            yield f"eight, {engine}, {mode}", _loop(configure(arguments, "distributed", engine=engine, mode=mode))


def _loop(config: Config) -> Training:
    executors: Executors = make(config, list(range(config.executors.count)))
    return Training(build(config, executors.spec), [executors])


def _until_updated(loop: Training, updates: int) -> None:
    last = loop.updates + updates
    while loop.updates < last:
        loop.advance()
    jax.block_until_ready(loop.device.state.agent)


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
