"""Training speed against SBX, in alternation: environment steps a second of the whole loop, replay filled to capacity.

    taskset -c 1 python benchmarks/peers.py                                  # SBX in the same environment
    taskset -c 1 python benchmarks/peers.py --peer-python=OTHER/bin/python   # or in one of its own

SBX is not a dependency: `pip install sbx-rl==0.28.0`, best in an environment of its own. Both train SAC with two
critics on one environment, one update a step, with the same widths, batch and replay capacity. SBX's policy is a
Gaussian, ours a flow. Each side is a process that waits while the other works, so that they never compete; the ratio is
taken within a round.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from common import announce, configured, parser

Advance = Callable[[int], None]  # train for so many environment steps


def make_lsp(env: str, capacity: int, block: int) -> Advance:
    """`lsp` with the modern preset, ring full of random transitions."""
    from training import Training

    import lsp

    changes = {"env": env, "replay.capacity": capacity, "block": block, "warmup_steps": 500, "learning_starts": 500}
    settings = [f"{name}={json.dumps(value)}" for name, value in changes.items()]
    training = Training(configured(lsp.presets("sac_lsp", "modern"), settings))
    training.fill()
    training.start()

    def advance(steps: int) -> None:
        target = training.step + steps
        while training.step < target:
            training.advance()

    return advance


def make_sbx(env: str, capacity: int) -> Advance:
    """SBX's SAC, replay full of random transitions."""
    import gymnasium
    import numpy as np
    import sbx_sac

    model = sbx_sac.make(gymnasium.make(env), capacity, learning_starts=500)
    rng, buffer, rows = np.random.default_rng(0), model.replay_buffer, 10_000
    for start in range(0, capacity, rows):
        end = min(start + rows, capacity)
        for name in ("observations", "next_observations", "actions", "rewards"):
            array = getattr(buffer, name)
            array[start:end] = rng.standard_normal(array[start:end].shape)
    buffer.full = True

    def advance(steps: int) -> None:
        model.learn(steps, reset_num_timesteps=False)

    return advance


def serve(advance: Advance, warmup: int) -> None:
    """Train as many steps as each line of standard input says, and answer with the seconds and the share of a core."""
    advance(warmup)
    print("ready", flush=True)
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        advance(int(line))
        wall = time.perf_counter() - wall
        print(wall, (time.process_time() - cpu) / wall, flush=True)


def compare(arguments: argparse.Namespace) -> None:
    """Start one process a side, let them take turns, and print rates and ratios."""
    shared = [__file__, f"--env={arguments.env}", f"--capacity={arguments.capacity}", f"--warmup={arguments.warmup}"]
    ours = [sys.executable, *shared, f"--block={arguments.block}", "--worker=lsp"]
    peer = [arguments.peer_python, *shared, "--worker=sbx"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    workers = {}
    for name, command in (("lsp", ours), ("SBX", peer)):
        workers[name] = subprocess.Popen(command, env=environment, **pipes)
        assert workers[name].stdout.readline() == "ready\n", f"{name} did not start"
    rates: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(arguments.rounds):
        for name, worker in workers.items():
            worker.stdin.write(f"{arguments.window}\n")
            worker.stdin.flush()
            seconds, share = map(float, worker.stdout.readline().split())
            rates[name].append(arguments.window / seconds)
            print(f"{name} {rates[name][-1]:7.0f} steps/s   {share:.2f} of a core", flush=True)
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    ratios = [a / b for a, b in zip(rates["lsp"], rates["SBX"], strict=True)]
    medians = ", ".join(f"{name} {statistics.median(rate):.0f} steps/s" for name, rate in rates.items())
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"{arguments.env}, block {arguments.block}: {medians}; ratio {statistics.median(ratios):.2f} ({spread})")


def main() -> None:
    """Compare, or be one side of a comparison."""
    options = parser(__doc__)
    options.add_argument("--env", default="Ant-v5", help="Gymnasium id")
    options.add_argument("--capacity", type=int, default=1_000_000, help="transitions in replay on each side")
    options.add_argument("--block", type=int, default=1, help="environment steps between dispatches of ours")
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--window", type=int, default=1_000, help="environment steps a side and round")
    options.add_argument("--warmup", type=int, default=1_500, help="environment steps before the first round")
    options.add_argument("--peer-python", default=sys.executable, help="interpreter that has SBX")
    options.add_argument("--worker", choices=("lsp", "sbx"), help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.worker == "lsp":
        serve(make_lsp(arguments.env, arguments.capacity, arguments.block), arguments.warmup)
    elif arguments.worker == "sbx":
        serve(make_sbx(arguments.env, arguments.capacity), arguments.warmup)
    else:
        announce(__doc__)
        compare(arguments)


if __name__ == "__main__":
    main()
