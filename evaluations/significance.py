"""Paired tests: two models on the same perturbed samples."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from robustssm.evaluations import reading
from robustssm.evaluations.store import RunDirectory
from robustssm.typing import FloatArray

COLUMNS = (
    *("model_a", "seed_a", "model_b", "seed_b", "noise", "mode", "mode_unit", "eps", "n"),
    *("a_only", "b_only", "difference", "p"),
)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return McNemar's exact two-sided p from the counts of discordant pairs; 1 where none.

    Reference: McNemar, Psychometrika 12 (1947); exact binomial form.
    """
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    return float(stats.binomtest(only_first, discordant, 0.5).pvalue)


def holm(p: FloatArray) -> FloatArray:
    """Return Holm's adjusted p-values, family-wise, shape of p.

    Reference: Holm, Scand. J. Stat. 6 (1979), p. 65.
    """
    order = np.argsort(p, kind="stable")
    scaled = p[order] * (len(p) - np.arange(len(p)))
    adjusted = np.empty_like(scaled)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted


def pairs(models: Sequence[tuple[str, int]]) -> list[tuple[str, int, str, int]]:
    """Return (model, seed, model, seed) to compare: two names, equal training seeds.

    Where no two names share a seed, every pair of different names.
    """
    different = [(a, b) for a, b in combinations(models, 2) if a[0] != b[0]]
    paired = [(a, b) for a, b in different if a[1] == b[1]] or different
    return [(*a, *b) for a, b in paired]


def paired_tests(run: RunDirectory) -> pd.DataFrame:
    """Return tests.csv: McNemar's exact test for every pair of models, mode and eps.

    a_only and b_only count the samples that one model alone gets right. p_holm is adjusted over
    all tests of the sweep. Cells without results are left out.
    """
    names = reading.models(run)
    plan = run.plan()
    conditions = plan.groupby(["noise", "mode", "mode_unit", "eps"], sort=False)
    rows = []
    for (noise, mode, unit, eps), group in conditions:
        right = {
            (label, int(seed)): run.rows(cell, ["sample_id", "correct"]).set_index("sample_id")[
                "correct"
            ]
            for label, seed, cell in group[["model", "train_seed", "cell"]].itertuples(index=False)
            if run.cell_path(cell).is_file()
        }
        for a, seed_a, b, seed_b in pairs(names):
            if (a, seed_a) not in right or (b, seed_b) not in right:
                continue
            first, second = right[a, seed_a].align(right[b, seed_b], join="inner")
            a_only, b_only = int((first & ~second).sum()), int((second & ~first).sum())
            rows.append(
                {
                    "model_a": a,
                    "seed_a": seed_a,
                    "model_b": b,
                    "seed_b": seed_b,
                    "noise": noise,
                    "mode": mode,
                    "mode_unit": unit,
                    "eps": eps,
                    "n": len(first),
                    "a_only": a_only,
                    "b_only": b_only,
                    "difference": (a_only - b_only) / len(first),
                    "p": mcnemar(a_only, b_only),
                }
            )
    tests = pd.DataFrame(rows, columns=[*COLUMNS])
    tests["p_holm"] = holm(tests["p"].to_numpy(dtype=np.float64))
    return tests
