"""Strengths that tell models apart: those at which a reference keeps given shares of its accuracy.

The smallest strength that breaks each sample is the whole curve of accuracy against strength: the
accuracy at eps is the share of samples whose smallest strength is larger.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from robustssm.attacks.units import UNITS
from robustssm.errors import UsageError
from robustssm.evaluations.statistics.intervals import mean_interval, wilson
from robustssm.typing import FloatArray

# Shares of its clean accuracy that the reference keeps.
SHARES = (0.9, 0.75, 0.5, 0.25, 0.1)


def ladder(
    frames: Sequence[pd.DataFrame], reference: str, unit: str
) -> tuple[dict[float, float], list[dict[str, float]]]:
    """Return the reference's strength for each share, and what each model keeps there.

    Shares that the reference exceeds at every strength tried are left out. Of each model: `kept_S`,
    its accuracy at the strength of share S, with Wilson's interval, and `area`, the mean accuracy
    over the logarithm of the strength from the first to the last of the ladder, with Student's;
    ends `_low` and `_high`. Raises UsageError for a ladder of fewer than two strengths.

    Parameters
    ----------
    frames : sequence of DataFrame
        Of each model, as `smallest_strengths` returns them.
    reference : str
        Name of the reference, as in the frames' column `model`.
    unit : str
        Of the strengths.
    """
    own = next(frame for frame in frames if frame["model"].iloc[0] == reference)
    strengths = own.loc[own["right"], "eps"].to_numpy()
    order = np.sort(strengths)[:: -1 if UNITS[unit].endless < 0.0 else 1]
    places = {share: int(np.ceil(round((1.0 - share) * len(order), 9))) for share in SHARES}
    rungs = {share: float(order[max(k, 1) - 1]) for share, k in places.items() if len(order)}
    rungs = {share: eps for share, eps in rungs.items() if np.isfinite(eps)}
    ends = [_height(np.array([eps]), unit)[0] for eps in rungs.values()]
    if len(set(ends)) < 2:
        raise UsageError(
            f"ladder: {reference} keeps its accuracy, or loses it at once, at all strengths but "
            f"{len(set(ends))}; widen them by --from and --to"
        )
    return rungs, [_kept(frame, rungs, unit) for frame in frames]


def _height(eps: FloatArray, unit: str) -> FloatArray:
    """Return the logarithm of strengths, larger where stronger; infinite for none and endless."""
    with np.errstate(divide="ignore"):
        return -eps * np.log(10.0) / 20.0 if UNITS[unit].endless < 0.0 else np.log(eps)


def _kept(frame: pd.DataFrame, rungs: dict[float, float], unit: str) -> dict[str, float]:
    """Return the accuracies of a model, the area, and their intervals."""
    own = _height(frame["eps"].to_numpy(), unit)
    row: dict[str, float] = {}
    heights = {share: _height(np.array([eps]), unit)[0] for share, eps in rungs.items()}
    for share, height in heights.items():
        kept = int((own > height).sum())
        low, high = wilson(kept, len(own))
        name = f"kept_{share:g}"
        row |= {f"eps_{share:g}": rungs[share], name: kept / len(own)}
        row |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    first, last = min(heights.values()), max(heights.values())
    # The part of the ladder that a sample survives: their mean is the area under the curve.
    survived = np.clip((own - first) / (last - first), 0.0, 1.0)
    low, high = np.clip(mean_interval(survived), 0.0, 1.0)
    return row | {"area": float(survived.mean()), "area_low": float(low), "area_high": float(high)}
