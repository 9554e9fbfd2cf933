"""Timing by turns: only ratios of times taken side by side, within one process, travel between machines."""

import statistics
import time
from collections.abc import Callable, Mapping

Seconds = dict[str, list[float]]  # seconds a call, one entry a round, for each variant


def alternate(
    variants: Mapping[str, Callable[[], object]],
    rounds: int = 7,
    calls: int = 100,
    clock: Callable[[], float] = time.perf_counter,
) -> Seconds:
    """Seconds a call of each variant, [rounds]. A variant is a function that blocks until its result is ready.

    Each is called twice before the first stamp, to compile and to warm up. The variants take turns within every round,
    so that a change of the machine's load falls on all of them. `clock=time.process_time` counts CPU time instead, for
    a core that others use too.
    """
    for call in variants.values():
        call()
        call()
    seconds: Seconds = {name: [] for name in variants}
    for _ in range(rounds):
        for name, call in variants.items():
            start = clock()
            for _ in range(calls):
                call()
            seconds[name].append((clock() - start) / calls)
    return seconds


def ratio(seconds: Seconds, a: str, b: str) -> tuple[float, float, float]:
    """Median, minimum and maximum over the rounds of the time of `a` over the time of `b`."""
    ratios = sorted(x / y for x, y in zip(seconds[a], seconds[b], strict=True))
    return statistics.median(ratios), ratios[0], ratios[-1]


def core_share(work: Callable[[], object]) -> float:
    """CPU time over wall time while `work` runs; below 0.95 on one core, others used it and times are too long."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return (time.process_time() - cpu) / (time.perf_counter() - wall)
