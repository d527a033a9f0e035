"""Theorem 3 of arXiv 2310.01698 measured: the sup error of A + E against its bounds.

For |B| = |C| = 1 and eps = |E|_2 the paper's bound is (2 ln n + 4) eps to first order. The exact
constant of first order over all unit B, C and all E of that norm is sup |(i omega - A)^-1|^2,
attained at omega = 0: |A^-1|^2. The measured error is sup |x_E - x| / |B| for HiPPO's B, |B| = n,
and the worst unit readout: it may lie far below both, and above neither to first order.
"""

import numpy as np
import pandas as pd

from robustssm.evaluations.initializations.ptd_study import study
from robustssm.evaluations.initializations.trade_off import paper_bound
from robustssm.evaluations.paper import reproduction
from robustssm.evaluations.paper.reproduction import agrees, finding
from robustssm.hippo.legs import matrices


def first_order(n: int) -> float:
    """Return |A^-1|_2^2 = sup over omega of |(i omega - A)^-1|_2^2 for HiPPO-LegS of size n."""
    A, _ = matrices(n)
    return float(np.linalg.norm(np.linalg.inv(A), 2)) ** 2


def rows(context: reproduction.Context) -> pd.DataFrame:
    """Return the rows of `theory ptd --study` that have HiPPO's B, beside the bounds.

    Columns of `ptd_study.study`, and eps = |E|_2, measured = sup |x_E - x| / |B|, paper, exact =
    |A^-1|^2 eps, sharp (NaN where |E| >= 1/2). Unstable ones have no error.
    """
    frame = study(context.settings["sizes"])
    frame = frame[frame["input_change"].eq(0.0)].reset_index(drop=True)
    n = frame["n"]
    norm = {order: float(np.linalg.norm(matrices(order)[0], 2)) for order in n.unique()}
    eps = frame["relative_norm"] * n.map(norm)
    return frame.assign(
        eps=eps,
        measured=frame["worst_error"] / n,
        paper=paper_bound(n, eps),
        exact=eps * n.map({order: first_order(order) for order in n.unique()}),
        sharp=(2.0 * eps / (1.0 - 2.0 * eps)).where(eps < 0.5),
    )


def findings(tables: reproduction.Tables) -> list[reproduction.Finding]:
    """Return how near the measured error comes to the paper's bound and to the exact constant."""
    frame = tables["rows"]
    sizes = f"n = {frame['n'].min()} to {frame['n'].max()}"
    known = frame.dropna(subset=["measured"])
    ratio = known["measured"] / known["paper"]
    exact = known["measured"] / known["exact"]
    vacuous = known["paper"] * known["n"] >= 1.0
    unstable = int((frame["max_real"] >= 0.0).sum())
    n = int(frame["n"].max())
    sharp = known.dropna(subset=["sharp"])
    largest = known.loc[ratio.idxmax()]
    theorem = float(paper_bound(n, 1.0))
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
            f"{(sharp['worst_error'] / sharp['sharp']).max():.3g}" if len(sharp) else "no row",
            without="not in the paper; proved for every order",
        ),
    ]


REPRODUCTION = reproduction.Reproduction(
    name="bound",
    shows="the sup error of A + E against Theorem 3 and the exact constant",
    steps=(reproduction.Step("rows", rows, version=2),),
    quick={"sizes": [16, 32]},
    full={"sizes": [8, 16, 32, 64]},
    findings=findings,
)
