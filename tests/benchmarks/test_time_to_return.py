"""Time to a return: what a clock counts, when a return is reached, what is not repeated; toy runs with a fake SBX."""

import argparse
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a benchmark."""
    monkeypatch.syspath_prepend(FOLDER)

    def load(name: str) -> ModuleType:
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return load


def result(system: str, seed: int, returns: list[float], startup: float = 30.0, core: float = 1.0) -> dict[str, Any]:
    """A run that is evaluated every minute, which is 60 steps of three updates; in `mode` it is ten times as good."""
    points = [
        {
            "step": 60 * i,
            "updates": 180 * i,
            "seconds": 60.0 * i,
            "returns": {"sampled": [each - 1, each + 1], "mode": [10 * each]},
        }
        for i, each in enumerate(returns, start=1)
    ]
    return {"system": system, "seed": seed, "startup": startup, "core": core, "points": points}


def test_reached_at_the_first_mean_that_is_as_high_counted_from_the_start_of_the_process(load: Any) -> None:
    results = load("time_to_return_results")
    run = result("a", 1, [5.0, 20.0, 10.0, 30.0])
    assert results.reached(run, "sampled", 20.0) == 2.5
    assert results.reached(run, "sampled", 20.1) == 4.5
    assert results.reached(run, "mode", 50.0) == 1.5
    assert results.reached(run, "sampled", 31.0) == np.inf
    assert results.reached(run, "sampled", 12.5, mean_of=2) == 2.5
    assert results.reached(run, "sampled", 16.0, mean_of=2) == 4.5
    assert results.reached(run, "sampled", 1.0, mean_of=5) == np.inf
    assert (results.rate(run, "step"), results.rate(run, "updates")) == (1.0, 3.0)


def test_the_median_over_seeds_and_how_many_times_the_first(load: Any) -> None:
    results = load("time_to_return_results")
    ours = [result("ours", 1, [10.0]), result("ours", 2, [0, 10.0], startup=0.0), result("ours", 3, [0, 0, 10.0])]
    peer = [result("peer", seed, [0, 0, 0, 0, 0, 10.0 * (seed < 2)], startup=0.0, core=0.5) for seed in (1, 2, 3)]
    text = results.table([*ours, *peer], "sampled", [10.0], 6)
    lines = text.splitlines()
    assert lines[2].split() == ["ours", "3", "1", "3", "1.00", "2.0", "(1.5", "2.0", "3.5)"]
    assert lines[3].split() == ["peer", "3", "1", "3", "0.50", ">6", "(6.0", ">6", ">6)", ">3.0x"]
    swapped = results.table([*peer, *ours], "sampled", [10.0], 6)  # no multiple of what was not reached
    assert "x" not in swapped.splitlines()[3]


def test_the_median_curve_is_of_what_all_seeds_reach(load: Any) -> None:
    results = load("time_to_return_results")
    runs = [result("a", 1, [0, 1, 2], 0.0), result("a", 2, [4, 5, 6], 30.0), result("a", 3, [8, 9, 10, 11], 0.0)]
    minutes, center = results.median_curve(runs, "sampled")
    np.testing.assert_allclose(minutes, [1.5, 2.0, 2.5, 3.0])
    np.testing.assert_allclose(center, [4.0, 4.5, 5.0, 5.5])


def test_the_clock_of_sbx_stands_still_while_it_is_evaluated(load: Any, capsys: pytest.CaptureFixture[str]) -> None:
    now = [100.0]

    def evaluate() -> dict[str, list[float]]:
        now[0] += 1_000.0
        return {"sampled": [1.0], "mode": [now[0] / 1_000]}

    watch = load("sbx_sac").Watch(evaluate, 10, minutes=0.5, goal=2.5, clock=lambda: now[0])
    continued = []
    for step in (8, 16, 24, 32, 40):
        now[0] += 10.0
        continued.append(watch(step, step // 8))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["step"], line["updates"], line["seconds"]) for line in lines] == [
        (16, 2, 20.0),
        (24, 3, 30.0),
        (32, 4, 40.0),
        (40, 5, 50.0),
    ]
    assert continued == [True, True, False, False, False]  # after half a minute
    assert watch.elapsed() == 4_050.0


def test_sbx_ends_when_both_protocols_have_reached_the_goal(load: Any) -> None:
    returns = {"sampled": [1.0, 3.0], "mode": [3.0]}
    watch = load("sbx_sac").Watch(lambda: returns, 1, minutes=100, goal=2.5)
    assert watch(1, 0)
    returns["sampled"] = [2.0, 3.0]
    assert not watch(2, 0)


class Counting:
    """Rewards 1 a step, for as many steps as the seed says."""

    def reset(self, seed: int) -> tuple[np.ndarray, dict]:
        self.left = seed
        return np.array([float(seed)]), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.left -= 1
        return np.array([float(self.left)]), float(action[0]), self.left == 0, False, {}


def test_an_episode_in_each_environment(load: Any) -> None:
    envs = [Counting() for _ in range(3)]
    assert load("sbx_sac").returns_of(lambda seen: np.ones_like(seen), envs, [3, 1, 2]) == [3.0, 1.0, 2.0]
    assert load("sbx_sac").returns_of(lambda seen: seen, envs, [3, 1, 2]) == [6.0, 1.0, 3.0]


def test_first_states_are_those_of_our_runs(load: Any) -> None:
    from lsp.config import Config
    from lsp.training.run import env_seeds

    assert load("sbx_sac").evaluation_seeds(7, 4) == env_seeds(Config(seed=7), "evaluate", 4)


def test_evaluations_are_taken_off_the_clock_of_our_runs(load: Any, tmp_path: Path) -> None:
    main = load("time_to_return")
    assert main.ours(tmp_path) == []
    seconds = {10: 50.0, 15: 60.0, 20: 100.0}
    (tmp_path / "metrics.jsonl").write_text("".join(f'{{"step":{s},"seconds":{t}}}\n' for s, t in seconds.items()))
    lines = [
        {"step": step, "updates": step // 2, "protocol": protocol, "returns": [1.0], "evaluation_seconds": took}
        for step in (10, 20)
        for protocol, took in (("sampled", 3.0), ("mode", 4.0))
    ]
    (tmp_path / "eval.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    points = main.ours(tmp_path)
    assert [(each["step"], each["updates"], each["seconds"]) for each in points] == [(10, 5, 50.0), (20, 10, 93.0)]
    assert points[1]["returns"] == {"sampled": [1.0], "mode": [1.0]}
    options = argparse.Namespace(minutes=1.6, until_reached=False, returns=[1.0])
    assert not main.over([], options)
    assert not main.over(points, options)
    assert main.over(points, argparse.Namespace(minutes=1.55, until_reached=False, returns=[2.0]))
    assert main.over(points, argparse.Namespace(minutes=9, until_reached=True, returns=[0.5, 1.0]))


FAKE_SBX = """
import types
import numpy as np

