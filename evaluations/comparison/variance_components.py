"""What an accuracy varies with: the training seed, the seed of the noise, the samples."""

import numpy as np
import pandas as pd

from robustssm.evaluations.comparison.strength_grid import StrengthGrid
from robustssm.evaluations.statistics.replicates import spread
from robustssm.evaluations.sweep.condition_names import NOISE
from robustssm.typing import FloatArray

COLUMNS = (
    *(*NOISE, "model", "reference", "eps", "seeds", "noise_seeds", "n", "modes"),
    *("varies", "sd", "ci_low", "ci_high"),
)


def components(grid: StrengthGrid, reference: str) -> pd.DataFrame:
    """Return standard deviations of the accuracy (mean over modes) if one thing alone changes.

    One row per model, and per model minus `reference`, eps and `varies`: `training seed`; `noise
    seed`, of one draw; `samples`, n other ones, their noise averaged out: what the mean over draws
    varies by over samples, less the part that is still the noise's. The squares of the last two add
    up to what one run of one model varies by. ci_low and ci_high as of `spread`; the samples have
    none. Differences are of paired training seeds. Empty where the noise has one seed.
    """
    if grid.draws.shape[-1] < 2:
        return pd.DataFrame(columns=[*COLUMNS])
    draws, shares = grid.draws.mean(1), grid.correct.mean(1)
    pairs, rows = grid.pairs(reference), []
    for model, own in grid.places.items():
        members = list(own.values())
        rows += _rows(model, "", grid.eps, draws[members], shares[members])
        if pairs.get(model):
            a, b = np.transpose(pairs[model])
            differences = draws[a] - draws[b], shares[a] - shares[b]
            rows += _rows(model, reference, grid.eps, *differences)
    return pd.DataFrame(rows).assign(**grid.about())[[*COLUMNS]]


def _rows(
    model: str, reference: str, strengths: FloatArray, draws: FloatArray, shares: FloatArray
) -> list[dict[str, object]]:
    """Return the rows of draws (training seeds, eps, noise seeds) and shares (.., eps, samples)."""
    rows = []
    for e, eps in enumerate(strengths.tolist()):
        table = draws[:, e]
        who = {"model": model, "reference": reference, "eps": eps}
        who |= {"seeds": table.shape[0], "noise_seeds": table.shape[1]}
        noise = spread(table, 1)
        of_means = (shares[:, e].var(-1, ddof=1) / shares.shape[-1]).mean()
        of_samples = float(np.sqrt(max(0.0, of_means - noise[0] ** 2 / table.shape[1])))
        for varies, (sd, low, high) in (
            ("training seed", spread(table, 0)),
            ("noise seed", noise),
            ("samples", (of_samples, np.nan, np.nan)),
        ):
            rows.append(who | {"varies": varies, "sd": sd, "ci_low": low, "ci_high": high})
    return rows
