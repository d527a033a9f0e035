"""Training seeds as replicates: two models compared seed by seed."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from robustssm.evaluations.statistics.intervals import student
from robustssm.evaluations.statistics.max_statistic import SEED
from robustssm.typing import FloatArray

# Below this many sign flips all of them are tried: 13 seeds.
_FLIPS = 9999


@dataclass(frozen=True)
class SeedComparison:
    """Mean of seed-wise differences, Student's interval (NaN: none), sign-flip p and its least."""

    difference: float
    low: float
    high: float
    p: float
    smallest_p: float
    seeds: int


def smallest_p(seeds: int) -> float:
    """Return the smallest two-sided p of sign flips: 2 / 2^k, at least 2 / (flips drawn + 1)."""
    return min(1.0, max(2.0 / 2.0**seeds, 2.0 / (_FLIPS + 1)))


def compare_seeds(difference: FloatArray) -> SeedComparison:
    """Return what seed-wise differences say about retraining; difference: (seeds,), paired.

    A single seed says nothing about it: its interval is NaN and its p is 1. Student's interval
    takes the differences to be normal. p: share of the sign flips that reach the mean, all flips
    up to 13 seeds, else 9999 of them. Differences of accuracies or of logarithms: below 1e-12 they
    are rounding, and count as 0.
    """
    k = len(difference)
    difference = np.where(np.abs(difference) > 1e-12, difference, 0.0)
    low, high = student(difference)
    p = 1.0
    if k > 1 and difference.any():
        scale = float(np.abs(difference).max())

        def mean(values: FloatArray, axis: int) -> FloatArray:
            # Equal sums in another order differ by some ulps; then they are no ties any more.
            return np.round(values.mean(axis=axis) / scale, 12)

        p = float(
            stats.permutation_test(
                (difference,),
                mean,
                vectorized=True,
                permutation_type="samples",
                n_resamples=_FLIPS,
                random_state=np.random.Generator(np.random.Philox(SEED)),
            ).pvalue
        )
    return SeedComparison(float(difference.mean()), low, high, p, smallest_p(k), k)
