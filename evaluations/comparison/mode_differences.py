"""At which modes two models differ, corrected for all modes and strengths of a noise."""

import numpy as np
import pandas as pd

from robustssm.evaluations.comparison.strength_grid import StrengthGrid
from robustssm.evaluations.statistics.max_statistic import max_t
from robustssm.evaluations.statistics.paired import mcnemar


def mode_differences(
    grid: StrengthGrid, pair: tuple[int, int], seed: int
) -> tuple[pd.DataFrame, float]:
    """Return one row per (mode, eps) of model minus reference, and p of any difference.

    pair: places of model and reference; p: McNemar's exact, alone; p_max_t: adjusted over all
    rows, of this noise, pair and training seed. a is the model, b the reference.
    """
    a, b = (grid.correct[k].reshape(-1, grid.n) for k in pair)
    found = max_t(a, b, seed=seed)
    a_only, b_only = (a & ~b).sum(1), (b & ~a).sum(1)
    (model, train_seed), (reference, other) = (grid.members[k] for k in pair)
    table = pd.DataFrame(
        {
            "noise": grid.noise,
            "inject": grid.inject,
            "clip": grid.clip,
            "model": model,
            "reference": reference,
            "train_seed": str(train_seed),
            "reference_seed": str(other),
            "mode": np.repeat(grid.modes, len(grid.eps)),
            "mode_unit": grid.mode_unit,
            "eps": np.tile(grid.eps, len(grid.modes)),
            "eps_unit": grid.eps_unit,
            "n": grid.n,
            "accuracy": a.mean(1),
            "reference_accuracy": b.mean(1),
            "a_only": a_only,
            "b_only": b_only,
            "difference": (a_only - b_only) / grid.n,
            "p": mcnemar(a_only, b_only),
            "p_max_t": found.p,
        }
    )
    return table, found.p_any
