"""What a comparison assumes, and how far its numbers go: one line each."""

from collections.abc import Sequence

from robustssm.evaluations.comparable import Comparable
from robustssm.evaluations.statistics.bootstrap import RESAMPLES, SEED
from robustssm.evaluations.statistics.max_statistic import RESAMPLES as FLIPS
from robustssm.evaluations.strength_grid import StrengthGrid


def notes(compared: Comparable, reference: str, grids: Sequence[StrengthGrid]) -> list[str]:
    """Return the lines that belong beside the tables of these grids."""
    lines = []
    if compared.partial:
        lines.append(f"PARTIAL: --limit was set, the first {compared.n} samples only")
    if compared.missing:
        lines.append(f"{compared.missing} planned conditions have no results; they are left out")
    lines += [
        f"{grid.title}: {grid.left_out} of {grid.left_out + grid.modes.size * grid.eps.size} "
        "conditions are left out, their modes not having results of every model at every strength"
        for grid in grids
        if grid.left_out
    ]
    lines += _absent(compared, grids) + list(compared.notes)
    counts = {model: sum(m.model == model for m in compared.members) for model in compared.models}
    single = [model for model, count in counts.items() if count == 1]
    if single:
        lines.append(
            f"{', '.join(single)}: one training seed; intervals are over the {compared.n} samples "
            "and say nothing about retraining"
        )
    several = sorted({count for count in counts.values() if count > 1})
    lines += [
        f"{k} training seeds: mean and Student's interval over seeds, normal differences assumed; "
        f"the smallest two-sided sign-flip p is {2.0 / 2**k:g}"
        for k in several
    ]
    lines.append(
        f"samples: {RESAMPLES} paired bootstrap resamples (seed {SEED}), BCa or percentile, for "
        "these checkpoints; samples are taken to be independent"
    )
    if len(compared.models) > 1:
        lines.append(
            f"p of modes: max-T over all modes and eps of a noise, {FLIPS} sign flips (seed "
            f"{SEED}) that keep the dependence of modes; not corrected over models, training "
            "seeds and noises"
        )
        lines.append(
            f"differences are model minus {reference}; mCE: a mode is a corruption, its errors "
            f"summed over eps and divided by those of {reference}, then the mean; 1 is "
            f"{reference}; a mean of ratios: of two equal models each tends to exceed 1 of "
            "the other"
        )
    if any(grid.modes.size > 1 for grid in grids):
        lines.append(
            "worst mode, cross-fitted: chosen on half of the samples, read on the other, both "
            "ways; its interval holds for the modes chosen (Bonferroni of two Wilson intervals), "
            "whose accuracy is never below the true worst"
        )
    curves = [grid for grid in grids if grid.log_eps() is not None]
    if curves:
        ranges = dict.fromkeys(
            f"{grid.eps[0]:g} to {grid.eps[-1]:g} {grid.eps_unit}" for grid in curves
        )
        lines.append(
            f"AUC: mean accuracy over log eps, trapezoids, {' and '.join(ranges)}, of the mean "
            "over modes; eps50: where that curve first falls halfway from clean to chance "
            f"({compared.chance:.3g}), linear in log eps"
        )
    lines += [
        f"{grid.title}: {'one strength' if grid.eps.size == 1 else 'a strength of 0'}, so no AUC "
        "and no eps50"
        for grid in grids
        if grid.log_eps() is None
    ]
    return lines


def _absent(compared: Comparable, grids: Sequence[StrengthGrid]) -> list[str]:
    lines = []
    for grid in grids:
        own = set(grid.members)
        absent = [m.name for m in compared.members if (m.model, m.train_seed) not in own]
        if absent:
            lines.append(f"{grid.title}: {', '.join(absent)} has no result of this noise")
    return lines
