"""Mean corruption error: errors relative to those of a reference model, a mode a corruption."""

import numpy as np

from robustssm.typing import FloatArray


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
