"""Every example runs as it stands, shortened by a variable; where what it needs is not installed, it says so."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NEEDS = {"tune": "optuna", "stable_baselines3_on_a_layer": "stable_baselines3"}


def run(path: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LSP_TEST_STEPS": "200", "PYTHONPATH": str(ROOT)}
    line = [sys.executable, str(path)]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path) -> None:
    needed = NEEDS.get(path.stem)
    if needed is not None and importlib.util.find_spec(needed) is None:
        ended = run(path, tmp_path)
        assert ended.returncode == 1
        assert ended.stderr.splitlines() == [f"{path.name} needs {ended.stderr.split(' needs ')[1].rstrip()}"]
        pytest.skip(f"{needed} is not installed")
    ended = run(path, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


def test_each_is_short_and_says_what_it_is() -> None:
    assert len(EXAMPLES) == 5
    for path in EXAMPLES:
        text = path.read_text()
        assert text.startswith('"""')
        assert len(text.splitlines()) <= 80
        compile(text, path, "exec")
