"""Estimators against SciPy, closed forms and rliable; intervals behave as the bootstrap's should."""

import itertools

import numpy as np
import pytest
import scipy.stats

from lsp.report import statistics

# Made with rliable 1.2.0 (`metrics`, and `library.get_interval_estimates` with 50,000 resamples, 20,000 for the
# probability), the code of the paper's authors. Its intervals vary by some 0.01 between runs.
X = np.array(
    [[5.13, 5.87, 7.64], [5.1, 5.46, 7.36], [6.3, 6.95, 6.3], [3.73, 5.38, 7.04], [2.67, 5.78, 5.75],
     [4.27, 5.46, 6.68], [5.41, 7.04, 6.87], [6.37, 5.33, 7.35], [5.9, 6.09, 6.26], [4.08, 5.54, 7.22]]
)  # fmt: skip
Y = np.array(
    [[3.29, 5.25, 6.31], [5.15, 5.76, 6.93], [3.72, 5.34, 7.44], [6.29, 3.99, 8.32], [6.12, 6.44, 6.82],
     [4.12, 7.25, 8.85], [6.66, 7.08, 6.93]]
)  # fmt: skip
RLIABLE_IQM = (5.963750000000001, 6.259090909090909)
RLIABLE_IQM_INTERVALS = ((5.695, 6.28251563), (5.67272727, 6.68909091))
RLIABLE_ONE_TASK_INTERVAL = (4.10666667, 5.78333333)
RLIABLE_PROBABILITY = 0.44285714285714284


@pytest.mark.parametrize("count", [*range(1, 13), 50])
def test_iqm_is_a_trimmed_mean(count: int, rng: np.random.Generator) -> None:
    scores = rng.normal(size=(3, count))
    np.testing.assert_allclose(statistics.iqm(scores), scipy.stats.trim_mean(scores, 0.25, axis=-1), rtol=1e-12)


def test_iqm_withstands_outliers_but_not_nan() -> None:
    assert statistics.iqm(np.array([-1e9, 1.0, 2.0, 3.0, 4.0, 1e9, 2.5, 2.5])) == 2.5
    assert np.isnan(statistics.iqm(np.array([1.0, 2.0, 3.0, np.nan])))  # sorted last, it would be trimmed away


def test_mean(rng: np.random.Generator) -> None:
    scores = rng.normal(size=(2, 5))
    np.testing.assert_array_equal(statistics.mean(scores), scores.mean(axis=-1))


def test_interval_of_two_seeds_is_their_range() -> None:
    """The mean of two redrawn is either of them with chance 1/4, beyond both tails of 2.5 %."""
    assert statistics.stratified_bootstrap_interval(np.array([[3.0], [7.0]])) == (3.0, 7.0)


def test_interval_of_a_mean_is_the_normal_one(rng: np.random.Generator) -> None:
    scores = rng.normal(size=(200, 1))
    error = 1.96 * scores.std() / np.sqrt(200)
    interval = statistics.stratified_bootstrap_interval(scores, statistics.mean)
    np.testing.assert_allclose(interval, scores.mean() + np.array([-error, error]), atol=0.05 * error)
    narrower = statistics.stratified_bootstrap_interval(scores, statistics.mean, confidence=0.5)
    np.testing.assert_allclose(np.diff(narrower), np.diff(interval) * 0.6745 / 1.96, rtol=0.05)


def test_interval_follows_scale_and_shift(rng: np.random.Generator) -> None:
    scores = rng.normal(size=(6, 2))
    low, high = statistics.stratified_bootstrap_interval(scores)
    np.testing.assert_allclose(statistics.stratified_bootstrap_interval(5 * scores - 3), (5 * low - 3, 5 * high - 3))
    np.testing.assert_allclose(statistics.stratified_bootstrap_interval(-scores), (-high, -low), atol=0.05)


def test_tasks_are_strata() -> None:
    """Seeds are never redrawn across tasks; and on each task by themselves, so that luck averages out."""
    apart = np.array([[1.0, 100.0]] * 5)
    assert statistics.stratified_bootstrap_interval(apart, statistics.mean) == (50.5, 50.5)
    tasks = 100
    low, high = statistics.stratified_bootstrap_interval(np.array([[0.0] * tasks, [1.0] * tasks]), statistics.mean)
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / (2 * tasks)), rel=0.1)  # drawn jointly: 1


def test_same_scores_same_interval() -> None:
    assert statistics.stratified_bootstrap_interval(X) == statistics.stratified_bootstrap_interval(X)
    assert statistics.stratified_bootstrap_interval(X) != statistics.stratified_bootstrap_interval(X, seed=1)


