"""What checking everything that an environment returns costs, as a share of a step of it.

Pin it to one core that nobody else uses; where that cannot be had, add --cpu-time:

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/environments.py
"""

import statistics
import time
from typing import Any

import numpy as np
from common import announce, parser
from timing import alternate

from lsp import envs


def converted(result: Any) -> Any:
    """What must be done anyway: a float32 vector, a float and two truth values."""
    raw, reward, terminated, truncated, info = result
    return np.array(raw, np.float32).ravel(), float(reward), bool(terminated), bool(truncated), info


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--env", default="lsp/RllabAnt-v0")
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--calls", type=int, default=1_000, help="steps in a round")
    options.add_argument("--cpu-time", action="store_true", help="count CPU time, for a core that others use too")
    arguments = options.parse_args()

    announce(__doc__)
    env = envs.make(arguments.env)
    env.reset(seed=0)
    action = np.zeros(env.action_space.shape or (), np.float32)
    result = env.env.step(np.zeros(env.env.action_space.shape or ()))
    variants = {
        "step": lambda: env.step(action),
        "checked": lambda: env.checked(result),
        "converted": lambda: converted(result),
    }
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    seconds = alternate(variants, arguments.rounds, arguments.calls, clock)
    step, checked, plain = (1e6 * statistics.median(seconds[name]) for name in variants)
    print(f"a step of {arguments.env}:   {step:8.2f} us")
    print(f"its results, converted:     {plain:8.2f} us")
    print(f"its results, checked, too:  {checked:8.2f} us")
    print(f"share of the checks:        {100 * (checked - plain) / step:8.2f} % of a step")


if __name__ == "__main__":
    main()
