"""Training seeds as replicates: two models compared seed by seed."""

import numpy as np
from scipy import stats

from robustssm.evaluations.statistics.max_statistic import SEED
from robustssm.typing import FloatArray

# Below this many sign flips all of them are tried: 13 seeds.
_FLIPS = 9999


def smallest_p(seeds: int) -> float:
    """Return the smallest two-sided p of sign flips: 2 / 2^k, at least 2 / (flips drawn + 1)."""
    return min(1.0, max(2.0 / 2.0**seeds, 2.0 / (_FLIPS + 1)))


def sign_flip_p(difference: FloatArray) -> float:
    """Return the two-sided p of seed-wise differences, (seeds,), paired; 1 of a single seed.

    Share of the sign flips that reach the mean, all flips up to 13 seeds, else 9999 of them.
    Differences of accuracies or of logarithms: below 1e-12 they are rounding, and count as 0.
    """
    difference = np.where(np.abs(difference) > 1e-12, difference, 0.0)
    if len(difference) < 2 or not difference.any():
        return 1.0
    scale = float(np.abs(difference).max())

    def mean(values: FloatArray, axis: int) -> FloatArray:
        # Equal sums in another order differ by some ulps; then they are no ties any more.
        return np.round(values.mean(axis=axis) / scale, 12)

    test = stats.permutation_test(
        (difference,),
        mean,
        vectorized=True,
        permutation_type="samples",
        n_resamples=_FLIPS,
        random_state=np.random.Generator(np.random.Philox(SEED)),
    )
    return float(test.pvalue)
