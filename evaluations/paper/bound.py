"""Theorem 3 of arXiv 2310.01698 measured: the sup error of A + E against its bounds.

For |B| = |C| = 1 and eps = |E|_2 the paper's bound is (2 ln n + 4) eps to first order. The exact
constant of first order over all unit B, C and all E of that norm is sup |(i omega - A)^-1|^2,
attained at omega = 0: |A^-1|^2. The measured error is sup |x_E - x| / |B| for HiPPO's B, |B| = n,
and the worst unit readout: it may lie far below both, and above neither to first order.
"""

from typing import Any

import numpy as np
import pandas as pd

from robustssm.errors import StabilityError, UsageError
from robustssm.evaluations.initializations.ptd_study import input_kept
from robustssm.evaluations.initializations.trade_off import report
from robustssm.evaluations.paper import reproduction
from robustssm.evaluations.paper.reproduction import agrees, finding
from robustssm.hippo.legs import matrices
from robustssm.hippo.ptd_methods import make


def first_order(n: int) -> float:
    """Return |A^-1|_2^2 = sup over omega of |(i omega - A)^-1|_2^2 for HiPPO-LegS of size n."""
    A, _ = matrices(n)
    return float(np.linalg.norm(np.linalg.inv(A), 2)) ** 2


def plan(context: reproduction.Context) -> list[tuple[int, str, dict[str, Any]]]:
    """Return (n, method, settings of `ptd_methods.make`) for every row."""
    settings = context.settings
    cells: list[tuple[int, str, dict[str, Any]]] = []
    for n in settings["sizes"]:
        cells += [(n, "corner", {"size": size}) for size in settings["eps"]]
        cells += [
            (n, "random", {"size": size, "seed": seed})
            for size in settings["eps"]
            for seed in settings["seeds"]
        ]
        cells += [(n, "rank1", {"tau": tau}) for tau in settings["taus"]]
        cells += [(n, "optimized", {})]
    return cells


def rows(context: reproduction.Context) -> pd.DataFrame:
    """Return one row per perturbation, all with HiPPO's B.

    Columns n, method, size (asked for), seed, eps = |E|_2, kappa, max_real, measured, paper, exact
    (|A^-1|^2 eps), sharp, sharp_measured, note. Unstable and missing ones have a note, no error.
    """
    found = []
    for n, method, settings in plan(context):
        row: dict[str, Any] = {"n": n, "method": method, "seed": settings.get("seed", 0)}
        row["size"] = settings.get("size", np.nan)
        try:
            made = make(method, n, stable=False, **settings)
        except (StabilityError, UsageError) as reason:
            found.append(row | {"note": str(reason)})
            continue
        if method == "rank1":
            made = input_kept(made)
        result = report(made, {})
        paper, sharp = result.bounds
        row |= {"eps": result.norm, "kappa": result.kappa, "max_real": result.max_real}
        row |= {"measured": paper.measured, "paper": paper.value}
        row |= {"exact": first_order(n) * result.norm}
        row |= {"sharp": sharp.value, "sharp_measured": sharp.measured, "note": paper.note}
        found.append(row)
    numbers = ["size", "eps", "kappa", "max_real", "measured", "paper", "exact", "sharp"]
    numbers += ["sharp_measured"]
    columns = ["n", "method", "seed", *numbers, "note"]
    frame = pd.DataFrame(found, columns=columns)
    return frame.astype(dict.fromkeys(numbers, np.float64))


def findings(tables: reproduction.Tables) -> list[reproduction.Finding]:
    """Return how near the measured error comes to the paper's bound and to the exact constant."""
    frame = tables["rows"]
    sizes = f"n = {frame['n'].min()} to {frame['n'].max()}"
    known = frame.dropna(subset=["measured", "paper"])
    ratio = known["measured"] / known["paper"]
    exact = known["measured"] / known["exact"]
    vacuous = known["note"].str.contains("vacuous")
    unstable = int((frame["max_real"] >= 0.0).sum())
    n = int(frame["n"].max())
    sharp = frame.dropna(subset=["sharp", "sharp_measured"])
    largest = known.loc[ratio.idxmax()]
    theorem = 2.0 * np.log(n) + 4.0
    presupposed = "stability is presupposed [s]"
    return [
        finding(
            f"largest measured error / (2 ln n + 4) |E|, {sizes}, {len(known)} stable E",
            f"{ratio.max():.3g} ({largest['method']}, n = {largest['n']}, "
            f"|E| = {largest['eps']:.3g})",
            ("at most 1, to first order [s]", agrees(ratio.max() <= 1.0)),
        ),
        finding(
            f"constant of first order, n = {n}",
            f"|A^-1|^2 = {first_order(n):.3g}, exact",
            (f"2 ln n + 4 = {theorem:.3g}, an upper bound [s]", agrees(first_order(n) <= theorem)),
        ),
        finding(f"largest measured error / |A^-1|^2 |E|, {sizes}", f"{exact.max():.3g}"),
        finding(
            "stable E for which the paper's bound exceeds the error of the zero system, 1 / n",
            f"{int(vacuous.sum())} of {len(known)}",
            without="not discussed",
        ),
        finding(
            "E for which A + E is unstable and no bound applies",
            f"{unstable} of {len(frame)}",
            (presupposed, reproduction.DIFFERS) if unstable else None,
            presupposed,
        ),
        finding(
            "largest measured error / 2 |E| / (1 - 2 |E|), |E| < 1/2, HiPPO's B",
            f"{(sharp['sharp_measured'] / sharp['sharp']).max():.3g}" if len(sharp) else "no row",
            without="not in the paper; proved for every order",
        ),
    ]


REPRODUCTION = reproduction.Reproduction(
    name="bound",
    shows="the sup error of A + E against Theorem 3 and the exact constant",
    steps=(reproduction.Step("rows", rows),),
    quick={"sizes": [16, 32], "eps": [0.01, 0.1, 1.0], "seeds": [0], "taus": [0.1, 0.01]},
    full={
        "sizes": [8, 16, 32, 64],
        "eps": [1e-3, 0.01, 0.1, 0.3, 1.0, 10.0, 100.0],
        "seeds": [0, 1, 2],
        "taus": [0.5, 0.1, 0.01],
    },
    findings=findings,
)