def test_one_seed_has_no_interval() -> None:
    with pytest.raises(ValueError, match="1 seed has no spread"):
        statistics.stratified_bootstrap_interval(np.ones((1, 1)))
    with pytest.raises(ValueError, match="1 seed has no spread"):
        statistics.t_interval(np.ones(1))


@pytest.mark.parametrize("count", [2, 5, 8, 30])
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_t_interval_is_students(count: int, confidence: float, rng: np.random.Generator) -> None:
    scores = rng.normal(3.0, 2.0, count)
    wanted = scipy.stats.t.interval(confidence, count - 1, scores.mean(), scipy.stats.sem(scores))
    np.testing.assert_allclose(statistics.t_interval(scores, confidence=confidence), wanted)


@pytest.mark.parametrize("count", [5, 8])
def test_coverage_of_the_t_interval(count: int, rng: np.random.Generator) -> None:
    """Of normal scores, 95 %; four standard deviations of the count of hits are 1.4 % here. A bootstrap fails this."""
    draws = rng.normal(size=(4000, count))
    intervals = np.array([statistics.t_interval(scores) for scores in draws])
    assert np.mean((intervals[:, 0] <= 0) & (intervals[:, 1] >= 0)) == pytest.approx(0.95, abs=0.014)


def test_bootstrap_of_three_seeds_is_their_range_and_misses_one_mean_in_four(rng: np.random.Generator) -> None:
    """Hence no interval of three: each of the lowest and the highest is drawn three times with chance 1/27 > 2.5 %."""
    hits = 0
    for scores in rng.normal(size=(400, 3)):
        low, high = statistics.stratified_bootstrap_interval(scores[:, None], resamples=1000)
        assert (low, high) == pytest.approx((scores.min(), scores.max()))
        hits += low <= 0 <= high
    assert hits / 400 == pytest.approx(1 - 2 / 2**3, abs=0.09)


def test_probability_of_improvement_is_mann_whitney(rng: np.random.Generator) -> None:
    x, y = rng.integers(5, size=(2, 8, 1)).astype(float)  # with ties
    u = scipy.stats.mannwhitneyu(x[:, 0], y[:5, 0]).statistic
    assert statistics.probability_of_improvement(x, y[:5]) == pytest.approx(u / 40)
    assert statistics.probability_of_improvement(y[:5], x) == pytest.approx(1 - u / 40)


def test_probability_of_improvement_of_equal_separate_and_nan() -> None:
    ones = np.ones((3, 1))
    assert statistics.probability_of_improvement(ones, ones) == 0.5
    assert statistics.probability_of_improvement(ones, ones - 0.01) == 1.0
    assert np.isnan(statistics.probability_of_improvement(ones, np.full((2, 1), np.nan)))


def test_estimates_are_rliables() -> None:
    assert statistics.iqm(X.ravel()) == pytest.approx(RLIABLE_IQM[0])
    assert statistics.iqm(Y.ravel()) == pytest.approx(RLIABLE_IQM[1])
    assert statistics.probability_of_improvement(X, Y) == pytest.approx(RLIABLE_PROBABILITY)


def test_intervals_are_rliables() -> None:
    for scores, interval in zip((X, Y), RLIABLE_IQM_INTERVALS, strict=True):
        np.testing.assert_allclose(statistics.stratified_bootstrap_interval(scores), interval, atol=0.03)
    one_task = statistics.stratified_bootstrap_interval(X[:, :1])
    np.testing.assert_allclose(one_task, RLIABLE_ONE_TASK_INTERVAL, atol=0.03)


def exact_p(x: np.ndarray, y: np.ndarray) -> float:
    """Of all ways to deal out the scores twice the share that goes as far to the same side of P = 1/2, at most all."""
    both = np.concatenate([x, y])
    dealt = [np.isin(range(len(both)), chosen) for chosen in itertools.combinations(range(len(both)), len(x))]
    wins = np.array([np.sign(both[ours][:, None] - both[~ours]).sum() for ours in dealt])
    observed = np.sign(x[:, None] - y).sum()
    return min(1.0, 2 * float(min(np.mean(wins >= observed), np.mean(wins <= observed))))


@pytest.mark.parametrize("ties", [False, True])
def test_mann_whitney_by_hand(ties: bool, rng: np.random.Generator) -> None:
    for shift in (0.0, 1.0, 3.0):
        x, y = rng.normal(size=5) + shift, rng.normal(size=4)
        if ties:
            x, y = np.round(x), np.round(y)
        assert statistics.mann_whitney_p(x, y) == pytest.approx(exact_p(x, y))


def test_mann_whitney_of_equal_and_separate() -> None:
    five = np.arange(5.0)
    assert statistics.mann_whitney_p(five, five) == 1.0
    assert statistics.mann_whitney_p(five + 5, five) == pytest.approx(2 / 252)
    assert np.isnan(statistics.mann_whitney_p(np.append(five, np.nan), five))