class SAC:
    def __init__(self, policy, env, **settings):
        self.env, self.num_timesteps, self._n_updates = env, 0, 0
        assert settings["policy_kwargs"] == {"net_arch": [128, 128]}

    def predict(self, observations, deterministic=False):
        return np.zeros((len(observations), 2)), None

    def learn(self, steps, callback):
        while callback({}, {}):
            self.num_timesteps += len(self.env)
            self._n_updates += 1
"""
OURS = (
    "--log-every=60 --warmup-steps=60 --critic.hidden-sizes=8 --critic.count=1 --flow.hidden-sizes=8 "
    "--flow.embedding-sizes=8 --flow.num-couplings=1 --replay.batch-size=16"
)


@pytest.mark.slow
def test_toy_runs_are_told_drawn_and_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "sbx.py").write_text(FAKE_SBX)
    vec_env = tmp_path / "stable_baselines3" / "common" / "vec_env.py"
    vec_env.parent.mkdir(parents=True)
    vec_env.write_text("def DummyVecEnv(makers):\n    return [make() for make in makers]\n")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{FOLDER.parent}"}
    command = [sys.executable, str(FOLDER / "time_to_return.py"), "--env=lsp/PointMass-v0", "--folder=results"]
    command += ["--systems", "distributed_prioritized", "sbx_8", "--returns", "-99999", "99999"]
    command += ["--seeds=1", "--minutes=0"]
    command += ["--every=120", "--episodes=2", "--capacity=1000", "--learning-starts=60", f"--flags={OURS}"]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        line = [*command, *more]
        return subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    first = run("--picture=p.png")
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "p.png").stat().st_size > 10_000
    results = [json.loads(line) for line in (tmp_path / "results" / "results.jsonl").read_text().splitlines()]
    assert [each["system"] for each in results] == ["distributed_prioritized", "sbx_8"]
    assert all(each["startup"] > 0 and each["points"][0]["step"] == 120 for each in results)
    assert not (tmp_path / "results" / "distributed_prioritized_s1" / "checkpoints").exists()
    assert first.stdout.count(">0 (>0)") == 4
    second = run()
    assert second.stdout.partition("\n\n")[2] == first.stdout.partition("\n\n")[2].rpartition("\n\npicture")[0] + "\n"
    assert "up to" not in second.stdout
    third = run("--minutes=1")
    assert third.returncode == 1
    assert "results.jsonl has distributed_prioritized, seed 1 with other settings: choose another" in third.stderr
    assert third.stderr.count("\n") == 1
