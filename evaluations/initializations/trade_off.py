"""Perturb-then-diagonalize side by side, and one of them in full (`robustssm theory ptd`).

A report says what theory promises for the perturbation as well as what it does. Both bounds are
for stable A + E and eps = |E|_2:

    paper  |G_E - G| <= (2 ln n + 4) eps + O(sqrt(log n) eps^2) for |V B_E| = |C V^-1| = 1, hence
           for unit B and C in HiPPO's coordinates: there the error is sup |x_E - x| / |B|, |B| = n;
    sharp  |G_E - G| <= 2 |C| (eps + |B_E - B|) / (1 - 2 eps) for eps < 1/2 and HiPPO's B.

The second: x_E - x = (i omega - A - E)^-1 (E x + B_E - B), the numerical range of A + E lies left
of -1/2 + eps, and |x| <= 1. Vacuous: not below sup |x| = 1, the error of the zero system.

References: arXiv 2310.01698, Theorem 3; the sharp bound is this project's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from robustssm.errors import StabilityError, UsageError
from robustssm.evaluations.initializations.certified_error import diagonalization_error
from robustssm.evaluations.initializations.norms import sup_error
from robustssm.evaluations.initializations.readouts import read_readout
from robustssm.evaluations.initializations.responses import response
from robustssm.evaluations.suprema.certified import Bracket
from robustssm.hippo import legs
from robustssm.hippo.diagonalize import Diagonalization
from robustssm.hippo.initializations import diagonalization, parse
from robustssm.typing import FloatArray

# s4d, the normal part, is the other end of the rank-one family.
NAMES = ("s4ptd", "s4ptd-random", "s4ptd-rank1", "s4d")
# Relative gap of the certified sup errors.
RTOL = 1e-6


@dataclass(frozen=True)
class Bound:
    """A bound, the error in its own normalisation, and why either is missing."""

    name: str
    value: float | None
    measured: float | None
    note: str


@dataclass(frozen=True)
class Report:
    """What a user must know of an initialisation.

    norm and relative_norm: |E|_2, over |A|_2; input_change: |B_E - B| / |B|; errors: certified
    brackets of `worst`, the worst unit readout, and of each one asked for, if it is stable.
    """

    n: int
    method: str
    kappa: float
    norm: float
    relative_norm: float
    input_change: float
    max_real: float
    backward_error: float
    errors: dict[str, Bracket]
    bounds: tuple[Bound, ...]
    stable: bool


def report(made: Diagonalization, readouts: Mapping[str, FloatArray]) -> Report:
    """Measure an initialisation; readouts are named C of shape (n,). Unstable: no errors."""
    B = legs.input_vector(len(made.B_E))
    n, norm, change = len(B), float(np.linalg.norm(made.E, 2)), float(np.linalg.norm(made.B_E - B))
    errors: dict[str, Bracket] = {}
    stable = made.max_real < 0.0
    if stable:
        sups = sup_errors(made, [legs.check_readout(C, n) for C in readouts.values()])
        errors = dict(zip(["worst", *readouts], sups, strict=True))
    return Report(
        n=n,
        method=made.method,
        kappa=made.kappa,
        norm=norm,
        relative_norm=made.relative_norm,
        input_change=change / float(np.linalg.norm(B)),
        max_real=made.max_real,
        backward_error=made.backward_error,
        errors=errors,
        bounds=bounds(n, norm, change, errors["worst"].low if stable else None),
        stable=stable,
    )


def paper_bound(n: Any, eps: Any) -> Any:
    """Return (2 ln n + 4) eps, of numbers or of columns."""
    return (2.0 * np.log(n) + 4.0) * eps


def bounds(n: int, eps: float, change: float, error: float | None) -> tuple[Bound, Bound]:
    """Return the paper's bound and the sharp one for |E|_2 = eps, |B_E - B| = change.

    error: the measured sup for the worst unit readout; None if A + E is unstable.
    """
    none = "unstable: no bound applies"
    paper = paper_bound(n, eps)
    where = "first order, for |V B| = |C V^-1| = 1: measured over |B| = n"
    if change > 0.0:
        first = Bound("paper", None, None, "does not apply: the input is not HiPPO's B")
    elif error is None:
        first = Bound("paper", None, None, none)
    else:
        verdict = "; vacuous, above sup |x| / n" if paper * n >= 1.0 else ""
        first = Bound("paper", float(paper), error / n, where + verdict)
    if error is None:
        second = Bound("sharp", None, None, none)
    elif eps >= 0.5:
        second = Bound("sharp", None, error, "vacuous: needs |E| < 1/2")
    else:
        value = 2.0 * (eps + change) / (1.0 - 2.0 * eps)
        verdict = "; vacuous, above sup |x| = 1" if value >= 1.0 else ""
        second = Bound("sharp", float(value), error, "for |C| = 1 and B as given" + verdict)
    return first, second


def sup_errors(made: Diagonalization, readouts: Sequence[FloatArray] = ()) -> list[Bracket]:
    """Return the brackets of sup |x_E - x|_2 and of sup |C (x_E - x)| for each readout C (n,).

    Assumes that A + E is stable.
    """
    system = made.eigenvalues, made.V, made.B
    return [diagonalization_error(*system, C, RTOL) for C in (None, *readouts)]


def ptd_table(sizes: Sequence[int]) -> pd.DataFrame:
    """Return one row per size and initialisation, readout e0.

    relative_norm: |E|_2 / |A|_2; sup_error: sup |G_E - G|, attained at sup_omega, rad per unit
    time. A name that does not exist at a size has its reason in `note` and no numbers.
    """
    rows = []
    for n in sizes:
        for name in NAMES:
            row: dict[str, object] = {"n": n, "init": name}
            try:
                made = diagonalization(parse(name), n)
                sup = sup_error(response(parse(name), read_readout("e0", n)))
            except (UsageError, StabilityError) as reason:
                rows.append({**row, "note": str(reason)})
                continue
            measured = ("kappa", "relative_norm", "max_real", "backward_error")
            row |= {name: getattr(made, name) for name in measured}
            rows.append(row | {"sup_error": sup.value, "sup_omega": sup.at, "note": ""})
    return pd.DataFrame(rows)
