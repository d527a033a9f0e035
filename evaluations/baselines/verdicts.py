"""Did a model's robustness curve fall below a baseline? The same samples, the same noise.

Against one training seed (of the same file, changed a little, or trained again from the same seed)
the samples are paired: a condition has fallen where McNemar's exact one-sided p is below alpha,
corrected over all conditions, and the fall exceeds the margin. Another training seed usually
differs by more than that, so such a baseline does not forgive a retraining. Against two or more
seeds it has fallen where the accuracy is below the prediction bound of one more seed
(`statistics.seed_bands`), or its p, Holm-adjusted, below the level, and by more than the margin
below their mean. The mean over all perturbed conditions has a bound of its own, and so has the
clean score, whose seeds differ less than those of perturbed ones. Of values the scores are minus
mean squared errors, paired samples are tested by sign flips, the margin is a share of the error.

The statements share alpha, so that a check of one model is wrong with probability alpha at most,
under their assumptions. A condition whose bound is at chance or below can not fall: it is not
judged, and a check that judges too few conditions has not passed. Nor has one of a model below all
k seeds at nearly all conditions, where k seeds may have missed that trainings are of two kinds
(`statistics.seed_bands.unseen`): what has fallen there is undecided.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from robustssm.errors import UsageError
from robustssm.evaluations.baselines.baseline import Baseline, Data, Member
from robustssm.evaluations.baselines.check import (
    ALPHA,
    APART,
    FELL,
    HELD,
    MEAN,
    OPEN,
    ROSE,
    UNDECIDED,
    UNJUDGED,
    Check,
)
from robustssm.evaluations.statistics.seed_bands import SeedBand, adjusted, fall_p, unseen
from robustssm.evaluations.sweep.condition_names import CLEAN, CLEAN_NAMES, CONDITION
from robustssm.targets import KINDS
from robustssm.typing import Array, FloatArray

MARGIN = 0.02
# Shares of alpha: the mean over conditions; against seeds, the conditions one by one, with the
# calibration of their bands (benchmarks/check_errors.py), and the clean accuracy.
OF_MEAN, OF_CONDITIONS, OF_CLEAN = 0.5, 0.25, 0.25


def judge(
    baseline: Baseline,
    measured: Member,
    members: Sequence[Member],
    margin: float = MARGIN,
    alpha: float = ALPHA,
    unjudged: float = UNJUDGED,
) -> Check:
    """Return a model held against the members of a baseline, measured under the same conditions.

    margin: of accuracy, or as a share of the error, below which no fall counts; alpha: probability
    of a false alarm, over all conditions and the mean over them; unjudged: share of rows that may
    have no band. Raises UsageError for values outside their ranges.
    """
    if not (0 <= margin < 1 and 0 < alpha < 1 and 0 <= unjudged <= 1):
        raise UsageError(
            f"check: margin {margin:g}, alpha {alpha:g}, unjudged {unjudged:g}; expected a margin "
            "from 0 to below 1, alpha between 0 and 1, and a share"
        )
    after = np.concatenate([measured.clean[None], measured.correct])
    before = np.stack([np.concatenate([m.clean[None], m.correct]) for m in members])
    whole = len(measured.ids) > 1
    if len(members) == 1:
        table = against_one(before[0], after, whole, margin, alpha)
    else:
        table = against_seeds(before.mean(2), after.mean(1), baseline.data, whole, margin, alpha)
    names = [CLEAN_NAMES, *(baseline.conditions[one].names for one in measured.ids)]
    ids = [CLEAN, *measured.ids]
    if whole:
        names.append({**CLEAN_NAMES, "noise": MEAN, "mode": float(len(measured.ids)),
                      "mode_unit": "conditions"})  # fmt: skip
        ids.append(MEAN)
    table = pd.concat([pd.DataFrame(names).assign(condition=ids), table], axis=1)
    change, least = table["measured"] - table["baseline"], apart(table["baseline"], margin)
    fell, rose = table["fell"] & (change < -least), table["rose"] & (change > least)
    table["verdict"] = np.select(
        [fell & table["apart"], fell, rose, table["vacuous"]], [UNDECIDED, FELL, ROSE, OPEN], HELD
    )
    kind = KINDS[baseline.data.target]
    scores = ["baseline", "measured", "low"]
    table[[*scores, "change"]] = kind.sign * table[scores].assign(change=change)
    against = members[0].model if len(members) > 1 else members[0].name
    same = measured.checkpoint in {member.checkpoint for member in members}
    columns = [*CONDITION, "baseline", "measured", "change", "low", "p", "verdict", "condition"]
    return Check(
        measured.model, measured.train_seed, against, len(members), same, baseline.data.samples,
        table[columns], alpha, unjudged, kind,
    )  # fmt: skip


def against_one(
    before: Array, after: Array, whole: bool, margin: float, alpha: float
) -> pd.DataFrame:
    """Return baseline, measured, low, p, fell, apart, rose and vacuous, paired sample by sample.

    before, after: (1 + conditions, samples), outcomes, clean first; whole: add a row for the mean
    over the conditions.
    """
    expected, share = before.mean(1), after.mean(1)
    of_single = 1 - OF_MEAN if whole else 1.0
    down, up = (adjusted(p, of_single) for p in (fall_p(before, after), fall_p(after, before)))
    if whole:
        expected, share = _with_mean(expected), _with_mean(share)
        side = fall_p(*(one[1:].mean(0, keepdims=True) for one in (before, after)))
        down, up = (
            np.append(single, np.minimum(1.0, p / OF_MEAN))
            for single, p in zip((down, up), (side, 1.0 - side), strict=True)
        )
    low = expected - apart(expected, margin)
    return pd.DataFrame(
        {"baseline": expected, "measured": share, "low": low, "p": down,
         "fell": down < alpha, "apart": False, "rose": up < alpha, "vacuous": False}
    )  # fmt: skip


def against_seeds(
    before: FloatArray, after: FloatArray, data: Data, whole: bool, margin: float, alpha: float
) -> pd.DataFrame:
    """Return baseline, measured, low, p, fell, apart, rose, vacuous, against bands of a seed.

    before (seeds, 1 + conditions), after (1 + conditions,): scores, clean first; whole: add a
    row for the mean over the conditions.
    """
    expected = before.mean(0)
    below = (
        whole
        and unseen(len(before)) > alpha
        and bool(np.mean(after[1:] < before[:, 1:].min(0)) >= APART)
    )
    if whole:
        expected, after = _with_mean(expected), _with_mean(after)
    clean, rest, *mean = bands(before, data, whole, alpha)
    parts = [clean, rest, *mean]
    low = np.concatenate([band.low for band in parts])
    low = np.minimum(low, expected - apart(expected, margin))
    high = np.concatenate([band.high for band in parts])
    ends = 1, len(expected) - len(mean)
    shares = np.split(after, ends)
    down = [
        adjusted(band.p(part), of)
        for band, part, of in zip(parts, shares, (OF_CLEAN, OF_CONDITIONS, OF_MEAN), strict=False)
    ]
    p = np.concatenate(down)
    vacuous = data.vacuous(low, expected) & (after < high)
    return pd.DataFrame(
        {"baseline": expected, "measured": after, "low": low, "p": p, "fell": p < alpha,
         "apart": below, "rose": after > high, "vacuous": vacuous}
    )  # fmt: skip


def bands(before: FloatArray, data: Data, whole: bool, alpha: float) -> list[SeedBand]:
    """Return the bands of the clean accuracy, of the conditions, and of their mean if `whole`."""
    result = [
        data.seeds(before[:, :1]).students_band(OF_CLEAN * alpha),
        data.seeds(before[:, 1:]).band(OF_CONDITIONS * alpha),
    ]
    if whole:
        mean = before[:, 1:].mean(1, keepdims=True)
        result.append(data.seeds(mean).students_band(OF_MEAN * alpha))
    return result


def apart(scores: FloatArray, margin: float) -> FloatArray:
    """Return what scores may differ by: of minus errors, which are below 0, a share of them."""
    return margin * np.where(scores < 0.0, -scores, 1.0)


def _with_mean(shares: FloatArray) -> FloatArray:
    """Return shares, clean first, and then the mean over the conditions."""
    return np.append(shares, shares[1:].mean())
