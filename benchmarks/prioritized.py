"""What prioritized replay costs: its cycle against cpprb's, and the whole training loop against uniform replay's.

A cycle is: insert 1 transition of the ant's size, draw 128 with importance weights, write 128 priorities; the replay
is full. Pin it to one core that nobody else uses; where that cannot be had, add --cpu-time:

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/prioritized.py

cpprb is not a dependency: `python -m pip install -e '.[peers]'`. With `--only cycle`, an environment that has cpprb,
JAX, Flax and optax will do.
"""

import argparse
import dataclasses
import importlib.util
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
from timing import Seconds, alternate, core_share, ratio

from lsp import packing
from lsp.replay import make_prioritized, make_uniform
from lsp.training import huge_pages
from lsp.types import Array, Batch, Key, Replay, Transition

OBSERVATION, ACTION = 125, 8
LAYOUT = packing.Layout(OBSERVATION, ACTION)
BATCH, SCAN, FILL = 128, 16, 2**14
ALPHA, BETA = 0.5, 0.4
Call = Callable[[], object]


def random_transitions(rng: np.random.Generator, count: int) -> Transition:
    """Transitions of the ant's size, in memory of their own."""
    packed = rng.standard_normal((count, LAYOUT.width), np.float32)
    return jax.tree.map(np.ascontiguousarray, LAYOUT.unpack(packed))


