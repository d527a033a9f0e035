"""Do two models differ at any mode? A permutation test that keeps the dependence of the modes."""

from collections.abc import Iterator

import numpy as np

from robustssm.typing import FloatArray, Right

SEED = 20260101
RESAMPLES = 9999
# Signs held at a time, times the larger of samples and tests.
_CHUNK = 1 << 20


def max_t(
    a: Right,
    b: Right,
    resamples: int = RESAMPLES,
) -> FloatArray:
    """Return p that two models differ at each condition, adjusted for all, (conditions,).

    The smallest is that of any difference. a, b: (conditions, samples), which of the same samples
    each is right on, or in which share of a noise's draws. Under the null hypothesis the labels `a`
    and `b` of a sample can be swapped, in all conditions at once: so the signs of a sample's
    differences are flipped together, and the dependence between conditions is kept. The statistic
    is (a_only - b_only) / sqrt(a_only + b_only), McNemar's, (of shares: the root of the sum of
    squared differences), whose denominator no flip changes; 0 if no sample is discordant. Adjusted
    p: share of the flips, the observed one included, whose largest absolute statistic reaches the
    condition's (single step), at least 1 / (resamples + 1). Family-wise error is kept if labels can
    be swapped in all conditions (weak control); and in general as McNemar's statistics are pivotal
    asymptotically (subset pivotality).

    Reference: Westfall and Young, Resampling-Based Multiple Testing (1993), chapter 2.
    """
    # A byte a number where it is enough: float64 is made of some tests at a time.
    kind = np.int8 if a.dtype == np.bool_ else np.float64
    difference = a.astype(kind) - b.astype(kind)
    # Samples without a discordance add nothing, whatever their sign.
    difference = difference[:, difference.any(0)]
    tests, n = difference.shape
    spread = np.sqrt((difference**2).sum(1, dtype=np.float64))
    scale = np.divide(1.0, spread, out=np.zeros(tests), where=spread > 0)
    statistic = np.abs(difference.sum(1, dtype=np.float64) * scale)
    # Equal statistics of different counts may differ in the last digits.
    lower = statistic * (1 - 1e-12)
    reached = np.ones(tests)
    block = max(1, _CHUNK // max(n, 1))
    for signs in _signs(n, tests, resamples):
        largest = np.zeros(len(signs))
        for first in range(0, tests, block):
            some = slice(first, first + block)
            flipped = signs @ difference[some].T.astype(np.float64) * scale[some]
            np.maximum(largest, np.abs(flipped).max(1), out=largest)
        largest.sort()
        reached += len(largest) - np.searchsorted(largest, lower, side="left")
    return reached / (resamples + 1)


def sign_flip(difference: FloatArray, resamples: int = RESAMPLES) -> FloatArray:
    """Return the two-sided p of mean paired differences: one for each row, no correction.

    difference: (quantities, samples), symmetric about zero under the null hypothesis; the result
    (quantities,). Any quantity that is linear in the samples, such as an area under a curve, is
    such a mean.
    """
    # Sums of the same numbers in another order differ by some ulps of the largest sum.
    lower = np.abs(difference.sum(1)) - 1e-12 * np.abs(difference).sum(1)
    tests, n = difference.shape
    reached = np.ones(tests)
    for signs in _signs(n, tests, resamples):
        reached += (np.abs(signs @ difference.T) >= lower).sum(0)
    return reached / (resamples + 1)


def _signs(n: int, tests: int, resamples: int) -> Iterator[FloatArray]:
    """Yield the signs of n samples, (some, n), as many in all as there are resamples."""
    rng = np.random.Generator(np.random.Philox(SEED))
    size = max(1, _CHUNK // max(n, tests, 1))
    for start in range(0, resamples, size):
        flipped = rng.integers(0, 2, (min(size, resamples - start), n))
        yield 1.0 - 2.0 * flipped.astype(np.float64)
