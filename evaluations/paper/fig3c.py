"""Fig. 3 (c) of arXiv 2310.01698: accuracy and kappa(V) against |E| / |A|.

Three ways to E: rank-one (E = t P P^T, its relative norm a function of tau; tau = 1 is S4D),
random (the draw is that of the training seed) and optimised (the shipped one, one size). An E
that leaves A + E unstable is not trained: its row says so. Networks, rates and the contamination
are those of fig3ab, and trainings in common are run once.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from robustssm.checkpoints.bundled import SEEDS
from robustssm.evaluations.paper import fig3_accuracy as accuracy
from robustssm.evaluations.paper import reproduction
from robustssm.evaluations.paper.trainings import asked_for
from robustssm.hippo.diagonalize import Diagonalization, normal, perturb, rank_one
from robustssm.hippo.initializations import parse
from robustssm.hippo.ptd_methods import make, scaled_random

UNSTABLE, TRAINED = "unstable", "trained"
# The paper's range of |E| / |A| in which its accuracy is best.
BEST = (1e-2, 1.0)


def perturbations(settings: Any) -> Iterator[tuple[str, str, float, int, Diagonalization]]:
    """Yield (init, method, parameter, seed, diagonalisation) of every row, unstable ones too."""
    n = settings["n"]
    for seed in settings["seeds"]:
        for tau in settings["taus"]:
            if tau == 1.0:
                yield "s4d", "rank1", 1.0, seed, normal(n)
                continue
            init = str(parse(f"s4ptd-rank1:tau={tau:g}"))
            yield init, "rank1", tau, seed, rank_one(n, tau)
        for size in settings["sizes"]:
            init = str(parse(f"s4ptd-random:seed={seed}:size={size:g}"))
            drawn = perturb(scaled_random(n, seed, size), "random", stable=False)
            yield init, "random", size, seed, drawn
        if settings["optimized"]:
            yield "s4ptd", "optimized", np.nan, seed, make("optimized", n)


def quality(context: reproduction.Context) -> pd.DataFrame:
    """Return one row per perturbation and training seed, computed, nothing trained.

    Columns init, method, parameter (tau; |E|/|A| of random; NaN), seed, state_size,
    relative_norm |E|_2/|A|_2, kappa, max_real (rad per unit time), status.
    """
    settings = context.settings
    rows = [
        {
            "init": init,
            "method": method,
            "parameter": parameter,
            "seed": seed,
            "state_size": settings["n"],
            "relative_norm": found.relative_norm,
            "kappa": found.kappa,
            "max_real": found.max_real,
            "status": TRAINED if found.max_real < 0.0 else UNSTABLE,
        }
        for init, method, parameter, seed, found in perturbations(settings)
    ]
    return pd.DataFrame(rows)


def accuracies(context: reproduction.Context) -> pd.DataFrame:
    """Return one row per trained network, seed and condition, after the last epoch."""
    settings = context.settings
    stable = context.tables["quality"].query("status == @TRAINED")
    who = zip(stable["init"], stable["seed"].tolist(), strict=True)
    trainings = asked_for(settings, [(init, seed, settings) for init, seed in who])
    return accuracy.accuracies(trainings, context, every_epoch=False)


def points(tables: reproduction.Tables) -> pd.DataFrame:
    """Return one row per method, size and condition: mean over seeds and Student's interval.

    |E|/|A| and kappa are geometric means over the seeds. Sizes of which some draws are unstable
    are means over the stable ones: `seeds` says how many.
    """
    frame = tables["accuracies"].merge(tables["quality"], on=["init", "seed"], validate="m:1")
    by = ["method", "parameter", "condition", "eps"]
    found = accuracy.mean_accuracies(frame, by)
    for name in ("relative_norm", "kappa"):
        logs = np.log(frame[name]).groupby([frame[key] for key in by], sort=False, dropna=False)
        found[name] = np.exp(logs.mean()).to_numpy(np.float64)
    return found


def _peaks(tables: reproduction.Tables) -> reproduction.Findings:
    """Yield where the accuracy of each method with several sizes is largest."""
    low, high = BEST
    for (method, condition), rows in points(tables).groupby(["method", "condition"], sort=False):
        if len(rows) < 2:
            continue
        best = rows.loc[rows["accuracy"].idxmax()]
        # Sizes whose intervals reach the best mean cannot be told from it.
        near = rows.loc[~(rows["ci_high"] < best["accuracy"]), "relative_norm"]
        text = accuracy.interval(best["accuracy"], best["ci_low"], best["ci_high"])
        yield reproduction.finding(
            f"|E|/|A| of the largest accuracy, {method}, {condition}",
            f"{best['relative_norm']:.2g} ({text}); not told apart: "
            f"{near.min():.2g} to {near.max():.2g}",
            ("in [0.01, 1] [s]", reproduction.agrees(*near.between(low, high))),
        )


def findings(tables: reproduction.Tables) -> reproduction.Findings:
    """Yield where accuracy peaks, and which random E are unstable."""
    quality_rows = tables["quality"]
    yield from _peaks(tables)
    random = quality_rows[quality_rows["method"] == "random"]
    for size, rows in random.groupby("parameter"):
        bad = int((rows["status"] == UNSTABLE).sum())
        inside = BEST[0] <= float(str(size)) <= BEST[1]
        paper = f"{'inside' if inside else 'below'} its best range [s]"
        yield reproduction.finding(
            f"random E of |E|/|A| = {size:g} that leave A + E unstable",
            f"{bad} of {len(rows)}, max Re lambda {rows['max_real'].max():.3g}",
            (paper, reproduction.DIFFERS) if bad and inside else None,
            paper,
        )


_COMMON = {
    "task": "digits",
    "eps": [1.0],
    "seeds": list(SEEDS),
    "optimized": True,
    "ssm_lr": 1e-3,
    "n": 32,
    "d_model": 32,
    "layers": 3,
}
REPRODUCTION = reproduction.Reproduction(
    name="fig3c",
    shows="accuracy and kappa(V) against the size of the perturbation",
    steps=(
        reproduction.Step("quality", quality, uses=("seeds", "n", "taus", "sizes", "optimized")),
        reproduction.Step("accuracies", accuracies, needs=("quality",)),
    ),
    quick={
        **_COMMON,
        "epochs": 10,
        "taus": [0.003, 0.02, 0.1, 0.4, 1.0],
        "sizes": [3e-4, 3e-3, 1e-2, 1e-1],
    },
    full={
        **_COMMON,
        "epochs": 30,
        "taus": [0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.9, 1.0],
        "sizes": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0],
    },
    findings=findings,
)
