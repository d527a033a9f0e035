"""Which perturbation buys the least error at a condition number (`robustssm theory ptd --study`).

kappa(V) against sup_omega |x_E(i omega) - x(i omega)|_2, the error of the worst unit readout, for
the rank-one family, the same clipped, corner, random and optimised perturbations and given
matrices. Every stable row is set against the rank-one family at the same kappa:
`ratio` is its error over theirs, an upper bound, since both sups are certified brackets.

That error is at most tau g(tau), g(tau) = max_r r sqrt(1 - r^2) / (1 - tau r), for every n. The
rank-one family changes the input matrix, too: B_t = (1 - t/2) B. Its rows with HiPPO's B are named
`B kept`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from robustssm.errors import RejectedInputError, StabilityError, UsageError
from robustssm.evaluations.initializations.certified_error import damped_error
from robustssm.evaluations.initializations.convergence import line
from robustssm.evaluations.initializations.hippo_bounds import HippoReadout
from robustssm.evaluations.initializations.trade_off import sup_errors
from robustssm.hippo import legs
from robustssm.hippo.diagonalize import Diagonalization, perturb, rank_one
from robustssm.hippo.matrix_files import load_initialization, shipped_orders
from robustssm.hippo.ptd_methods import make
from robustssm.hippo.spectrum import defective_tau
from robustssm.typing import FloatArray

Settings = dict[str, Any]
TAUS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
KEPT = (0.5, 0.1, 0.01)
CLIPPED = (0.3, 0.1, 0.05, 0.02)
CORNERS = (0.01, 0.1, 1.0, 10.0, 100.0)
# |E| / |A|, and the range of the paper's ablation (its section 5.3).
RELATIVE = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
ABLATION = (1e-2, 1.0)
SEEDS = (0, 1, 2)
# Points of tau against kappa, log-linear between them: tau is within 1e-3 of that at kappa.
CURVE = 48


def rank_one_curve(n: int) -> tuple[FloatArray, FloatArray]:
    """Return log kappa, ascending, and log tau of the rank-one family, tau from 0.999 down."""
    least = max(1.5 * defective_tau(n) * (1.0 + 1e-12), 1e-4)
    taus = np.geomspace(0.999, least, CURVE)
    kappas = np.array([rank_one(n, float(tau)).kappa for tau in taus])
    return np.log(kappas), np.log(taus)


def plan(n: int) -> list[tuple[str, Settings]]:
    """Return (method, settings of `make`) for every row of size n but given matrices.

    `kept` among the settings asks for HiPPO's input matrix (`input_kept`).
    """
    cells: list[tuple[str, Settings]] = [("rank1", {"tau": tau}) for tau in TAUS]
    cells += [("rank1", {"tau": tau, "kept": True}) for tau in KEPT]
    cells += [("clipped", {"tau": tau}) for tau in CLIPPED]
    cells += [("corner", {"size": size}) for size in CORNERS]
    cells += [("random", {"relative_norm": r, "seed": s}) for r in RELATIVE for s in SEEDS]
    return cells + ([("optimized", {})] if n in shipped_orders() else [])


def study(
    sizes: Sequence[int],
    *,
    matrices: Mapping[str, Path] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> pd.DataFrame:
    """Measure every initialisation of every size, a row each; matrices join at their own size.

    advance is called after each size. Raises RejectedInputError for a given file that cannot be
    used.
    """
    stored_by_name = {name: load_initialization(path) for name, path in (matrices or {}).items()}
    rows = []
    for n in dict.fromkeys([*sizes, *sorted(len(stored.E) for stored in stored_by_name.values())]):
        log_kappa, log_tau = rank_one_curve(legs.check_order(n, minimum=2))
        cells = plan(n) if n in sizes else []
        for method, settings in cells:
            row: dict[str, object] = {"n": n, "method": method, "settings": describe(settings)}
            try:
                if settings.get("kept"):
                    made = input_kept(make(method, n, tau=settings["tau"]))
                else:
                    made = make(method, n, stable=False, **settings)
            except StabilityError:
                # Unstable ones are measured, so this is the rank-one family's guard.
                row["note"] = "tau is below 1.5 tau_c, nearly defective"
            except UsageError as reason:
                row["note"] = str(reason)
            else:
                row |= measure(made, log_kappa, log_tau)
            rows.append(row)
        for name, stored in stored_by_name.items():
            if len(stored.E) == n:
                made = perturb(stored.E, name, B=stored.B, stable=False)
                row = {"n": n, "method": "given", "settings": name}
                rows.append({**row, **measure(made, log_kappa, log_tau)})
        advance()
    frame = pd.DataFrame(rows)
    frame["pareto"] = pareto(frame)
    frame["note"] = frame.pop("note")
    return frame


def describe(settings: Settings) -> str:
    """Return the settings of a row in a few words."""
    words = {"relative_norm": "|E|/|A|", "size": "|E|"}
    spelled = [f"{words.get(key, key)}={value:g}" for key, value in settings.items()]
    return ", ".join("B kept" if word == "kept=1" else word for word in spelled)


def input_kept(made: Diagonalization) -> Diagonalization:
    """Return the same A + E with HiPPO's input matrix."""
    B = legs.input_vector(len(made.B_E))
    return replace(made, B_E=B, B=made.V_inv @ B)


