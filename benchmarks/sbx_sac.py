"""SBX's SAC as the comparisons with it have it, and a run of it against the clock: a side of `time_to_return.py`.

    python benchmarks/sbx_sac.py --envs=8 --seed=1 --minutes=30 --every=25_000

SBX is an extra: `pip install -e '.[peers]'`, best in an environment of its own. Widths, batch, replay capacity and
first update are ours; all else is SBX's default, which tau (0.005) and gamma (0.99) share with ours. So does the step
size (3e-4) with our agents of one executor; those of eight have 1e-3, which `--learning-rate` gives to SBX as well.
Every evaluation is printed as a line of JSON, and at the end the seconds that the clock counted in all.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from common import parser

WIDTHS, BATCH = [128, 128], 128
LEARNING_RATE = 3e-4  # SBX's default
Act = Callable[[np.ndarray], np.ndarray]  # observations [n, S] to actions [n, A]
Evaluate = Callable[[], dict[str, list[float]]]  # by protocol the return of each episode


def make(
    env: Any, capacity: int, learning_starts: int, seed: int | None = None, learning_rate: float = LEARNING_RATE
) -> Any:
    """SBX's SAC on an environment, or on several: one update a step of all."""
    from sbx import SAC

    return SAC(
        "MlpPolicy",
        env,
        learning_starts=learning_starts,
        buffer_size=capacity,
        batch_size=BATCH,
        learning_rate=learning_rate,
        train_freq=1,
        gradient_steps=1,
        policy_kwargs={"net_arch": WIDTHS},
        seed=seed,
    )


def returns_of(act: Act, envs: Sequence[Any], seeds: Sequence[int]) -> list[float]:
    """The undiscounted return of one episode in each environment, begun from the first state that its seed gives."""
    observations = np.stack([env.reset(seed=seed)[0] for env, seed in zip(envs, seeds, strict=True)])
    returns, going = np.zeros(len(envs)), set(range(len(envs)))
    while going:
        actions = act(observations)
        for i in sorted(going):
            observations[i], reward, terminated, truncated, _ = envs[i].step(actions[i])
            returns[i] += reward
            going -= {i} if terminated or truncated else set()
    return returns.tolist()


def evaluator(model: Any, envs: Sequence[Any], seeds: Sequence[int]) -> Evaluate:
    """Evaluates under both protocols: `mode` is SBX's deterministic policy, `sampled` draws its actions."""

    def evaluate() -> dict[str, list[float]]:
        return {
            "sampled": returns_of(lambda seen: model.predict(seen)[0], envs, seeds),
            "mode": returns_of(lambda seen: model.predict(seen, deterministic=True)[0], envs, seeds),
        }

    return evaluate


class Watch:
    """Called after every step of all environments: evaluates when it is time, and says whether to continue.

    Its clock begins when it is made, and stands still during evaluations.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        every: int,
        minutes: float,
        goal: float = np.inf,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """An evaluation every so many environment steps, up to so many minutes, or until a mean return of `goal`."""
        self._evaluate, self._every, self._minutes, self._goal = evaluate, every, minutes, goal
        self._clock, self._began, self._paused, self._due = clock, clock(), 0.0, every

    def __call__(self, step: int, updates: int) -> bool:
        if step < self._due:
            return True
        stopped = self._clock()
        seconds = stopped - self._began - self._paused
        returns = self._evaluate()
        self._paused += self._clock() - stopped
        self._due = (step // self._every + 1) * self._every
        print(json.dumps({"step": step, "updates": updates, "seconds": seconds, "returns": returns}), flush=True)
        return seconds < 60 * self._minutes and min(np.mean(each) for each in returns.values()) < self._goal

    def elapsed(self) -> float:
        """Seconds since it was made, evaluations included."""
        return self._clock() - self._began


def evaluation_seeds(seed: int, episodes: int) -> list[int]:
    """First states of evaluation, as a run of ours with this seed has them."""
    from lsp.config import Config
    from lsp.training.run import env_seeds

    return env_seeds(Config(seed=seed), "evaluate", episodes)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--env", default="lsp/RllabAnt-v0", help="Gymnasium id")
    options.add_argument("--envs", type=int, default=8, help="environments side by side; one update a step of all")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--capacity", type=int, default=1_000_000, help="transitions in replay")
    options.add_argument("--learning-starts", type=int, default=5_000, help="environment steps before the first update")
    options.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    options.add_argument("--every", type=int, default=25_000, help="environment steps between evaluations")
    options.add_argument("--episodes", type=int, default=10, help="of an evaluation under each protocol")
    options.add_argument("--minutes", type=float, default=30, help="of training, after which it ends")
    options.add_argument("--goal", type=float, default=np.inf, help="mean return under both protocols that ends it")
    arguments = options.parse_args()
    train(arguments)


def train(arguments: Any) -> None:
    import gymnasium
    from stable_baselines3.common.vec_env import DummyVecEnv

    import lsp.envs  # registers the ants

    assert lsp.envs

    def make_env() -> Any:
        return gymnasium.make(arguments.env)

    envs = DummyVecEnv([make_env] * arguments.envs)
    model = make(envs, arguments.capacity, arguments.learning_starts, arguments.seed, arguments.learning_rate)
    seeds = evaluation_seeds(arguments.seed, arguments.episodes)
    evaluate = evaluator(model, [make_env() for _ in seeds], seeds)
    watch = Watch(evaluate, arguments.every, arguments.minutes, arguments.goal)
    model.learn(10**12, callback=lambda *_: watch(model.num_timesteps, model._n_updates))
    print(json.dumps({"ended": watch.elapsed()}), flush=True)


def lines_of(text: str) -> Iterator[dict[str, Any]]:
    """What a run has printed as JSON, a torn last line left out."""
    yield from (json.loads(line) for line in text.splitlines(keepends=True) if line[0] == "{" and line[-1] == "\n")


if __name__ == "__main__":
    main()
