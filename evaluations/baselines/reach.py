"""What a baseline can find: the smallest falls that count, and how many seeds would find more."""

from dataclasses import dataclass, replace

import numpy as np

from robustssm.evaluations.baselines.baseline import Baseline
from robustssm.evaluations.baselines.check import ALPHA, UNJUDGED
from robustssm.evaluations.baselines.verdicts import MARGIN, OF_CONDITIONS, OF_MEAN, apart
from robustssm.evaluations.statistics.power import smallest_difference
from robustssm.evaluations.statistics.seed_bands import seeds_that_know, unseen
from robustssm.targets import CLASSES, KINDS, Kind
from robustssm.typing import FloatArray

# Beyond this many seeds the answer is that no number of them will do.
MOST_SEEDS = 20


@dataclass(frozen=True)
class Reach:
    """What a check against k training seeds of a model can find at its conditions.

    falls (conditions,): the smallest fall of accuracy that counts, at the default alpha and margin,
    or rise of the error, as a share of it; infinite where the bound is at chance, so that no result
    above chance could fail. enough: seeds of the same spread with which all but `UNJUDGED` of the
    conditions could fail, 0 if no number up to MOST_SEEDS does.
    """

    model: str
    seeds: int
    falls: FloatArray
    enough: int
    kind: Kind = CLASSES

    @property
    def open(self) -> int:
        """Conditions at which no result above chance could fail."""
        return int(np.isinf(self.falls).sum())

    def __str__(self) -> str:
        count, plural = len(self.falls), "s" if self.seeds > 1 else ""
        text = f"{self.model} ({self.seeds} training seed{plural}, {count} conditions): "
        found = self.falls[np.isfinite(self.falls)]
        if len(found):
            what = "falls" if self.kind is CLASSES else "rises, as shares of the error,"
            text += f"{what} count from {found.min():.3f} to {found.max():.3f}"
            text += f", median {np.median(found):.3f}"
        if self.open:
            text += (
                f"{', and ' if len(found) else ''}no result above {self.kind.guess} could fail at "
                f"{self.open}"
            )
        if self.seeds == 1:
            return f"{text}; by the samples alone, of one seed: a retrained model may fall further"
        if self.open > UNJUDGED * count:
            some = f"{self.enough} seeds of this spread would do" if self.enough else "no number"
            text += f"; more than a share of {UNJUDGED:g}, so that checks will not pass ({some})"
        if unseen(self.seeds) > ALPHA:
            text += f"; a training of another kind stays unseen to {self.seeds} seeds with up to "
            text += f"{unseen(self.seeds):.3f}, so a model below them all at nearly all conditions "
            text += f"is not judged; {seeds_that_know(ALPHA)} seeds would do"
        return text


def reach(baseline: Baseline, model: str) -> Reach:
    """Return what a check against all training seeds of a model can find."""
    members = baseline.against(model)
    data, count = baseline.data, len(members[0].ids)
    kind = KINDS[data.target]
    if len(members) == 1:
        # Holm's first step, clean accuracy among the tests; one side of the level, two sides there.
        tests = round((1 + count) / (2 * (1 - OF_MEAN if count > 1 else 1.0)))
        least = smallest_difference(data.samples, tests) if kind is CLASSES else 0.0
        return Reach(model, 1, np.full(count, max(MARGIN, least)), 0, kind)
    shares = np.stack([member.correct.mean(1) for member in members])
    seeds, expected = data.seeds(shares), shares.mean(0)

    def falls(count: int) -> FloatArray:
        band = replace(seeds, count=count).band(OF_CONDITIONS * ALPHA)
        unit = apart(expected, 1.0)
        low = np.minimum(band.low, expected - MARGIN * unit)
        return np.where(data.vacuous(low, expected), np.inf, (expected - low) / unit)

    more = range(len(members), MOST_SEEDS + 1)
    enough = next((k for k in more if np.isinf(falls(k)).mean() <= UNJUDGED), 0)
    return Reach(model, len(members), falls(len(members)), enough, kind)