def measure(made: Diagonalization, log_kappa: FloatArray, log_tau: FloatArray) -> dict[str, object]:
    """Return the measured columns of a row; an unstable one has no error and says so."""
    n = len(made.B_E)
    row: dict[str, object] = {
        "kappa": made.kappa,
        "relative_norm": made.relative_norm,
        "kappa_times_relative_norm": made.kappa * made.relative_norm,
        "input_change": float(np.linalg.norm(made.B_E - legs.input_vector(n)) / n),
        "max_real": made.max_real,
        "stable": made.max_real < 0.0,
    }
    if made.max_real >= 0.0:
        return {**row, "note": "unstable"}
    worst = sup_errors(made)[0]
    row |= {"worst_error": worst.low, "worst_high": worst.high, "worst_omega": worst.omega}
    at = np.log(made.kappa)
    if not log_kappa[0] <= at <= log_kappa[-1]:
        return {**row, "note": "beyond the kappa of rank-one"}
    tau = float(np.exp(np.interp(at, log_kappa, log_tau)))
    other = damped_error(HippoReadout(n, None), tau).low
    return {**row, "rank_one_error": other, "ratio": worst.high / other, "note": ""}


def pareto(frame: pd.DataFrame) -> list[bool]:
    """Return which stable rows no other stable row of their size beats in kappa and in error."""
    if "worst_error" not in frame:
        return [False] * len(frame)
    rows = frame[frame["stable"].eq(True)].sort_values(["kappa", "worst_error"])
    least = rows.groupby("n")["worst_error"].cummin()
    before = least.groupby(rows["n"]).shift(fill_value=np.inf)
    return frame.index.isin(rows.index[rows["worst_error"] < before]).tolist()


def slopes(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the least-squares slope of log kappa on log |E| / |A|, with its 95% t interval.

    The claim kappa ~ 1 / |E| is a slope of -1. Stable and unstable rows count: kappa is of V alone.
    One row per size, method and range of |E| / |A| (all of it, the paper's own ABLATION, and what
    lies below that) that holds at least three different sizes of E.
    """
    fits = []
    for (n, method), group in frame.dropna(subset=["kappa"]).groupby(["n", "method"], sort=False):
        if method == "given":
            continue
        group = group.drop_duplicates(["kappa", "relative_norm"])
        size = group["relative_norm"]
        inside = size.between(ABLATION[0] * 0.999, ABLATION[1] * 1.001)
        ranges = {"all": group, "0.01 to 1": group[inside]}
        ranges["up to 0.01"] = group[size <= ABLATION[0] * 1.001]
        for what, rows in ranges.items():
            if rows["relative_norm"].round(12).nunique() < 3:
                continue
            logs = (np.log(rows[key].to_numpy(np.float64)) for key in ("relative_norm", "kappa"))
            fits.append((n, method, what, len(rows), *line(*logs)))
    columns = ["n", "method", "range", "rows", "slope", "ci_low", "ci_high"]
    return pd.DataFrame(fits, columns=columns)


def read_matrices(specs: Sequence[str]) -> dict[str, Path]:
    """Return {name: path} from `name=path` words, or `path` alone, named by its stem."""
    paths: dict[str, Path] = {}
    for spec in specs:
        name, equals, path = spec.partition("=")
        name, path = (name, path) if equals else (Path(spec).stem, spec)
        if not name or not path or name in paths:
            raise UsageError(f"ptd: matrix {spec!r}, expected name=path with names of their own")
        if not Path(path).is_file():
            raise RejectedInputError(f"ptd: matrix {path} does not exist, expected .mat or .npz")
        paths[name] = Path(path)
    return paths
