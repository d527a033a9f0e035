"""Accuracies of several training seeds crossed with several seeds of the noise."""

from collections.abc import Iterable

import numpy as np
from scipy import special

from robustssm.evaluations.statistics.intervals import CONFIDENCE, constant, student
from robustssm.typing import FloatArray


def from_words(texts: Iterable[str]) -> FloatArray:
    """Return the table (training seeds, noise seeds) of texts as `in_words` writes them.

    One text per training seed, all of as many draws; a draw without results is NaN.
    """
    return np.asarray([[float(value) for value in text.split()] for text in texts])


def crossed_interval(values: FloatArray) -> tuple[float, float]:
    """Return an interval of the mean over both kinds of seeds, of a table (training, noise).

    All training seeds had the same draws of the noise, so neither kind is a replicate of the other.
    The variance of the mean is estimated by those of the means of rows and of columns, each over
    its number. That counts what belongs to a single entry twice, so it is too large rather than too
    small. Each part is multiplied by the square of its own quantile of Student, which covers
    whatever the ratio of the two (normal values assumed), where one number of degrees of freedom
    for both, by Satterthwaite, was seen to cover down to .93 of a nominal .95. One column:
    Student's interval over rows. NaN if there is a single row, all entries are equal, or one is
    missing (NaN).

    Reference: Banerjee, Sankhya 22 (1960), p. 357.
    """
    rows, columns = values.shape
    if columns < 2 or rows < 2:
        return student(values.mean(1))
    if np.isnan(values).any() or constant(values):
        return float("nan"), float("nan")
    parts = np.array([values.mean(1).var(ddof=1) / rows, values.mean(0).var(ddof=1) / columns])
    quantiles = special.stdtrit(np.array([rows, columns]) - 1, 0.5 + CONFIDENCE / 2)
    half = np.sqrt((parts * quantiles**2).sum())
    return float(values.mean() - half), float(values.mean() + half)


def interval_over_seeds(
    values: FloatArray, draws: Iterable[str] | None
) -> tuple[float, float, str]:
    """Return (low, high) of a mean over training seeds, NaN if there is none, and what it is over.

    draws: the values of each draw of the noise, a text per training seed, if it had several.
    """
    if draws is None:
        return *student(values), "seeds (Student)"
    return *crossed_interval(from_words(draws)), "seeds of training and noise (Student)"


def spread(values: FloatArray, axis: int) -> tuple[float, float, float]:
    """Return the standard deviation along an axis of a table, the other fixed, and its bounds.

    The variances along the axis are averaged over the other one. Bounds by chi-square with as many
    degrees of freedom as a single line has: lines share their seeds, so more are not known to be
    there; normal values are assumed. NaN if there is a single value along the axis.
    """
    free = values.shape[axis] - 1
    if free < 1:
        return float("nan"), float("nan"), float("nan")
    squares = values.var(axis=axis, ddof=1).mean()
    tails = special.chdtri(free, (0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2))
    low, high = np.sqrt(squares * free / tails)
    return float(np.sqrt(squares)), float(low), float(high)
