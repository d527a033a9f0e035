"""Two models on the same perturbed samples, by training seed and frequency."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from robustssm.evaluations.paper.fig3_accuracy import CLEAN, seed_means
from robustssm.evaluations.statistics.paired import holm, mcnemar

# Level of Holm-adjusted tests.
ALPHA = 0.05


def bits(packed: pd.Series, n: int) -> npt.NDArray[np.bool_]:
    """Return which samples are right, (rows, n)."""
    held = np.frombuffer(b"".join(packed), dtype=np.uint8).reshape(len(packed), -1)
    return np.unpackbits(held, axis=1, count=n).astype(bool)


def paired(frame: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
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
        alone = {"a_only": (first & ~second).sum(1), "b_only": (second & ~first).sum(1)}
        parts.append(both[keys].assign(a=a, b=b, **alone))
    tests = pd.concat(parts, ignore_index=True)
    tests["difference"] = (tests["a_only"] - tests["b_only"]) / tests["n"]
    tests["p"] = mcnemar(tests["a_only"], tests["b_only"])
    tests["p_holm"] = holm(tests["p"].to_numpy(np.float64))
    return tests[["a", "b", *keys, "a_only", "b_only", "difference", "p", "p_holm"]]


def by_frequency(tests: pd.DataFrame) -> pd.DataFrame:
    """Return the difference over seeds by pair, eps and omega; columns as of `seed_means`.

    And n (samples), says: 1 or -1 if every seed's Holm-adjusted test says that a, or b, is better,
    else 0; opposite: whether the tests of two seeds contradict each other.
    """
    by = ["a", "b", "eps", "omega", "n"]
    sign = np.sign(tests["difference"]).where(tests["p_holm"] < ALPHA, 0.0)
    ends = sign.groupby([tests[key] for key in by], sort=False).agg(["min", "max"])
    low, high = ends["min"].to_numpy(), ends["max"].to_numpy()
    return seed_means(tests, by, "difference").assign(
        says=((low > 0).astype(np.int64) - (high < 0)), opposite=(low < 0) & (high > 0)
    )
