"""How far scores may fall before they count as fallen: paired samples, or one more seed.

Against one training seed the samples are what varies: the same samples, paired. Against k seeds
the training varies, too, and a retrained model is one more draw of it: its accuracies are held
against a prediction bound on the arcsine scale, where a share of n has variance 1 / (4 n) whatever
it is. Student's bound with k - 1 degrees of freedom, corrected for many conditions, says nothing at
two or three seeds (two seeds, 259 conditions: t = 1649). So the other conditions tell what
variances there are: one of them is a draw from an unknown distribution, which is estimated from all
without a form (maximum likelihood, Kiefer and Wolfowitz; by Laird's EM), one condition of unknown
scale added. A condition's own variance picks from it, and the bound is that of the mixture of
normals that is left: close to Student's for one condition, the conditions' own for many. Mean
squared errors have the same rule on the scale of their logarithms (`ERRORS`).

Assumed are seeds that are exchangeable and nearly normal on that scale, and PRIOR and the shares of
the level in `baselines.verdicts` are calibrated by simulation (benchmarks/check_errors.py), against
seeds of two kinds as well. There no rule can be right that ever rejects: k seeds of one kind and
one more of a kind that comes with probability q happen with q (1 - q)^k, which is up to .148, .105
and .067 for k = 2, 3 and 5 (`unseen`). Nor does the mixture see that conditions rise and fall
together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
from scipy import special

from robustssm.errors import UsageError
from robustssm.evaluations.statistics.max_statistic import sign_flip
from robustssm.evaluations.statistics.paired import holm
from robustssm.typing import Array, FloatArray

# Conditions of unknown scale that are added to those measured.
PRIOR = 1.0
# Variances of the mixture, from that of the sampling to the largest there is, some 12 % apart.
GRID = 64
# Steps of EM: what it still moves then is far below what seeds tell.
STEPS = 60
# Bisections of a bound: pi 2^-50.
HALVINGS = 50


@dataclass(frozen=True)
class SeedBand:
    """Where one more training seed lies: `expected` and `low` to `high`, shares, (conditions,).

    tail: probability that a seed lies this far below, on the arcsine scale, (conditions,).
    """

    expected: FloatArray
    low: FloatArray
    high: FloatArray
    tail: Callable[[FloatArray], FloatArray]
    scale: "Scale"

    def p(self, share: FloatArray) -> FloatArray:
        """Return the one-sided p of a seed this far down, uncorrected, (conditions,)."""
        return self.tail(self.scale.forth(self.expected) - self.scale.forth(share))


class Scale(NamedTuple):
    """On which seeds are nearly normal: forth to it and back; the most that they may vary."""

    forth: Callable[[FloatArray], FloatArray]
    back: Callable[[FloatArray], FloatArray]
    most: float


# Angles within [0, pi / 2] have no larger variance than half of each end.
SHARES = Scale(
    lambda share: np.arcsin(np.sqrt(share)),
    lambda angle: np.sin(np.clip(angle, 0.0, np.pi / 2)) ** 2,
    (np.pi / 4) ** 2,
)
# Of minus mean squared errors; seeds that differ by more than a factor of ten are of no one kind.
ERRORS = Scale(
    lambda minus: -np.log(np.maximum(-minus, 1e-300)), lambda log: -np.exp(-log), np.log(10.0) ** 2
)


@dataclass(frozen=True)
class Seeds:
    """What k training seeds say of each condition: mean and variance on a scale, (conditions,).

    n: samples of a share, or of a mean error, whose logarithm varies by more than 1 / (4 n), too.
    """

    count: int
    centre: FloatArray
    variance: FloatArray
    n: int
    scale: Scale = SHARES

    @classmethod
    def of(cls, shares: FloatArray, n: int, scale: Scale = SHARES) -> "Seeds":
        """Return the moments of shares (k, conditions); UsageError for fewer than two seeds."""
        if len(shares) < 2:
            raise UsageError(f"band over seeds: {len(shares)} training seed, expected at least 2")
        angles = scale.forth(shares)
        return cls(len(shares), angles.mean(0), angles.var(0, ddof=1), n, scale)

    def band(self, level: float) -> SeedBand:
        """Return the band of one more seed at each condition.

        level: probability, one-sided and over all conditions together (Bonferroni), that another
        seed of the same training leaves the band downwards; the same upwards.

        References: Ignatiadis and Sen, Ann. Stat. 53 (2025), arXiv 2303.02887, for tests whose
        variances have an estimated distribution; Laird, J. Am. Stat. Assoc. 73 (1978), for EM;
        Hahn, J. Qual. Technol. 1 (1969), p. 168, for the bound of one future value; Anscombe,
        Biometrika 35 (1948), for the scale.
        """
        variances = np.geomspace(1 / (4 * self.n), self.scale.most, GRID)
        half = (self.count - 1) / 2
        log = -half * (np.log(variances) + self.variance[:, None] / variances)
        likelihood = np.exp(log - log.max(axis=1, keepdims=True))
        weights = np.full(GRID, 1 / GRID)

        def posterior() -> FloatArray:
            joint = likelihood * weights
            return np.asarray(joint / joint.sum(axis=1, keepdims=True))

        for _ in range(STEPS):
            weights = (posterior().sum(0) + PRIOR / GRID) / (len(self.centre) + PRIOR)
        mixture, scale = posterior(), np.sqrt(variances * (1 + 1 / self.count))

        def tail(fall: FloatArray) -> FloatArray:
            return np.asarray(np.sum(mixture * special.ndtr(-fall[:, None] / scale), axis=1))

        far = np.full(len(self.centre), 4.0 * np.sqrt(self.scale.most))
        near = np.zeros(len(self.centre))
        for _ in range(HALVINGS):
            middle = (near + far) / 2
            inside = tail(middle) > level / len(self.centre)
            near, far = np.where(inside, middle, near), np.where(inside, far, middle)
        return self._band(far, tail)

    def students_band(self, level: float) -> SeedBand:
        """Return Student's band with k - 1 degrees of freedom, of a quantity of its own.

        A variance is taken for that of the sampling if it is smaller: few seeds agree by chance,
        as shares are whole counts.
        """
        variance = np.maximum(self.variance, 1 / (4 * self.n))
        scale, freedom = np.sqrt(variance * (1 + 1 / self.count)), self.count - 1

        def tail(fall: FloatArray) -> FloatArray:
            return np.asarray(special.stdtr(freedom, -fall / scale))

        return self._band(-special.stdtrit(freedom, level) * scale, tail)

    def _band(self, half: FloatArray, tail: Callable[[FloatArray], FloatArray]) -> SeedBand:
        back, centre = self.scale.back, self.centre
        return SeedBand(back(centre), back(centre - half), back(centre + half), tail, self.scale)


def unseen(seeds: int) -> float:
    """Return the largest probability that k seeds are of one kind and the next is of the other.

    With q the share of the other kind it is q (1 - q)^k, largest at q = 1 / (k + 1). Such a seed
    differs from all that the baseline knows: no rule that ever rejects can tell it from a fall.
    """
    return (seeds / (seeds + 1)) ** seeds / (seeds + 1)


def seeds_that_know(alpha: float) -> int:
    """Return the fewest seeds to which another kind stays unseen with probability alpha at most."""
    return next(seeds for seeds in count(1) if unseen(seeds) <= alpha)


def fall_p(before: Array, after: Array) -> FloatArray:
    """Return McNemar's exact one-sided p that `after` is right less often, (conditions,).

    before, after: (conditions, samples), which of the same samples are right. 1 if none is lost.
    Of numbers, the larger the better, half of the p of sign flips, or what is left of 1.
    """
    if before.dtype != np.bool_:
        fall = before - after
        half = sign_flip(fall) / 2
        return np.where(fall.sum(-1) > 0.0, half, 1.0 - half)
    lost, gained = (before & ~after).sum(-1), (after & ~before).sum(-1)
    return special.bdtrc(lost - 1, lost + gained, 0.5)


def adjusted(p: FloatArray, share: float = 1.0) -> FloatArray:
    """Return Holm's adjusted p of one family that has this share of the level."""
    return np.minimum(1.0, holm(p) / share)
