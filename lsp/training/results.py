"""An evaluation as its reader wants it: whole episodes of a policy, as NumPy arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsp.training.evaluate import describe


@dataclass(frozen=True, repr=False, eq=False)
class Evaluation:
    """Whole episodes of one policy under one protocol, [N] each.

    Printed, it is one line: `step 20,000: mode policy returns -154 ± 87 over 20 episodes`.
    """

    protocol: str
    """How latents were chosen: `sampled`, `mode` (zero; not the density's mode) or `fixed_latent`."""
    step: int
    """Environment steps of the run at the time."""
    seed: int
    """Of the run."""
    returns: NDArray[np.float64]
    """Undiscounted sums of the environment's own rewards, [N]."""
    lengths: NDArray[np.int64]
    """Environment steps, [N]."""
    terminated: NDArray[np.bool_]
    """True where the task ended the episode, false at a time limit, [N]."""
    success: NDArray[np.float64] | None
    """1 where the task was met, 0 where not, [N]; None of a task that does not say."""
    info: Mapping[str, NDArray[np.float64]]
    """Of each term of `info` its mean over the episode, [N]; NaN where the episode did not say it."""
    cut: int
    """Episodes that were cut, since they did not end by `evaluation.max_episode_steps`."""

    @classmethod
    def of(cls, record: Mapping[str, Any], seed: int) -> "Evaluation":
        """What a record of `eval.jsonl` says; `seed` is the run's."""
        terms = {name.removeprefix("info/"): value for name, value in record.items() if name.startswith("info/")}
        return cls(
            protocol=record["protocol"],
            step=record["step"],
            seed=seed,
            returns=np.asarray(record["returns"], np.float64),
            lengths=np.asarray(record["lengths"], np.int64),
            terminated=np.asarray(record["terminated"], np.bool_),
            success=np.asarray(record["success"], np.float64) if "success" in record else None,
            info={name: np.asarray(value, np.float64) for name, value in terms.items()},  # None becomes NaN
            cut=record.get("cut", 0),
        )

    @property
    def mean(self) -> float:
        """Mean of the returns."""
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        """Standard deviation of the returns over episodes; not the error of their mean."""
        return float(np.std(self.returns))

    @property
    def success_rate(self) -> float:
        """Share of episodes that met the task, in [0, 1]; NaN of a task that does not say."""
        return float(np.nan if self.success is None else np.mean(self.success))

    def __repr__(self) -> str:
        record = {"step": self.step, "protocol": self.protocol}
        record |= {} if self.success is None else {"success": self.success}
        return describe(record, self.returns.tolist(), "episodes")
