"""Training that produced numbers that are not finite: found out, and said in one line."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from lsp.config.schema import Fault


class Diverged(Fault):
    """Training produced numbers that are not finite. The message is one line."""


def diverged(what: str, step: int, run_dir: Path) -> Diverged:
    """The error that says what is not finite at an environment step, and what to do."""
    return Diverged(
        f"training diverged: {what} at step {step:,}; checkpoints in {run_dir / 'checkpoints'} are from "
        "before; start again with a lower --critic.learning-rate, --policy.learning-rate or --flow.max-log-scale"
    )


def require_finite(tree: Any, step: int, run_dir: Path) -> None:
    """Raise Diverged, naming the first leaf of `tree` that is not finite."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not np.isfinite(leaf).all():
            value = np.ravel(leaf)[~np.isfinite(np.ravel(leaf))][0]
            raise diverged(f"{jax.tree_util.keystr(path, simple=True, separator='.')} is {value}", step, run_dir)
