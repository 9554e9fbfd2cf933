"""Whole runs of the real agent, so small that they take a moment, and environments to put into them."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Space
from jax.experimental.compilation_cache import compilation_cache

from lsp import run
from lsp.storage import checkpoint, metrics
from lsp.training.evaluate import Evaluator
from lsp.training.loop import Loop

ROOT = Path(__file__).parents[2]

TINY = {
    "env": "lsp/RllabAnt-v0",
    "env-kwargs": '{"max_episode_steps": 40}',
    "n-step": 3,
    "warmup-steps": 30,
    "learning-starts": 50,
    "executors.count": 2,
    "block": 2,
    "log-every": 20,
    "normalize.rewards": "true",
    "flow.num-couplings": 1,
    "flow.hidden-sizes": 8,
    "flow.embedding-sizes": 8,
    "flow.zero-init": "false",
    "critic.hidden-sizes": "16,16",
    "replay.capacity": 2000,
    "replay.batch-size": 16,
    "evaluation.episodes": 2,
    "evaluation.every": 0,
}
OBSERVATIONS = Box(-np.inf, np.inf, (125,), np.float64)  # of the ant's shapes: the same compiled functions serve
ACTIONS = Box(-1.0, 1.0, (8,), np.float32)


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What one run compiles the next ones find, in this process and in those it starts."""
    compiling = {
        "jax_compilation_cache_dir": (None, str(tmp_path_factory.getbasetemp() / "compiled")),
        "jax_persistent_cache_min_compile_time_secs": (1.0, 0.0),
        "jax_persistent_cache_min_entry_size_bytes": (0, -1),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, (_, ours) in compiling.items():
            jax.config.update(name, ours)
            patch.setenv(name.upper(), str(ours))
        compilation_cache.reset_cache()
        yield
    for name, (default, _) in compiling.items():
        jax.config.update(name, default)
    compilation_cache.reset_cache()


def command(folder: Path, **overrides: Any) -> list[str]:
    """The command line of a tiny run that writes to `folder`; a flag's `-` and `.` may be written `_` and `__`."""
    given = {name.replace("__", ".").replace("_", "-"): value for name, value in overrides.items()}
    flags = {"runs-dir": folder.parent, "name": folder.name} | TINY | given
    return [f"--{name}={value}" for name, value in flags.items()]


def snapshot(folder: Path) -> dict[str, bytes]:
    """Contents of every file in a folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def records(path: Path) -> list[str]:
    """Lines of metrics without the wall clock; as text, because NaN equals nothing."""
    lines = metrics.read(path)
    for line in lines:
        line.pop("seconds", None)
        line.pop("evaluation_seconds", None)
    return [json.dumps(line) for line in lines]


def newest(folder: Path) -> Path:
    """The newest checkpoint of a run."""
    root = folder / "checkpoints"
    return root / str(checkpoint.steps(root)[-1])


def assert_same_state(one: Path, other: Path) -> None:
    """The newest checkpoints of two runs hold the same, bit for bit: learner, replay, environments, counters."""
    assert newest(one).name == newest(other).name
    files, others = (snapshot(newest(run)) for run in (one, other))
    names = [name for name in files if name.endswith(".npy")]
    for part in ("actor.params", "actor.target", "observation_stats", "return_stats", "opt_state", "replay/", "host/"):
        assert any(part in name for name in names)
    assert files.keys() == others.keys()
    assert [name for name in names if files[name] != others[name]] == []
    hosts = [checkpoint.load(newest(run))[1] for run in (one, other)]
    for host in hosts:
        for different in ("seconds", "offsets", "config"):  # files are as long as the seconds in them have digits
            del host[different]
    np.testing.assert_equal(*hosts)


def assert_same_run(one: Path, other: Path) -> None:
    """Two runs did and wrote the same, up to the wall clock."""
    assert_same_state(one, other)
    assert records(one / "metrics.jsonl") == records(other / "metrics.jsonl")
    assert records(one / "eval.jsonl") == records(other / "eval.jsonl")


def signal_at(monkeypatch: pytest.MonkeyPatch, step: int, number: int) -> None:
    """Signal this process once a lock-step loop has come to `step`."""
    answer = Loop.answer

    def answer_and_signal(loop: Loop, seeds: Any) -> None:
        answer(loop, seeds)
        if seeds[0].step == step:
            signal.raise_signal(number)

    monkeypatch.setattr(Loop, "answer", answer_and_signal)


def signal_in_evaluation(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Signal this process in the evaluation of that number; returns a list of those that began."""
    original, begun = Evaluator._evaluate, list[int]()

    def evaluate(evaluator: Evaluator, *arguments: Any) -> dict[str, Any]:
        begun.append(len(begun))
        if begun[-1] == number:
            signal.raise_signal(signal.SIGTERM)
        return original(evaluator, *arguments)

    monkeypatch.setattr(Evaluator, "_evaluate", evaluate)
    return begun


def stop_in_evaluation(arguments: Sequence[str], folder: Path, number: int, step: int, patch: Any) -> None:
    """Run until a signal in evaluation `number`, from 0, at this step: it is saved, and nothing of that is written.

    Evaluations are under two protocols.
    """
    with patch.context() as inner:
        begun = signal_in_evaluation(inner, number)
        assert run.main(arguments) == 130
        assert len(begun) == number + 1
    assert len(metrics.read(folder / "eval.jsonl")) == number // 2 * 2
    assert newest(folder).name == str(step)


def run_until(due: Callable[[], bool], number: int, arguments: list[str]) -> tuple[int, str]:
    """Signal a process of its own as soon as `due`; its status and output."""
    line = [sys.executable, "-m", "lsp.run", *arguments]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            while not due():
                assert process.poll() is None, process.communicate()
                time.sleep(0.001)
            process.send_signal(number)
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
    return process.returncode, out + err


class Puppet(gymnasium.Env[np.ndarray, np.ndarray]):
    """Someone's environment, which no checkpoint can hold. In its step `at` happens what `event` says."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    observation_space = OBSERVATIONS
    action_space = ACTIONS

    def __init__(self, event: str = "", at: int = 30) -> None:
        self.event, self.at, self.steps = event, at, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if self.event == "reset" and self.steps >= self.at:
            raise RuntimeError("cannot\nstand up")
        return self.np_random.normal(size=125), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        observation, reward = self.np_random.normal(size=125), float(action[0])
        if self.steps == self.at:
            match self.event:
                case "nan" | "inf":
                    reward = float(self.event)
                case "observation":
                    observation[7] = np.nan
                case "raise":
                    raise RuntimeError("broke\na leg")
                case "interrupt":
                    signal.raise_signal(signal.SIGINT)
        return observation, reward, False, False, {"speed": np.float32(reward)}


class Unfit(gymnasium.Env[Any, Any]):
    """An environment with spaces that no agent here can serve."""

    SPACES: ClassVar[dict[str, tuple[Space[Any], Space[Any]]]] = {
        "discrete": (OBSERVATIONS, Discrete(3)),
        "image": (Box(0, 255, (8, 8, 3), np.uint8), ACTIONS),
        "dict": (Dict({"observation": OBSERVATIONS, "desired_goal": OBSERVATIONS}), ACTIONS),
        "unbounded": (OBSERVATIONS, Box(-np.inf, np.inf, (8,), np.float32)),
    }

    def __init__(self, kind: str) -> None:
        self.observation_space, self.action_space = self.SPACES[kind]
