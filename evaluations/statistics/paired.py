"""Tests of two models on the same samples, and corrections for many tests."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from robustssm.errors import UsageError
from robustssm.evaluations.statistics.intervals import CONFIDENCE
from robustssm.typing import FloatArray, Right


def mcnemar(only_first: npt.ArrayLike, only_second: npt.ArrayLike) -> FloatArray:
    """Return McNemar's exact two-sided p from the counts of discordant pairs; 1 if none.

    Shape of the arguments. Twice the smaller tail of the binomial of share 1/2, which is what the
    exact binomial test is, as that distribution is symmetric; computed once for each pair of
    counts that occurs. Raises UsageError for negative counts.

    Reference: McNemar, Psychometrika 12 (1947); exact binomial form.
    """
    first = np.asarray(only_first, dtype=np.int64)
    second = np.asarray(only_second, dtype=np.int64)
    low, total = np.minimum(first, second), first + second
    if (low < 0).any():
        raise UsageError("McNemar: expected counts of samples, got a negative one")
    pairs, place = np.unique(np.stack([low, total], axis=-1).reshape(-1, 2), axis=0,
                             return_inverse=True)  # fmt: skip
    p = np.minimum(1.0, 2.0 * special.bdtr(pairs[:, 0], pairs[:, 1], 0.5))
    return p[place.ravel()].reshape(low.shape)


def discordant(first: Right, second: Right) -> tuple[Any, Any]:
    """Return how many samples one alone is right on, for each: (..., samples) -> (...).

    Of shares of a noise's draws: the sums of their positive and negative differences, which differ
    by the same and are at most the counts of a draw on average.
    """
    whole = np.maximum(first, second).sum(-1)
    return whole - second.sum(-1), whole - first.sum(-1)


def paired_interval(
    only_first: float, only_second: float, n: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the interval of a difference of two shares of the same n samples.

    Wald's, with half a sample added to each cell of the two-by-two table: it keeps a width where
    discordant samples are few or on one side, as a bootstrap does not. Inside [-1, 1].

    Reference: Agresti and Min, Stat. Med. 24 (2005), p. 729 (adjusted Wald).
    """
    larger = n + 2.0
    difference = (only_first - only_second) / larger
    share = (only_first + only_second + 1.0) / larger
    spread = np.sqrt((share - difference**2) / larger)
    half = special.ndtri(0.5 + confidence / 2) * spread
    return float(max(-1.0, difference - half)), float(min(1.0, difference + half))


def paired_mean_interval(difference: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the interval of means of paired differences in [-1, 1], (..., samples) -> (...).

    Wald's, in the manner of Agresti and Min: two samples more, of sum 0 and squares of sum 1/4. It
    keeps a width if few samples differ; there a bootstrap misses too often. Simulated misses at
    a nominal 5%: 1.5 to 8.4% at n = 60, about 5% at n = 539. The 1/4 was chosen so, not derived.
    """
    larger = difference.shape[-1] + 2.0
    mean = difference.sum(-1) / larger
    square = ((difference**2).sum(-1) + 0.25) / larger
    half = special.ndtri(0.5 + CONFIDENCE / 2) * np.sqrt((square - mean**2) / larger)
    return np.maximum(-1.0, mean - half), np.minimum(1.0, mean + half)


def holm(p: FloatArray) -> FloatArray:
    """Return Holm's adjusted p-values, family-wise, shape of p (tests,).

    Raises UsageError for what is no probability, NaN among it.

    Reference: Holm, Scand. J. Stat. 6 (1979), p. 65.
    """
    _check(p)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * (len(p) - np.arange(len(p)))
    adjusted = np.empty_like(scaled)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted


def benjamini_hochberg(p: FloatArray) -> FloatArray:
    """Return Benjamini and Hochberg's adjusted p-values, shape of p (tests,).

    They bound the expected share of false discoveries, if tests are independent or positively
    dependent; to explore with, not to claim. Raises UsageError as `holm`.

    Reference: Benjamini and Hochberg, J. R. Stat. Soc. B 57 (1995), equation (1).
    """
    _check(p)
    return stats.false_discovery_control(p)


def _check(p: FloatArray) -> None:
    wrong = ~((p >= 0.0) & (p <= 1.0))  # NaN is in no range
    if wrong.any():
        raise UsageError(
            f"correction for many tests: {int(wrong.sum())} of {len(p)} p-values are like "
            f"{p[wrong][0]:g}, expected numbers from 0 to 1; leave undefined tests out"
        )
