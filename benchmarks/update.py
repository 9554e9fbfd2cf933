"""One update in a scan against its floor: the dot products that it consists of, at the rate of a dot in the same run.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/update.py
    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/update.py --set flow.hidden_sizes=[128] --set replay.batch_size=256

The sizes are those of Ant-v5 and of the preset, where no flag changes them.
"""

import math
import re
import statistics
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from common import add_settings, announce, configured, parser
from timing import alternate, core_share

from lsp.agents import build, presets
from lsp.config import Config
from lsp.types import Array, Batch, EnvSpec, Key, State, Transition

UPDATES = 25  # in one dispatch
SIDE, DOTS = 128, 200  # the dot that sets the rate


def make_batches(spec: EnvSpec, size: int) -> Batch:
    """Random rows, another batch for every update of the scan."""
    rng = np.random.default_rng(0)
    shape = (UPDATES, size)
    observation, next_observation = rng.normal(size=(2, *shape, spec.observation_dim)).astype(np.float32)
    action = rng.normal(size=(*shape, spec.action_dim)).astype(np.float32)
    reward, discount = rng.normal(size=shape).astype(np.float32), np.full(shape, 0.97, np.float32)
    rows = Transition(observation, action, reward, discount, next_observation)
    return jax.device_put(Batch(rows, np.zeros(shape, np.int32), np.ones(shape, np.float32)))


def compile_updates(config: Config, spec: EnvSpec) -> tuple[Callable[[], object], int]:
    """A call that runs UPDATES updates, and the operations of the dots in one of them."""
    agent = build(config, spec).agent

    def step(state: State, batch_and_key: tuple[Batch, Key]) -> tuple[State, Array]:
        state, info = agent.update(state, *batch_and_key)
        return state, sum(info.metrics.values())

    def run(state: State, batches: Batch) -> tuple[State, Array]:
        return jax.lax.scan(step, state, (batches, jax.random.split(jax.random.key(1), UPDATES)))

    state = jax.jit(agent.init)(jax.random.key(0))
    batches = make_batches(spec, config.replay.batch_size)
    compiled = jax.jit(run).lower(state, batches).compile()
    return lambda: jax.block_until_ready(compiled(state, batches)), count_dot_operations(compiled.as_text())


def count_dot_operations(hlo: str) -> int:
    """Two for every multiply-add of every product of matrices in the compiled text; the scan's body stands there once.

    Products with a vector are left out: they are how `networks.layer_norm` sums.
    """
    shapes = {name: sizes(dims) for name, dims in re.findall(r"%?([\w.-]+)(?: =|:) f32\[([\d,]+)\]", hlo)}
    dot = r"= f32\[(\d+,\d[\d,]*)\]\S* dot\(%([\w.-]+), .*lhs_contracting_dims=\{([\d,]+)\}"
    return sum(
        2 * math.prod([*sizes(result), *(shapes[left][axis] for axis in sizes(contracted))])
        for result, left, contracted in re.findall(dot, hlo)
    )


def sizes(text: str) -> list[int]:
    """Numbers between commas."""
    return [int(number) for number in text.split(",")]


def compile_dots() -> Callable[[], object]:
    """A call that runs DOTS products of matrices of SIDE x SIDE, each of the one before."""
    x = jnp.full((SIDE, SIDE), 1 / SIDE)
    compiled = jax.jit(lambda x: jax.lax.fori_loop(0, DOTS, lambda _, y: y @ x, x)).lower(x).compile()
    return lambda: jax.block_until_ready(compiled(x))


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--agent", default="sac_lsp")
    options.add_argument("--preset", choices=("modern", "dissertation"), default="modern")
    options.add_argument("--observation-dim", type=int, default=105, help="Ant-v5's by default")
    options.add_argument("--action-dim", type=int, default=8)
    add_settings(options)
    options.add_argument("--rounds", type=int, default=15)
    arguments = options.parse_args()

    announce(__doc__)
    config = configured(presets(arguments.agent, arguments.preset), arguments.set)
    update, operations = compile_updates(config, EnvSpec(arguments.observation_dim, arguments.action_dim))
    calls = {"update": update, "dot": compile_dots()}
    seconds = alternate(calls, rounds=arguments.rounds, calls=4)
    updates = [s / UPDATES for s in seconds["update"]]
    rates = [DOTS * 2 * SIDE**3 / s for s in seconds["dot"]]
    ratios = sorted(s * rate / operations for s, rate in zip(updates, rates, strict=True))
    print(f"one update:        {1e3 * statistics.median(updates):.2f} ms median, {1e3 * min(updates):.2f} best")
    print(f"its dots:          {operations / 1e6:.0f} MFLOP")
    print(f"a dot's rate:      {statistics.median(rates) / 1e9:.0f} GFLOP/s median")
    print(f"times its floor:   {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    share = core_share(partial(alternate, calls, 1, 20))
    print(f"share of a core:   {share:.2f} (below 0.95 others were using it: repeat)")


if __name__ == "__main__":
    main()
