"""What one sample of 128 and one write of 128 leaves cost, for trees from 2^12 to 2^22 leaves.

Pin it to one core that nobody else uses; where that cannot be had, add --cpu-time:

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/sum_tree.py --plot sum_tree.png
"""

import statistics
import time
from collections.abc import Callable

import common
import jax
import jax.numpy as jnp
from timing import Seconds, alternate, core_share, ratio

from lsp.replay import sum_tree
from lsp.replay.sum_tree import SumTree
from lsp.types import Array, Key

BATCH = 128
SCAN = 16
EXPONENTS = [12, 14, 16, 18, 20, 22]


def cycle(tree: SumTree, key: Key) -> tuple[SumTree, Array]:
    """Sample, read the masses (as importance weights do), and write new ones that do not depend on them."""
    indices = sum_tree.stratified_sample(tree, key, BATCH)
    masses = sum_tree.get_leaves(tree, indices) / sum_tree.total(tree)
    return sum_tree.set_leaves(tree, indices, jnp.linspace(0.5, 2.0, BATCH)), masses


def cycles(tree: SumTree, key: Key) -> tuple[SumTree, Array]:
    """The same 16 times in one scan, as in a training loop."""
    return jax.lax.scan(cycle, tree, jax.random.split(key, SCAN))


def make_call(body: Callable[[SumTree, Key], tuple[SumTree, Array]], capacity: int) -> Callable[[], None]:
    """A call on a full tree, jitted with the tree donated."""
    state = jax.jit(sum_tree.set_leaves, donate_argnums=0)(
        sum_tree.init(capacity), jnp.arange(capacity), jax.random.uniform(jax.random.key(1), (capacity,), minval=0.1)
    )
    step = jax.jit(body, donate_argnums=0)
    key = jax.random.key(0)

    def call() -> None:
        nonlocal state
        state, masses = step(state, key)
        jax.block_until_ready((state, masses))

    return call


def microseconds(seconds: Seconds, name: str, per_call: int) -> list[float]:
    """Median, least and most over the rounds, of one cycle."""
    times = [1e6 * second / per_call for second in seconds[name]]
    return [statistics.median(times), min(times), max(times)]


def plot(path: str, seconds: Seconds, exponents: list[int]) -> None:
    """Cost of a cycle over the number of leaves."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    capacities = [2**exponent for exponent in exponents]
    for kind, label, per_call in (("jit", "one cycle a jit", 1), ("scan", f"{SCAN} cycles a scan", SCAN)):
        rows = [microseconds(seconds, f"{kind} {exponent}", per_call) for exponent in exponents]
        median, low, high = zip(*rows, strict=True)
        axes.plot(capacities, median, marker="o", label=label)
        axes.fill_between(capacities, low, high, alpha=0.2)
    axes.set(xlabel="leaves", ylabel="microseconds a cycle", title=f"Sum-tree: sample {BATCH} and write {BATCH}")
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Measure, print, and draw where asked to."""
    parser = common.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="turns of every variant (default 7)")
    parser.add_argument("--calls", type=int, default=100, help="calls of a variant in a turn (default 100)")
    parser.add_argument("--exponents", type=int, nargs="+", default=EXPONENTS, help="of 2, numbers of leaves")
    parser.add_argument("--cpu-time", action="store_true", help="count CPU time, not wall time")
    parser.add_argument("--plot", metavar="PATH", help="draw the table into this PNG file")
    args = parser.parse_args()

    common.announce(__doc__)
    variants = {f"jit {exponent}": make_call(cycle, 2**exponent) for exponent in args.exponents}
    variants |= {f"scan {exponent}": make_call(cycles, 2**exponent) for exponent in args.exponents}
    seconds: Seconds = {}
    clock = time.process_time if args.cpu_time else time.perf_counter
    share = core_share(lambda: seconds.update(alternate(variants, args.rounds, args.calls, clock)))

    kind = "CPU" if args.cpu_time else "wall"
    print(f"microseconds of {kind} time a cycle: median (least-most) of {args.rounds} rounds")
    print(f"CPU time / wall time: {share:.2f}{'' if share > 0.95 else ' (the core was shared)'}")
    print(f"{'leaves':>8}  {'one cycle a jit':>24}  {f'{SCAN} cycles a scan':>24}")
    for exponent in args.exponents:
        row = microseconds(seconds, f"jit {exponent}", 1), microseconds(seconds, f"scan {exponent}", SCAN)
        cells = ["{:.1f} ({:.1f}-{:.1f})".format(*times) for times in row]
        print(f"{f'2^{exponent}':>8}  {cells[0]:>24}  {cells[1]:>24}")
    for kind in ("jit", "scan") if {16, 20} <= set(args.exponents) else ():
        median, least, most = ratio(seconds, f"{kind} 20", f"{kind} 16")
        print(f"2^20 to 2^16 leaves, {kind}: {median:.2f}x ({least:.2f}-{most:.2f})")
    if args.plot:
        plot(args.plot, seconds, args.exponents)


if __name__ == "__main__":
    main()
