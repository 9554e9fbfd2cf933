"""Every benchmark runs at toy size, says what it measures and where, and prints numbers."""

import importlib.util
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
HELPERS = {"common", "timing", "training", "sbx_sac", "time_to_return_results"}
NETWORKS = (
    "--set=flow.hidden_sizes=[8] --set=flow.embedding_sizes=[8] --set=flow.num_couplings=1 "
    "--set=critic.hidden_sizes=[8] --set=critic.count=1 --set=replay.batch_size=16 "
)
EARLY = "--set=learning_starts=40 "
# Arguments, and a line that shows that the measurement was made.
TOYS = {
    "environments": ("--env=lsp/PointMass-v0 --rounds=1 --calls=3", r"share of the checks: +-?\d+\.\d\d % of a step"),
    "hindsight": ("--capacity=200 --rounds=1 --calls=1", r"lsp, in a scan +\d+\.\d us for 256 transitions"),
    "loop": (
        f"{NETWORKS}{EARLY}--env=lsp/PointMass-v0 --capacity=100 --steps=20 --window=10 --block=2 --utd=1 --calls=1",
        r"loop to its parts: +\d+\.\d\d times the rate",
    ),
    "outputs": (
        f"{NETWORKS}--set=evaluation.episodes=1 --env=lsp/PointMass-v0 --capacity=100 --steps=20 --rounds=1",
        r"files: +\d+\.\d+ times as long",
    ),
    "prioritized": ("--only=cycle --capacity=16_384 --rounds=1 --calls=1", r"scan to scan, uniform: \d+\.\d\dx"),
    "scaling": (f"{NETWORKS}--env=lsp/PointMass-v0 --capacity=1_000", r"10,000 +0\.016 +[\d,]+ +\w+"),
    "seeds": (
        f"{NETWORKS}--env=lsp/PointMass-v0 --capacity=100 --seeds=2 --steps=4 --alone=4 --rounds=1",
        r"a seed to a single run: +\d+\.\d+ times",
    ),
    "sum_tree": ("--exponents 5 7 --rounds=1 --calls=1", r"2\^7 +\d+\.\d \("),
    "update": (f"{NETWORKS}--observation-dim=4 --action-dim=2 --rounds=1", r"times its floor: +\d+\.\d\d"),
}


def benchmark(name: str, arguments: str, patch: pytest.MonkeyPatch) -> None:
    """Run it in this process, which has imported JAX already."""
    patch.setattr(sys, "argv", [str(FOLDER / f"{name}.py"), *arguments.split()])
    patch.syspath_prepend(FOLDER)
    runpy.run_path(sys.argv[0], run_name="__main__")


def test_none_is_forgotten() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == HELPERS | TOYS.keys() | {"peers", "time_to_return"}


@pytest.mark.slow
@pytest.mark.parametrize("name", TOYS)
def test_runs(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, measured = TOYS[name]
    benchmark(name, arguments, monkeypatch)
    heading, machine, *lines = capsys.readouterr().out.splitlines()
    assert heading.startswith(f"{name}.py: ")
    assert re.match(r"machine: .*, \d+ of \d+ cores; \d+ x cpu; Python 3\..*, JAX ", machine)
    assert any(re.search(measured, line) for line in lines), lines


@pytest.mark.slow
def test_engines_in_lock_step(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = f"{NETWORKS}{EARLY}--env=lsp/PointMass-v0 --capacity=1_000 --lock-step --rounds=1 --updates=8"
    benchmark("scaling", arguments, monkeypatch)
    assert len(re.findall(r"\d+ updates/s, +\d+\.\d\d times one environment's", capsys.readouterr().out)) == 5


@pytest.mark.slow
def test_prioritized_in_the_loop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = f"{NETWORKS}{EARLY}--only=loop --blocks 8 --capacity=16_384 --rounds=1 --calls=1"
    benchmark("prioritized", arguments, monkeypatch)
    assert len(re.findall(r"prioritized to uniform: \d+\.\d\dx", capsys.readouterr().out)) == 1


PEERS = [sys.executable, str(FOLDER / "peers.py"), "--env=lsp/PointMass-v0", "--capacity=600", "--warmup=600"]


@pytest.mark.slow
def test_our_side_of_the_comparison_with_peers() -> None:
    environment = os.environ | {"PYTHONPATH": str(FOLDER.parent)}
    result = subprocess.run(
        [*PEERS, "--worker=lsp"], input="10\n", env=environment, capture_output=True, text=True, check=True
    )
    ready, numbers = result.stdout.splitlines()
    assert ready == "ready"
    assert all(float(number) > 0 for number in numbers.split())


@pytest.mark.skipif(not importlib.util.find_spec("sbx"), reason="SBX is not installed: pip install -e '.[peers]'")
def test_peers() -> None:
    environment = os.environ | {"PYTHONPATH": str(FOLDER.parent)}
    command = [*PEERS[:2], "--env=Pendulum-v1", *PEERS[3:], "--rounds=1", "--window=10"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert re.search(r"; ratio \d+\.\d\d \(", result.stdout)


def test_help_without_the_peers() -> None:
    result = subprocess.run([*PEERS[:2], "--help"], capture_output=True, text=True, check=True)
    assert "--peer-python" in result.stdout
