"""Statistics of a handful of seeds, as functions of NumPy arrays. SciPy is imported where it is needed.

Scores are [N, M]: N seeds, each on M tasks. Estimators and intervals are those that Agarwal et al. 2021, "Deep
Reinforcement Learning at the Edge of the Statistical Precipice" (arXiv 2108.13264) recommends for few seeds.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Statistic = Callable[[Scores], Scores]  # [..., n] -> [...]


MIN_SEEDS = 5
"""Below, no interval and no test: of three seeds a bootstrap interval is their range, and covers 75 % instead of 95."""
MAX_PERMUTATIONS = 20_000  # as many as there are of 8 against 8; of more a sample


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def iqm(scores: Scores) -> Scores:
    """Interquartile mean over the last axis, [..., n] -> [...]: the mean without the lowest and the highest n // 4.

    It withstands outliers as the median does, and uses more of the data (arXiv 2108.13264, section 4.3). Of fewer than
    four scores it is the mean. NaN where a score is NaN.
    """
    count = scores.shape[-1]
    middle = np.sort(scores, axis=-1)[..., count // 4 : count - count // 4]
    return np.where(np.isnan(scores).any(axis=-1), np.nan, middle.mean(axis=-1))


def mean(scores: Scores) -> Scores:
    """Mean over the last axis, [..., n] -> [...]."""
    return scores.mean(axis=-1)


def stratified_bootstrap_interval(
    scores: Scores, statistic: Statistic = iqm, *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Percentile interval of `statistic` of all scores [N, M], over redrawn seeds.

    Seeds are redrawn with replacement, on each task by themselves: tasks are the strata (arXiv 2108.13264, section
    4.1). Of a few seeds such an interval is too narrow: of five normal scores that of the IQM covers some 89 %,
    that of the mean 83 %; of eight, 93 % and 90 %.

    Raises:
        ValueError: there are fewer than two seeds.
    """
    rng = np.random.default_rng(seed)
    redrawn = _redraw(scores, resamples, rng)
    return _percentiles(statistic(redrawn.reshape(resamples, -1)), confidence)


def probability_of_improvement(x: Scores, y: Scores) -> float:
    """Chance that a run of `x` [N, M] beats one of `y` [K, M] on a random task; a tie counts one half.

    It is the Mann-Whitney U statistic over NK, averaged over tasks (arXiv 2108.13264, section 4.3).
    """
    return float(_win_rate(x, y))


def mann_whitney_p(x: Scores, y: Scores) -> float:
    """Two-sided exact p value of the scores `x` [N] and `y` [K] having one distribution, by the Mann-Whitney test.

    It is the test of `probability_of_improvement` being one half, with ties by permutation. NaN where a score is NaN.
    """
    from scipy.stats import PermutationMethod, mannwhitneyu  # takes a second

    tied = len(np.unique([*x, *y])) < len(x) + len(y)
    method = PermutationMethod(n_resamples=MAX_PERMUTATIONS, rng=np.random.default_rng(0)) if tied else "exact"
    return float(mannwhitneyu(x, y, method=method).pvalue)


def t_interval(scores: Scores, *, confidence: float = 0.95) -> Interval:
    """Interval of the mean of normally distributed scores [n], from Student's t with n - 1 degrees of freedom.

    Raises:
        ValueError: there are fewer than two scores.
    """
    from scipy.special import stdtrit

    if len(scores) < 2:
        raise ValueError(f"{len(scores)} seed has no spread: run at least 2")
    error = scores.std(ddof=1) / np.sqrt(len(scores))
    reach = float(stdtrit(len(scores) - 1, (1 + confidence) / 2) * error)
    return Interval(float(scores.mean()) - reach, float(scores.mean()) + reach)


def _redraw(scores: Scores, resamples: int, rng: np.random.Generator) -> Scores:
    """[N, M] -> [resamples, N, M]."""
    count = len(scores)
    if count < 2:
        raise ValueError(f"{count} seed has no spread to draw from: run at least 2")
    indices = rng.integers(count, size=(resamples, *scores.shape))
    return np.take_along_axis(scores[None], indices, axis=1)


def _win_rate(x: Scores, y: Scores) -> Scores:
    """[..., N, M], [..., K, M] -> [...]; NaN where a score is NaN."""
    return 0.5 + 0.5 * np.sign(x[..., :, None, :] - y[..., None, :, :]).mean(axis=(-3, -2, -1))


def _percentiles(values: Scores, confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, (tail, 1 - tail))
    return Interval(float(low), float(high))
