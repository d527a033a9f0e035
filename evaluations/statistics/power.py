"""The smallest difference that a sweep can find, known before it is computed."""

import math

import numpy as np

from robustssm.errors import UsageError

# Level of all tests together, and the probability with which a difference is found.
ALPHA, POWER = 0.05, 0.8
# Probability of discordant counts that is left out, far below what 0.8 is known to.
_TAIL = 1e-9


def mcnemar_power(n: int, discordance: float, difference: float, level: float) -> float:
    """Return the power of McNemar's exact test on n samples at a level.

    discordance: expected share of samples that one model alone gets right; difference: of the
    accuracies, at most the discordance. Exact: the discordant count is binomial, and given it the
    count of one model is.
    """
    from scipy import stats  # half a second that sweeps with nothing left to compute do without

    low, high = (int(k) for k in stats.binom.ppf([_TAIL, 1 - _TAIL], n, discordance))
    k = np.arange(max(low, 0), high + 1, dtype=np.int64)
    # The largest smaller count that rejects, -1 if none: ppf is the smallest count whose tail
    # reaches level / 2, the one before is below it.
    edge = stats.binom.ppf(level / 2, k, 0.5)
    edge = np.where(2 * stats.binom.cdf(edge, k, 0.5) <= level, edge, edge - 1)
    edge = np.where(k > 0, edge, -1.0)
    share = 0.5 + difference / (2 * discordance) if discordance > 0 else 0.5
    reject = stats.binom.cdf(edge, k, share) + stats.binom.sf(k - edge - 1, k, share)
    return float(stats.binom.pmf(k, n, discordance) @ np.where(edge >= 0, reject, 0.0))


def smallest_difference(n: int, tests: int = 1, discordance: float = 0.1) -> float:
    """Return the smallest difference of accuracies that McNemar's exact test finds.

    n: samples, the same for both models; tests: how many are corrected for, by Bonferroni's level
    ALPHA / tests (Holm's is that for the smallest p, and never finds less); discordance: share of
    the samples on which one model alone is right, if the difference itself does not need more.
    Found: with probability POWER in that one test. inf if no difference is, too few samples
    for so many tests. Raises UsageError for arguments outside their ranges.
    """
    from scipy import optimize

    if n < 1 or tests < 1 or not 0 <= discordance <= 1:
        raise UsageError(
            f"smallest difference: n {n}, {tests} tests, discordance {discordance:g}; expected "
            "counts from 1 and a share between 0 and 1"
        )

    def lacking(difference: float) -> float:
        share = max(discordance, difference)
        return mcnemar_power(n, share, difference, ALPHA / tests) - POWER

    if lacking(1.0) < 0:
        return math.inf
    # Down to a thousandth of a sample.
    return float(optimize.brentq(lacking, 0.0, 1.0, xtol=1e-3 / n))
