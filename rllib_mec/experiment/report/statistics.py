"""Statistics over the seeds of a training, as few and as skewed as they are.

Interquartile means, percentile-bootstrap intervals and probabilities of improvement are those of
Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice (2021).
Resampling starts from a fixed seed: the same values give the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Values = Sequence[float] | NDArray[np.float64]

RESAMPLES = 9_999
"""Of a number's interval."""

GOOD_SCORE = 0.95
"""The score from which on a policy counts as found."""


def iqm(values: Values, axis: int = -1) -> NDArray[np.float64]:
    """Returns the mean of the middle half along ``axis``: a quarter is cut off at each end.

    >>> float(iqm([-100.0, 1.0, 2.0, 3.0, 3.0, 4.0, 4.0, 90.0]))
    3.0
    """
    return stats.trim_mean(values, 0.25, axis=axis)


def iqm_interval(values: Values) -> list[float] | None:
    """Returns the 95 % interval of the IQM over seeds, (S,); None of a single seed.

    >>> iqm_interval([2.0, 2.0, 2.0])
    [2.0, 2.0]
    """
    if len(values) < 2:
        return None
    return [float(bound) for bound in _bootstrap((np.asarray(values),), iqm, RESAMPLES)]


def iqm_band(values: NDArray[np.float64], resamples: int = 999) -> tuple[NDArray[np.float64], ...]:
    """Returns the bounds, (P,) each, of the IQM's 95 % interval at each point of curves (S, P).

    A single curve is its own band.
    """
    if len(values) < 2:
        return values[0], values[0]
    return _bootstrap((values.T,), iqm, resamples)


def probability_of_improvement(x: Values, y: Values) -> float:
    """Returns P(X > Y) + P(X = Y) / 2 for a seed of x, (S,), and one of y, (T,).

    >>> probability_of_improvement([3.0, 1.0], [1.0, 0.0])
    0.875
    """
    return float(_improvement(np.asarray(x), np.asarray(y)))


def improvement_interval(x: Values, y: Values) -> list[float] | None:
    """Returns its 95 % interval, the seeds of both resampled; None where one has a single seed."""
    if min(len(x), len(y)) < 2:
        return None
    samples = (np.asarray(x), np.asarray(y))
    return [float(bound) for bound in _bootstrap(samples, _improvement, RESAMPLES)]


def normal_interval(mean: float, error: float | None) -> list[float] | None:
    """Returns the 95 % interval of a mean over many episodes with that standard error."""
    return None if error is None else [mean - 1.96 * error, mean + 1.96 * error]


def mean_interval(values: Values) -> list[float] | None:
    """Returns Student's 95 % interval of the mean over seeds, (S,); None of a single seed.

    >>> [round(end, 3) for end in mean_interval([1.0, 2.0, 3.0])]
    [-0.484, 4.484]
    """
    if len(values) < 2:
        return None
    mean = float(np.mean(values))
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return [mean - half, mean + half]


def welch_difference(x: Values, y: Values) -> dict[str, Any]:
    """Returns ``mean`` and ``ci95`` of the difference of the means of x, (S,), and y, (T,).

    The 95 % interval is Welch's, for unlike variances; None where one has a single seed.
    """
    difference = float(np.mean(x) - np.mean(y))
    if min(len(x), len(y)) < 2:
        return {"mean": difference, "ci95": None}
    a, b = (float(np.var(values, ddof=1)) / len(values) for values in (x, y))
    return {"mean": difference, "ci95": _welch(difference, (a, len(x)), (b, len(y)))}


def welch_difference_to(x: Values, mean: float, error: float | None, count: int) -> dict[str, Any]:
    """Returns the same of the mean of x, (S,), less a mean over ``count`` episodes.

    Args:
        error: the standard error of that mean; None if it has none.
    """
    difference = float(np.mean(x) - mean)
    if len(x) < 2 or error is None:
        return {"mean": difference, "ci95": None}
    a = float(np.var(x, ddof=1)) / len(x)
    return {"mean": difference, "ci95": _welch(difference, (a, len(x)), (error**2, count))}


def _welch(difference: float, x: tuple[float, int], y: tuple[float, int]) -> list[float]:
    """Welch's interval from the squared standard error and the count of either side."""
    (a, seeds), (b, others) = x, y
    if a + b == 0:
        return [difference, difference]
    degrees = (a + b) ** 2 / (a**2 / (seeds - 1) + b**2 / (others - 1))
    half = float(stats.t.ppf(0.975, degrees)) * math.sqrt(a + b)
    return [difference - half, difference + half]


def normalised(
    reward: float | NDArray[np.float64], random: float, hold: float
) -> NDArray[np.float64]:
    """Returns the scores (R - R_random) / (R_hold - R_random) of rewards.

    >>> float(normalised(-110.0, random=-180.0, hold=-100.0))
    0.875
    """
    return (np.asarray(reward) - random) / (hold - random)


def steps_to_score(steps: NDArray[np.int64], scores: NDArray[np.float64]) -> int | None:
    """Returns the steps after which a training curve is good, None if it never is.

    That is its first point with a score of GOOD_SCORE or more from which on the curve's mean is
    also so high: one lucky point before a collapse does not count, a dip after it may.

    Args:
        steps, scores: the curve, (P,) each.
    """
    means_from_here = np.cumsum(scores[::-1])[::-1] / np.arange(len(scores), 0, -1)
    good = np.flatnonzero((scores >= GOOD_SCORE) & (means_from_here >= GOOD_SCORE))
    return int(steps[good[0]]) if len(good) else None


def median_of_reached(values: Sequence[int | None]) -> float | None:
    """Returns the median, None counted as infinity; None if that is the median.

    >>> median_of_reached([100, None, 300]), median_of_reached([100, None])
    (300.0, None)
    """
    median = float(np.median([math.inf if value is None else value for value in values]))
    return median if math.isfinite(median) else None


def _improvement(x: NDArray, y: NDArray, axis: int = -1) -> NDArray[np.float64]:
    """P(X > Y) + P(X = Y) / 2 of x, (..., S), and y, (..., T)."""
    difference = x[..., :, None] - y[..., None, :]
    return (0.5 + 0.5 * np.sign(difference)).mean(axis=(-2, -1))


def _bootstrap(
    samples: tuple[NDArray[np.float64], ...], statistic: object, resamples: int
) -> tuple[NDArray[np.float64], ...]:
    """Percentile intervals: BCa's have no value where all seeds are equal."""
    return stats.bootstrap(
        samples,
        statistic,
        axis=-1,
        vectorized=True,
        n_resamples=resamples,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
