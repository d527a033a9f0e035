"""Intervals of single quantities: a share of samples, a mean over training seeds."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy import special

from robustssm.errors import UsageError
from robustssm.typing import FloatArray, Right

CONFIDENCE = 0.95


def wilson(
    successes: npt.ArrayLike, n: npt.ArrayLike, confidence: float = CONFIDENCE
) -> tuple[FloatArray, FloatArray]:
    """Return Wilson's interval (low, high) of shares of n, each in the shape of the arguments.

    It never has zero width and stays in [0, 1]. Raises UsageError if a count is not in 0 to n,
    or n is 0.

    Reference: Wilson, J. Am. Stat. Assoc. 22 (1927), p. 209.
    """
    k, n = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(n, np.float64))
    if not ((k >= 0) & (k <= n) & (n > 0)).all():
        raise UsageError("Wilson interval: expected counts between 0 and n, and n of at least 1")
    z = special.ndtri(0.5 + confidence / 2)
    share = k / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # Exact ends, which the difference of two rounded numbers may miss.
    return np.where(k == 0, 0.0, centre - half), np.where(k == n, 1.0, centre + half)


def mean_interval(
    values: Right, tail: float = 0.5 - CONFIDENCE / 2
) -> tuple[FloatArray, FloatArray]:
    """Return Student's interval of means of independent samples, (..., samples) -> (...).

    tail: probability beyond each end. Of errors, which are not normal, it holds as their mean
    tends to be.
    """
    n, values = values.shape[-1], np.asarray(values, np.float64)
    spread = values.std(-1, ddof=1) if n > 1 else np.full(values.shape[:-1], np.nan)
    half = special.stdtrit(max(n - 1, 1), 1.0 - tail) * spread / np.sqrt(n)
    mean = values.mean(-1)
    return mean - half, mean + half


def constant(values: FloatArray) -> bool:
    """Return whether shares, ratios or logarithms are equal, but for the rounding of sums."""
    return bool(np.ptp(values) <= 1e-12 * max(1.0, np.abs(values).max()))


def student(values: Iterable[float]) -> tuple[float, float]:
    """Return Student's interval of the mean of replicates.

    NaN if there is a single one, or if all are equal: an interval without a width would
    claim that the next replicate cannot differ.
    """
    array: FloatArray = np.asarray(list(values), dtype=np.float64)
    if len(array) < 2 or constant(array):
        return float("nan"), float("nan")
    low, high = mean_interval(array)
    return float(low), float(high)


def in_words(values: Iterable[float]) -> str:
    """Return numbers of single training seeds as the text of one field, parted by spaces."""
    return " ".join(repr(float(value)) for value in values)


def seed_interval(
    values: Iterable[float], limits: tuple[float, float] = (0.0, 1.0)
) -> tuple[float, float]:
    """Return the `student` interval of a mean score over training seeds, inside its limits."""
    low, high = student(values)
    return (low, high) if np.isnan(low) else (max(limits[0], low), min(limits[1], high))
