"""Two models on the same perturbed samples, by training seed and frequency."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from robustssm.evaluations.paper.fig3_accuracy import CLEAN
from robustssm.evaluations.statistics.over_seeds import SeedComparison, compare_seeds
from robustssm.evaluations.statistics.paired import holm, mcnemar

# Level of Holm-adjusted tests.
ALPHA = 0.05
Pair = tuple[str, str]


def bits(packed: pd.Series, n: int) -> npt.NDArray[np.bool_]:
    """Return which samples are right, (rows, n)."""
    held = np.frombuffer(b"".join(packed), dtype=np.uint8).reshape(len(packed), -1)
    return np.unpackbits(held, axis=1, count=n).astype(bool)


def paired(frame: pd.DataFrame, pairs: Sequence[Pair]) -> pd.DataFrame:
    """Return McNemar's exact test of each pair, training seed, strength and frequency.

    frame: rows of `reviewers_sweep.sweep`. Columns a, b, seed, eps, omega, kind, n, a_only,
    b_only (samples that one alone gets right), difference (accuracy of a minus b), p, p_holm
    (over the whole table).
    """
    noisy = frame[frame["noise"] != CLEAN]
    keys = ["seed", "eps", "omega", "kind", "n"]
    parts = []
    for a, b in pairs:
        one, other = (noisy[noisy["model"] == name][[*keys, "right"]] for name in (a, b))
        both = one.merge(other, on=keys, suffixes=("_a", "_b"), how="inner", validate="1:1")
        n = int(both["n"].iloc[0])
        first, second = bits(both["right_a"], n), bits(both["right_b"], n)
        found = both[keys].assign(
            a=a, b=b, a_only=(first & ~second).sum(1), b_only=(second & ~first).sum(1)
        )
        parts.append(found)
    tests = pd.concat(parts, ignore_index=True)
    tests["difference"] = (tests["a_only"] - tests["b_only"]) / tests["n"]
    tests["p"] = mcnemar(tests["a_only"], tests["b_only"])
    tests["p_holm"] = holm(tests["p"].to_numpy(np.float64))
    return tests[["a", "b", *keys, "a_only", "b_only", "difference", "p", "p_holm"]]


@dataclass(frozen=True)
class Verdict:
    """How a pair compares at one strength over all frequencies.

    conditions: frequencies; a_better, b_better: those in which every seed's test says so,
    opposite: in which two seeds' tests contradict each other; mean: a minus b, averaged over the
    frequencies, seed by seed; best, worst: frequency and mean difference most for a, and most
    for b.
    """

    conditions: int
    a_better: int
    b_better: int
    opposite: int
    mean: SeedComparison
    best: tuple[float, SeedComparison]
    worst: tuple[float, SeedComparison]


def verdict(tests: pd.DataFrame, alpha: float = ALPHA) -> Verdict:
    """Return the verdict of the rows of one pair and strength."""
    wide = tests.pivot_table(index="omega", columns="seed", values="difference")
    p = tests.pivot_table(index="omega", columns="seed", values="p_holm")
    difference = wide.to_numpy(np.float64)
    sign = np.where(p.to_numpy(np.float64) < alpha, np.sign(difference), 0.0)
    low, high = sign.min(1), sign.max(1)
    means = difference.mean(1)
    ends = [
        (float(wide.index[k]), compare_seeds(difference[k]))
        for k in (means.argmax(), means.argmin())
    ]
    return Verdict(
        len(wide),
        int((low > 0).sum()),
        int((high < 0).sum()),
        int(((low < 0) & (high > 0)).sum()),
        compare_seeds(difference.mean(0)),
        ends[0],
        ends[1],
    )