def td_errors(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Sizes of some decades."""
    return np.abs(rng.standard_cauchy(shape)).astype(np.float32)


def full(replay: Replay, capacity: int, rng: np.random.Generator) -> Any:
    """The replay's state, full of transitions with priorities."""
    chunk = random_transitions(rng, min(FILL, capacity))
    state = jax.jit(replay.init)(jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), chunk))
    add = jax.jit(replay.add, donate_argnums=0)
    huge_pages.advise(state)  # as a training loop does
    for _ in range(-(-capacity // FILL)):
        state = add(state, chunk, td_errors(rng, len(chunk.reward)))
    return jax.block_until_ready(state)


def update_once(replay: Replay, with_metrics: bool, state: Any, inputs: tuple[Key, Array]) -> tuple[Any, Any]:
    """Draw a batch, report on it if asked to, and write its priorities."""
    key, priorities = inputs
    batch = replay.sample(state, key)
    metrics = jnp.stack(list(replay.metrics(state, batch).values())) if with_metrics else None
    return replay.update_priorities(state, batch.indices, priorities), (batch, metrics)


def used(carried: tuple[Any, tuple[Batch, Any]]) -> tuple[Any, Any]:
    """A number that needs every part of the batch, in place of the batch."""
    state, (batch, metrics) = carried
    return state, (sum(jnp.sum(leaf) for leaf in jax.tree.leaves(batch)), metrics)


def one_call(replay: Replay, with_metrics: bool, state: Any, packed: Array, priorities: Array, step: Array) -> Any:
    """One cycle, which hands out the batch."""
    state = replay.add(state, LAYOUT.unpack(packed), jnp.full(1, jnp.inf))
    return update_once(replay, with_metrics, state, (jax.random.key(step), priorities[0]))


def one_scan(replay: Replay, with_metrics: bool, state: Any, packed: Array, priorities: Array, step: Array) -> Any:
    """As many cycles as there are transitions and batches of priorities, as in a training loop: transitions first."""
    state = replay.add(state, LAYOUT.unpack(packed), jnp.full(len(packed), jnp.inf))
    keys = jax.random.split(jax.random.key(step), len(priorities))
    return jax.lax.scan(lambda *inputs: used(update_once(replay, with_metrics, *inputs)), state, (keys, priorities))


def lsp_call(replay: Replay, body: Callable[..., Any], count: int, capacity: int, with_metrics: bool = False) -> Call:
    """A call of `count` cycles with the replay donated. Transitions come from the host."""
    rng, step = np.random.default_rng(0), 0
    state, packed = full(replay, capacity, rng), packing.pack(random_transitions(rng, count))
    priorities = jnp.asarray(td_errors(rng, count, BATCH))
    function = jax.jit(partial(body, replay, with_metrics), donate_argnums=0)

    def call() -> None:
        nonlocal state, step
        state, out = function(state, packed, priorities, np.int32(step))
        step += 1
        jax.block_until_ready(out)

    return call


def cpprb_call(capacity: int) -> Call:
    """The same cycle of cpprb."""
    import cpprb

    rng = np.random.default_rng(0)
    shapes = {"observation": OBSERVATION, "action": ACTION, "reward": 1, "discount": 1, "next_observation": OBSERVATION}
    buffer = cpprb.PrioritizedReplayBuffer(capacity, {name: {"shape": n} for name, n in shapes.items()}, alpha=ALPHA)
    for _ in range(-(-capacity // FILL)):
        buffer.add(**random_transitions(rng, FILL)._asdict(), priorities=td_errors(rng, FILL))
    row, priorities = random_transitions(rng, 1)._asdict(), td_errors(rng, BATCH)

    def call() -> None:
        buffer.add(**row)
        batch = buffer.sample(BATCH, beta=BETA)
        buffer.update_priorities(batch["indexes"], priorities)

    return call


def cycles(capacity: int) -> tuple[dict[str, Call], dict[str, int]]:
    """Variants of the cycle, and how many cycles a call of each has."""
    prioritized = partial(make_prioritized, capacity, BATCH)
    classic, ranked = (prioritized(alpha=ALPHA, beta=BETA, scheme=scheme) for scheme in ("proportional", "rank"))
    lap = prioritized(alpha=0.4, beta=BETA, priority="lap", weights="none", policy_batch="uniform")
    plans = {
        "one call": (classic, one_call, 1, False),
        "scan": (classic, one_scan, SCAN, False),
        "scan, metrics": (classic, one_scan, SCAN, True),
        "scan, LAP": (lap, one_scan, SCAN, False),
        "scan, rank": (ranked, one_scan, SCAN, False),
        "scan, uniform": (make_uniform(capacity, BATCH), one_scan, SCAN, False),
    }
    variants = {name: lsp_call(plan[0], plan[1], plan[2], capacity, plan[3]) for name, plan in plans.items()}
    counts = {name: plan[2] for name, plan in plans.items()}
    if importlib.util.find_spec("cpprb"):
        return {"cpprb": cpprb_call(capacity)} | variants, {"cpprb": 1} | counts
    print("cpprb is not installed, and there is nothing to compare with: python -m pip install -e '.[peers]'")
    return variants, counts


def loop_call(agent: str, capacity: int, block: int, settings: list[str], **changes: Any) -> Call:
    """A call that trains for 8 steps of lsp/RllabAnt-v0; modern preset, with other `changes` of its replay."""
    from training import Training

    from lsp import agents

    config = agents.presets(agent)
    replay = dataclasses.replace(config.replay, capacity=capacity, **changes)
    config = dataclasses.replace(config, replay=replay, warmup_steps=0, learning_starts=1_000, block=block)
    training = Training(common.configured(config, settings))
    memory = full(training.device.recipe.replay, capacity, np.random.default_rng(0))
    training.device.state = training.device.state._replace(replay=memory)
    training.start()
    while training.updates < 16:
        training.run(8)
    return partial(training.run, 8)


def measure(variants: dict[str, Call], counts: dict[str, int], args: argparse.Namespace) -> Seconds:
    """Time them by turns, and print microseconds of one cycle or step."""
    seconds: Seconds = {}
    clock = time.process_time if args.cpu_time else time.perf_counter
    share = core_share(lambda: seconds.update(alternate(variants, args.rounds, args.calls, clock)))
    print(f"CPU time / wall time: {share:.2f}{'' if share > 0.95 else ' (the core was shared)'}")
    for name, times in seconds.items():
        seconds[name] = [second / counts[name] for second in times]
        print(f"{name:>22} {1e6 * statistics.median(seconds[name]):9.1f} us, least {1e6 * min(seconds[name]):.1f}")
    return seconds


def compare(seconds: Seconds, *pairs: tuple[str, str]) -> None:
    """Print ratios of times."""
    for a, b in pairs:
        if a in seconds and b in seconds:
            print("{} to {}: {:.2f}x ({:.2f}-{:.2f})".format(a, b, *ratio(seconds, a, b)))


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("--only", choices=("cycle", "loop"), help="one of the two measurements")
    parser.add_argument("--capacity", type=int, default=2**20, help="transitions, a multiple of 16,384")
    parser.add_argument("--rounds", type=int, default=7, help="turns of every variant (default 7)")
    parser.add_argument("--calls", type=int, default=100, help="calls of a variant in a turn (default 100)")
    parser.add_argument("--blocks", type=int, nargs="+", default=[1, 8], help="steps a dispatch of the loop")
    parser.add_argument("--cpu-time", action="store_true", help="count CPU time, not wall time")
    parser.add_argument("--inline", action="store_true", help="run calls where they are called, not asynchronously")
    common.add_settings(parser)  # of the loop
    args = parser.parse_args()
    common.announce(__doc__)
    jax.config.update("jax_cpu_enable_async_dispatch", not args.inline)  # hands every call to another thread and back

    if args.only != "loop":
        print(f"a cycle of a replay of {args.capacity:,} transitions")
        seconds = measure(*cycles(args.capacity), args)
        compare(seconds, ("one call", "cpprb"), ("scan", "cpprb"), ("scan, metrics", "scan"), ("scan", "scan, uniform"))
    if args.only != "cycle":
        for block in args.blocks:
            print(f"a step of the whole loop, {block} a dispatch")
            call = partial(loop_call, capacity=args.capacity, block=block, settings=args.set)
            # The policy's own batch of uniformly drawn states has its price apart from that of the tree.
            variants = {
                "uniform": call("sac_lsp"),
                "prioritized": call("prioritized"),
                "one batch": call("prioritized", policy_batch="same"),
            }
            seconds = measure(variants, dict.fromkeys(variants, 8), args)
            compare(seconds, ("prioritized", "uniform"), ("one batch", "uniform"))


if __name__ == "__main__":
    main()
