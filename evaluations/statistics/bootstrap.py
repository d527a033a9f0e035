"""Paired bootstrap over samples: one resample serves all models and conditions at once."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from robustssm.evaluations.statistics.intervals import CONFIDENCE
from robustssm.typing import FloatArray, Right

SEED = 20260101
RESAMPLES = 2000
# Numbers held at a time by a batch of resamples.
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Bootstrapped:
    """Quantities on all samples, and their intervals, each of shape (quantities,).

    low, high: percentiles; bca_low, bca_high: bias-corrected and accelerated, NaN if these
    cannot be had (a quantity that is infinite or undefined in a resample, or the same in all).
    undefined: share of the resamples in which the quantity is NaN; they are left out of low, high.
    constant: whether all resamples are equal, so that they hold no interval.
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray
    bca_low: FloatArray
    bca_high: FloatArray
    undefined: FloatArray
    constant: npt.NDArray[np.bool_]


def paired_bootstrap(
    correct: Right,
    quantities: Callable[[FloatArray], FloatArray],
    resamples: int = RESAMPLES,
) -> Bootstrapped:
    """Return quantities that are functions of accuracies, with intervals over the samples.

    correct: (rows, samples), right or not, or a share; all rows on the same samples; quantities:
    maps accuracies (..., rows) to (..., quantities), may return infinities, and NaN for what is
    undefined. Samples are drawn as a whole, so that the dependence between conditions and models is
    kept. Percentiles are resampled values, never interpolated, which infinities allow. Memory is
    bounded by a batch. Intervals speak of new samples, never of a model trained anew.

    Reference: Efron and Tibshirani, An Introduction to the Bootstrap (1993), sections 13.3, 14.3.
    """
    rows, n = correct.shape
    block, total = max(1, _CHUNK // n), correct.sum(1)

    def statistic(drawn: Any, axis: int = -1) -> FloatArray:
        batch = drawn.reshape(-1, drawn.shape[-1])
        if batch.shape[1] == n - 1:
            # The jackknife: all samples but the one that their numbers lack.
            lacking = n * (n - 1) // 2 - batch.sum(1)
            accuracy = (total - correct.T[lacking]) / (n - 1)
        else:
            places = batch + n * np.arange(len(batch))[:, None]
            times = np.bincount(places.ravel(), minlength=n * len(batch)).reshape(len(batch), n)
            counts = times.astype(np.float64)
            # A block of rows is held in float64.
            parts = [
                counts @ correct[start : start + block].T.astype(np.float64)
                for start in range(0, rows, block)
            ]
            accuracy = np.concatenate(parts, axis=-1) / counts.sum(-1, keepdims=True)
        values = quantities(accuracy)
        return np.moveaxis(values, -1, 0).reshape(-1, *drawn.shape[:-1])

    value = quantities(correct.mean(1))
    # What warns is a quantity that is infinite or constant: its BCa interval is replaced.
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = stats.bootstrap(
            (np.arange(n),),
            statistic,
            n_resamples=resamples,
            batch=max(1, _CHUNK // max(n, rows)),
            vectorized=True,
            confidence_level=CONFIDENCE,
            method="BCa",
            random_state=np.random.Generator(np.random.Philox(SEED)),
        )
        drawn, bca = result.bootstrap_distribution, result.confidence_interval
        ends = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
        low, high = np.nanquantile(drawn, ends, axis=-1, method="inverted_cdf")
    usable = np.isfinite(drawn).all(-1) & np.isfinite(bca.low) & np.isfinite(bca.high)
    constant = (drawn == drawn[:, :1]).all(-1)
    usable &= ~constant
    return Bootstrapped(
        value,
        low,
        high,
        np.where(usable, bca.low, np.nan),
        np.where(usable, bca.high, np.nan),
        np.isnan(drawn).mean(-1),
        constant,
    )
