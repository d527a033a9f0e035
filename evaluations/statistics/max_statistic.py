"""Do two models differ at any mode? A permutation test that keeps the dependence of the modes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robustssm.typing import FloatArray

SEED = 20260101
RESAMPLES = 9999
# Signs held at a time, times the larger of samples and tests.
_CHUNK = 1 << 22


@dataclass(frozen=True)
class MaxT:
    """statistic: (tests,), signed; p: adjusted for all tests, (tests,); p_any: any difference."""

    statistic: FloatArray
    p: FloatArray
    p_any: float


def max_t(
    a: npt.NDArray[np.bool_],
    b: npt.NDArray[np.bool_],
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> MaxT:
    """Test whether two models differ at any of many conditions, on the same samples.

    a, b: (conditions, samples), which samples each is right on. Under the null hypothesis the
    labels `a` and `b` of a sample can be swapped, in all conditions at once: so the signs of a
    sample's differences are flipped together, and the dependence between conditions is kept.
    The statistic is (a_only - b_only) / sqrt(a_only + b_only), McNemar's, whose denominator no
    flip changes; 0 if no sample is discordant. Adjusted p: share of the flips, the observed
    one included, whose largest absolute statistic reaches the condition's (single step). Smallest
    possible value 1 / (resamples + 1). Family-wise error is kept if the labels can be swapped
    in all conditions (weak control); and in general as McNemar's statistics are pivotal
    asymptotically (subset pivotality).

    Reference: Westfall and Young, Resampling-Based Multiple Testing (1993), chapter 2.
    """
    # A byte a number: float64 is made of some tests at a time.
    difference = a.astype(np.int8) - b.astype(np.int8)
    # Samples without a discordance add nothing, whatever their sign.
    difference = difference[:, difference.any(0)]
    tests, n = difference.shape
    spread = np.sqrt(np.count_nonzero(difference, axis=1))
    scale = np.divide(1.0, spread, out=np.zeros(tests), where=spread > 0)
    statistic = difference.sum(1, dtype=np.int64) * scale
    found = np.abs(statistic)
    # Equal statistics of different counts may differ in the last digits.
    found_lower = found * (1 - 1e-12)
    reached = np.ones(tests)
    rng = np.random.Generator(np.random.Philox(seed))
    size, block = max(1, _CHUNK // max(n, tests, 1)), max(1, _CHUNK // max(n, 1))
    for start in range(0, resamples, size):
        largest = np.zeros(min(size, resamples - start))
        if n:
            signs = 1.0 - 2.0 * rng.integers(0, 2, (len(largest), n))
            for first in range(0, tests, block):
                some = slice(first, first + block)
                flipped = signs @ difference[some].T.astype(np.float64) * scale[some]
                np.maximum(largest, np.abs(flipped).max(1), out=largest)
        largest.sort()
        reached += len(largest) - np.searchsorted(largest, found_lower, side="left")
    p = reached / (resamples + 1)
    return MaxT(statistic, p, float(p.min(initial=1.0)))


def sign_flip(difference: FloatArray, resamples: int = RESAMPLES, seed: int = SEED) -> FloatArray:
    """Return the two-sided p of mean paired differences: one for each row, no correction.

    difference: (quantities, samples), symmetric about zero under the null hypothesis; the result
    (quantities,). Any quantity that is linear in the samples, such as an area under a curve, is
    such a mean.
    """
    # Sums of the same numbers in another order differ by some ulps of the largest sum.
    found = np.abs(difference.sum(1)) - 1e-12 * np.abs(difference).sum(1)
    reached = np.ones(len(difference))
    rng = np.random.Generator(np.random.Philox(seed))
    n = difference.shape[1]
    size = max(1, _CHUNK // max(n, len(difference), 1))
    for start in range(0, resamples, size):
        signs = 1.0 - 2.0 * rng.integers(0, 2, (min(size, resamples - start), n))
        reached += (np.abs(signs @ difference.T) >= found).sum(0)
    return reached / (resamples + 1)
