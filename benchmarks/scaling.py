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
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from common import add_settings, announce, configured, parser
from timing import alternate
from training import Training

from lsp.agents import build, presets
from lsp.config import Config
from lsp.executors.async_workers import AsyncWorkers, Collector
from lsp.executors.factory import ExecutorMaker, make
from lsp.executors.inproc import InProcess
from lsp.training.asynchronous import workers_of
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
    training = Training(config, make_executors=_make_workers)
    try:
        training.start()
        rollout = _rollout_cost(workers_of(training.seeds[0]))
        training.until_updated(3 * training.device.updates_per_dispatch)
        seconds = alternate(_dispatches(training), rounds=5, calls=10, clock=time.process_time)
    finally:
        training.close()
    store, learn = (statistics.median(seconds[name]) for name in ("store", "learn"))
    update = (learn - store) / training.device.updates_per_dispatch
    return Costs(_executor_cost(training), rollout, store / config.executors.chunk, update)


def _make_workers(config: Config, seed: int) -> Executors:
    return make(config, [seed], functools.partial(make_policy, config, 0, ()))


def _rollout_cost(workers: AsyncWorkers) -> float:
    workers.request_rollouts(False)
    workers.drain()
    began, rollouts = time.process_time(), 0
    while rollouts < ROLLOUTS:
        workers.request_rollouts(False)
        rollouts += len(workers.poll(1.0))
    cost = (time.process_time() - began) / rollouts
    workers.drain()
    return cost


def _dispatches(training: Training) -> dict[str, Callable[[], object]]:
    device, workers = training.device, workers_of(training.seeds[0])
    workers.request_rollouts(False)
    rollout = workers.drain()[0]

    def run(function: Callable[..., Any]) -> None:
        arguments = (np.int32(training.step), rollout.packed, rollout.returns, rollout.priorities)
        device.state, _ = function(device.state, device.roots, *arguments)
        training.wait()

    return {"store": lambda: run(device.compiled.store), "learn": lambda: run(device.compiled.learn)}


def _executor_cost(training: Training) -> float:
    config, spec = training.config, training.device.spec
    maker = ExecutorMaker(config, (0,))
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
    trainings = {name: Training(config) for name, config in _setups(arguments).items()}
    calls: dict[str, Callable[[], object]] = {}
    for name, training in trainings.items():
        training.start()
        training.until_updated(1)
        calls[name] = functools.partial(training.until_updated, arguments.updates)
    seconds = alternate(calls, rounds=arguments.rounds, calls=2, clock=clock)
    for name, training in trainings.items():
        ratios = [base / ours for base, ours in zip(seconds["one environment"], seconds[name], strict=True)]
        rate = arguments.updates / statistics.median(seconds[name])
        print(f"{name:28} {rate:8.0f} updates/s, {statistics.median(ratios):5.2f} times one environment's")
        training.close()


def _setups(arguments: argparse.Namespace) -> dict[str, Config]:
    setups = {"one environment": configure(arguments, "sac_lsp")}
    for engine in ("inproc", "process"):
        for mode in ("sync", "sync_pipelined"):
            setups[f"eight, {engine}, {mode}"] = configure(arguments, "distributed", engine=engine, mode=mode)
    return setups


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--env", default="lsp/RllabAnt-v0")
    options.add_argument("--preset", choices=("modern", "dissertation"), default="modern")
    options.add_argument("--capacity", type=int, default=100_000, help="rows of replay")
    options.add_argument("--lock-step", action="store_true", help="compare engines in lock-step instead")
    options.add_argument("--rounds", type=int, default=7, help="of the comparison in lock-step")
    options.add_argument("--updates", type=int, default=64, help="of a call of it")
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
