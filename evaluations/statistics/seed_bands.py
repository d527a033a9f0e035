"""How far accuracies may fall before they count as fallen: paired samples, or one more seed.

Against one training seed the samples are what varies: the same samples, paired. Against k seeds
the training varies, too, and a retrained model is one more draw of it: its accuracies are held
against a prediction bound. Student's bound with k - 1 degrees of freedom, corrected for many
conditions, says nothing at two or three seeds (two seeds, 259 conditions: t = 1649), so each
condition's variance is shrunk towards the mean over the conditions (moderated t), on the arcsine
scale, where a share of n has variance 1 / (4 n) whatever it is. That pooled seeds are so good a
guess is an assumption, and measured: twelve kinds of trained model, each of three seeds against
the other two, six sets of 4 to 258 conditions gave 7 false alarms in 216 checks at alpha 0.05.
Where seeds differ much or conditions are many the bound falls to chance, and says nothing.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from robustssm.errors import UsageError
from robustssm.evaluations.statistics.paired import holm
from robustssm.typing import FloatArray

# Degrees of freedom that the variance pooled over conditions counts as. Conditions of one model
# rise and fall together from seed to seed, so that their mean is far from one of independent
# variances: over the Fourier curves of twelve trained models its quantiles were those of 2 to 3
# degrees for each two seeds.
POOLED = 2


@dataclass(frozen=True)
class SeedBand:
    """Where one more training seed lies: `expected` and `low` to `high`, shares, (conditions,).

    scale: of the prediction on the arcsine scale, (conditions,); freedom: degrees of Student's t.
    """

    expected: FloatArray
    low: FloatArray
    high: FloatArray
    scale: FloatArray
    freedom: float

    def p(self, share: FloatArray) -> FloatArray:
        """Return the one-sided p of a seed this far down, uncorrected, (conditions,)."""
        fall = np.arcsin(np.sqrt(self.expected)) - np.arcsin(np.sqrt(share))
        return stats.t.sf(fall / self.scale, self.freedom)


def fall_p(before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_]) -> FloatArray:
    """Return McNemar's exact one-sided p that `after` is right less often, (conditions,).

    before, after: (conditions, samples), which of the same samples are right. 1 if none is lost.
    """
    lost, gained = (before & ~after).sum(-1), (after & ~before).sum(-1)
    p: FloatArray = stats.binom.sf(lost - 1, lost + gained, 0.5)
    return p


def adjusted(p: FloatArray, families: int = 1) -> FloatArray:
    """Return Holm's adjusted p of one family of several that share the level equally."""
    return np.minimum(1.0, families * holm(p))


def seed_band(shares: FloatArray, n: int, level: float) -> SeedBand:
    """Return the band of one more seed at each condition, from k seeds, shares (k, conditions).

    n: samples of a share; level: probability, one-sided and over all conditions together
    (Bonferroni), that another seed of the same training leaves the band downwards; the same
    upwards. Assumes seeds that are exchangeable and, on the arcsine scale, normal. A variance is
    taken for 1 / (4 n), that of the sampling, if it is smaller: few seeds agree by chance, as
    shares are whole counts. Raises UsageError for fewer than two seeds.

    References: Smyth, Stat. Appl. Genet. Mol. Biol. 3 (2004), article 3, section 3, for the
    moderated variance, with POOLED for its estimated prior degrees; Hahn, J. Qual. Technol. 1
    (1969), p. 168, for the bound of one future value; Anscombe, Biometrika 35 (1948), for the
    scale.
    """
    k, conditions = shares.shape
    centre, variance = _moments(shares, n)
    freedom = k - 1 + POOLED
    pooled = ((k - 1) * variance + POOLED * variance.mean()) / freedom
    return _band(centre, np.sqrt(pooled * (1 + 1 / k)), freedom, level / conditions)


def mean_band(means: FloatArray, n: int, level: float) -> SeedBand:
    """Return the band of one more seed's mean accuracy over conditions, from k of them, (k,).

    One quantity, so nothing is pooled: Student's prediction bound with k - 1 degrees of freedom,
    on the arcsine scale and with its smallest variance as in `seed_band`.
    """
    k = len(means)
    centre, variance = _moments(means[:, None], n)
    return _band(centre, np.sqrt(variance * (1 + 1 / k)), k - 1, level)


def _moments(shares: FloatArray, n: int) -> tuple[FloatArray, FloatArray]:
    """Return mean and variance of arcsines over seeds, (conditions,); UsageError for one seed."""
    if len(shares) < 2:
        raise UsageError(f"band over seeds: {len(shares)} training seed, expected at least 2")
    angles = np.arcsin(np.sqrt(shares))
    return angles.mean(0), np.maximum(angles.var(0, ddof=1), 1 / (4 * n))


def _band(centre: FloatArray, scale: FloatArray, freedom: float, level: float) -> SeedBand:
    half = stats.t.isf(level, freedom) * scale
    low = np.sin(np.maximum(centre - half, 0.0)) ** 2
    high = np.sin(np.minimum(centre + half, np.pi / 2)) ** 2
    return SeedBand(np.sin(centre) ** 2, low, high, scale, freedom)
