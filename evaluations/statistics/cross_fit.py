"""The worst mode without selection bias: chosen on one half of the samples, read on the other."""

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from robustssm.errors import UsageError
from robustssm.evaluations.statistics.intervals import CONFIDENCE, mean_interval
from robustssm.evaluations.statistics.paired import discordant, paired_interval
from robustssm.typing import IntArray, Right


@dataclass(frozen=True)
class Worst:
    """The worst of several conditions, by their place in the list.

    naive: smallest accuracy on all samples, at naive_at; biased downwards. accuracy: cross-fitted;
    at: what each half chose. low, high: interval of the accuracy at the true worst condition.
    """

    naive: float
    naive_at: int
    accuracy: float
    low: float
    high: float
    at: tuple[int, int]


def halves(sample_id: IntArray) -> npt.NDArray[np.bool_]:
    """Return which samples are in the first half: those with the smaller hashes of their ids.

    Shape (samples,). The hash (SHA-256 of the number) is the same for every model, and the halves
    are equal to a sample.
    """
    digest = [hashlib.sha256(b"half %d" % int(k)).digest() for k in sample_id]
    order = np.argsort(np.frombuffer(b"".join(digest), dtype="S32"), kind="stable")
    first = np.zeros(len(sample_id), dtype=np.bool_)
    first[order[: len(order) // 2]] = True
    return first


def worst_condition(
    correct: Right,
    first: npt.NDArray[np.bool_],
    shares: bool = True,
) -> Worst:
    """Return the accuracy at the worst condition, chosen and read on different samples.

    correct: (conditions, samples), or shares of draws; first: (samples,), the first half. Each half
    chooses its worst condition (the first of equal ones), which is read on the other; the mean of
    both is the estimate. What it estimates is the accuracy at the conditions chosen, never below
    the true worst.

    The interval is of the true worst, by exact bounds (Clopper and Pearson) of its conditions. It
    lies above the lower bound of the true worst condition, hence above the smallest lower bound,
    which needs no correction; it lies below every upper bound, if these hold at all conditions
    together (Bonferroni). Both ends belong to the smallest count, as bounds rise with the count.
    Counts of shares are rounded outwards; a mean of draws varies less than the one draw that a
    bound is made for. So it covers whatever the dependence of the conditions, where an interval of
    the accuracy at the conditions chosen does not: one worst condition among 63 that are 2 standard
    errors above it is missed by most halves. It is widened to hold the estimate. Of outcomes that
    are no shares (minus errors) the bounds are Student's, and the ends the smallest of each.

    Reference: Clopper and Pearson, Biometrika 26 (1934), p. 404.

    Raises UsageError if there are fewer than two samples or no conditions.
    """
    if not len(correct) or len(first) < 2:
        raise UsageError(
            f"worst mode: {len(correct)} conditions on {len(first)} samples, expected one or more "
            "on at least 2"
        )
    means = correct.mean(1)
    naive_at = int(means.argmin())
    chosen, found = [], []
    for choose in (first, ~first):
        place = int(correct[:, choose].mean(1).argmin())
        chosen.append(place)
        found.append(float(correct[place, ~choose].sum()) / int((~choose).sum()))
    accuracy = float(np.mean(found))
    tail = (1 - CONFIDENCE) / 2
    if shares:
        least, n, above = float(correct[naive_at].sum()), len(first), 1 - tail / len(correct)
        k, m = math.floor(least), math.ceil(least)
        low = special.betaincinv(k, n - k + 1, tail) if k > 0 else 0.0
        high = special.betaincinv(m + 1, n - m, above) if m < n else 1.0
    else:
        low = mean_interval(correct, tail)[0].min()
        high = mean_interval(correct, tail / len(correct))[1].min()
    return Worst(
        float(means[naive_at]), naive_at, accuracy, min(float(low), accuracy),
        max(float(high), accuracy), (chosen[0], chosen[1]),
    )  # fmt: skip


def worst_difference(
    a: Right,
    b: Right,
    worst_a: Worst,
    worst_b: Worst,
    first: npt.NDArray[np.bool_],
    shares: bool = True,
) -> tuple[float, float, float]:
    """Return (difference, low, high) of the cross-fitted worst accuracies of two models.

    a, b: (conditions, samples). On each half the accuracies at the conditions that the other half
    chose are compared sample by sample; each comparison is of conditions fixed before its samples
    were seen. The interval is the mean of two of Agresti and Min at confidence (1 + c) / 2, which
    holds with c whatever the dependence of the two (Bonferroni): for the difference at the
    conditions chosen, not at the true worst ones. The difference of these it covers in 97 to 99 %
    of simulated cases at 6 conditions, at 64 in 88 to 99 %: least where one condition is some five
    standard errors below the rest for both models. Of outcomes that are no shares: the mean of two
    of Student's intervals.
    """
    ends: list[tuple[Any, ...]] = []
    for place, read in ((0, ~first), (1, first)):
        x, y = a[worst_a.at[place]][read], b[worst_b.at[place]][read]
        if not shares:
            ends.append((np.mean(x - y), *mean_interval(x - y, (1 - CONFIDENCE) / 4)))
            continue
        counts = *discordant(x, y), int(read.sum())
        interval = paired_interval(*counts, (1 + CONFIDENCE) / 2)
        ends.append(((counts[0] - counts[1]) / counts[2], *interval))
    value, low, high = np.mean(ends, axis=0)
    return float(value), float(low), float(high)
