"""What there is to import."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_run_is_looked_at_without_jax() -> None:
    """Its metrics, and what it was; JAX comes with its policy."""
    script = "import sys, lsp; run = lsp.load('runs/published/headline_s1'); assert list(run.seeds) == [1]; "
    script += "assert run.metrics()['step'].size; assert 'jax' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
