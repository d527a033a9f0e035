"""Curves of accuracy against strength, condensed to one number; mean corruption errors."""

import numpy as np

from robustssm.errors import UsageError
from robustssm.typing import FloatArray


def log_strength(eps: FloatArray, unit: str) -> FloatArray:
    """Return ln eps, or -dB ln(10) / 20, larger where stronger; UsageError if that is infinite."""
    values = np.asarray(eps, dtype=np.float64)
    ok = np.isfinite(values) if unit == "snr-db" else values > 0
    if not ok.all():
        raise UsageError(f"curve: eps {values[~ok][0]:g} {unit} has no logarithm; leave it out")
    return -values * np.log(10.0) / 20.0 if unit == "snr-db" else np.log(values)


def area(x: FloatArray, accuracy: FloatArray) -> FloatArray:
    """Return the area under accuracy against log strength, over the width of x.

    x: (strengths,), ascending, at least two; accuracy: (..., strengths), the result (...). By the
    trapezoidal rule, from the weakest strength to the strongest: the mean accuracy over that
    range of log eps. It says nothing outside it, so models share one range.
    """
    _check(x)
    return np.trapezoid(accuracy, x, axis=-1) / (x[-1] - x[0])


def area_weights(x: FloatArray) -> FloatArray:
    """Return the weights (strengths,) whose sum with the accuracies is `area`; they sum to 1."""
    return area(x, np.eye(len(x)))


def half_strength(x: FloatArray, accuracy: FloatArray, target: FloatArray) -> FloatArray:
    """Return the log strength at which the accuracy first falls to the target.

    x: (strengths,), ascending, at least two; accuracy: (..., strengths); target and the result:
    (...). Between strengths the curve is linear in log eps. A curve that is not monotone may rise
    above the target again later: the first crossing from the weakest strength on counts. inf
    if the curve never gets there, -inf if it is there at the weakest strength already.
    """
    _check(x)
    there = accuracy <= target[..., None]
    first = np.argmax(there, axis=-1)
    after = np.maximum(first, 1)
    high = np.take_along_axis(accuracy, after[..., None] - 1, -1)[..., 0]
    low = np.take_along_axis(accuracy, after[..., None], -1)[..., 0]
    drop = high - low
    never, ever = ~there.any(-1), there[..., 0]
    crosses = ~never & ~ever
    share = np.divide(high - target, drop, out=np.zeros_like(drop), where=crosses)
    inside = x[after - 1] + share * (x[after] - x[after - 1])
    return np.where(never, np.inf, np.where(ever, -np.inf, inside))


def corruption_error(error: FloatArray, reference: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return (mean corruption error, share of the corruptions that it averages).

    error, reference: (..., corruptions, severities), of the model and of the reference; both
    results (...). For each corruption the sum over severities divided by the reference's sum,
    then the mean over corruptions; as a ratio, 1 for the reference, not in percent. Corruptions
    on which the reference's sum is not positive have no ratio and are left out; NaN if none
    has one.

    Reference: Hendrycks and Dietterich, arXiv 1903.12261, section 4; the relative form has
    the clean error subtracted from every error of both models.
    """
    above, below = error.sum(-1), reference.sum(-1)
    # Sums of rounded shares: what is zero may be off by some ulps.
    has = np.broadcast_to(below > 1e-12, above.shape)
    ratio = np.divide(above, below, out=np.zeros(above.shape), where=has)
    count = has.sum(-1)
    mean = np.divide(ratio.sum(-1), count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean, count / above.shape[-1]


def _check(x: FloatArray) -> None:
    if len(x) < 2:
        raise UsageError(f"curve: {len(x)} strengths, expected at least two")
    if not (np.diff(x) > 0).all():
        raise UsageError(
            f"curve: log strengths {', '.join(f'{v:.4g}' for v in x[:4])}... do not rise; "
            "give each once, the weakest first"
        )
