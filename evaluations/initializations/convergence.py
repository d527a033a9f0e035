"""Strong and weak convergence to HiPPO against the state size: `robustssm theory converge`.

Strong: sup_omega |G_a - G|, a certified bracket. Weak: |(G_a - G) u|_2 for named inputs, by
Parseval's integral. A rate is the least-squares slope of log error against log n over the larger
half of the sizes, with the 95% Student interval of that fit: it says how straight the points lie,
since nothing here is random.

Beside each stands what theory predicts (`predictions`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from robustssm.errors import StabilityError, UsageError, require
from robustssm.evaluations.initializations.certified_error import certified_error
from robustssm.evaluations.initializations.inputs import parse_input
from robustssm.evaluations.initializations.parseval import quadrature
from robustssm.evaluations.initializations.predictions import Prediction, strong, weak
from robustssm.evaluations.initializations.readouts import read_readout
from robustssm.evaluations.initializations.responses import Damped, Response, is_hippo, response
from robustssm.hippo.initializations import DRAWN, parse
from robustssm.hippo.legs import check_order
from robustssm.plain_text import is_count
from robustssm.typing import FloatArray

STRONG = "sup"
SMALLEST, LARGEST = 2, 10**6
# Dense systems (poles and residues) take n^3 operations to build and n^2 to certify.
MAX_DIAGONAL = 1024
# Below this an error of poles and residues is rounding; it is reported, not fitted.
ROUNDING = 1e-13
DENSE = "poles and residues"


@dataclass(frozen=True)
class Rates:
    """Errors against n, one row per (init, quantity, n), and fits, one per (init, quantity).

    unavailable: init -> the sizes without rows, and why.
    """

    readout: str
    errors: pd.DataFrame
    fits: pd.DataFrame
    unavailable: dict[str, str]


def converge(
    names: Sequence[str],
    sizes: Sequence[int],
    inputs: Sequence[str],
    readout: str = "e0",
    advance: Callable[[], None] = lambda: None,
) -> Rates:
    """Return errors and rates of the initialisations `names` at all sizes, smallest first.

    sizes >= 2, at least two of them; inputs as `inputs.parse_input` takes them. `advance` is
    called after each (name, size). Raises UsageError for what exists at no size.
    """
    sizes = sorted({check_order(n, minimum=SMALLEST) for n in sizes})
    require(len(sizes) > 1, "converge: state sizes", sizes, "at least two to fit a rate")
    systems = {str(parse(name)): parse(name) for name in names}
    inputs = list(dict.fromkeys(inputs))
    for text in inputs:
        parse_input(text, SMALLEST)
    rows: list[dict[str, object]] = []
    missing: dict[str, tuple[list[int], str]] = {}
    for label, name in systems.items():
        for n in sizes:
            try:
                C = read_readout(readout, n)
                if n > MAX_DIAGONAL and name.base in ("s4d-lin", "s4d-inv", *DRAWN):
                    raise UsageError(f"{label}: poles and residues, up to n = {MAX_DIAGONAL} here")
                system = response(name, C)
                if is_hippo(system):
                    raise UsageError(f"{label} is HiPPO itself, with no error")
                rows += _rows(label, system, inputs, readout)
            except (UsageError, StabilityError) as reason:
                missing.setdefault(label, ([], str(reason)))[0].append(n)
            advance()
    unavailable = {
        label: f"not at n = {', '.join(map(str, orders))}: {reason}"
        for label, (orders, reason) in missing.items()
    }
    if not rows:
        raise UsageError(
            f"converge: nothing to compare; {'; '.join(dict.fromkeys(unavailable.values()))}"
        )
    errors = pd.DataFrame(rows)
    return Rates(readout, errors, fit(errors), unavailable)


def parse_sizes(text: str) -> tuple[int, ...]:
    """Return the state sizes of `4-4096` (its ends and the powers of two between) or `4,6,9`."""
    sizes: set[int] = set()
    for part in text.split(","):
        ends = [int(end) if is_count(end.strip()) else 0 for end in part.split("-")]
        holds = len(ends) <= 2 and SMALLEST <= ends[0] <= ends[-1] <= LARGEST
        expected = f"as in 4-4096 or 4,6,9, within {SMALLEST} to {LARGEST}"
        require(holds, "state size", part.strip(), expected)
        powers = {2**k for k in range(LARGEST.bit_length()) if ends[0] < 2**k < ends[-1]}
        sizes |= powers | set(ends)
    return tuple(sorted(sizes))


def _rows(
    label: str, system: Response, inputs: Sequence[str], readout: str
) -> list[dict[str, object]]:
    n, bracket = system.n, certified_error(system)
    kind = "rank-one family" if isinstance(system, Damped) else DENSE
    base = {"init": label, "kind": kind, "readout": readout, "n": n}
    row = base | {"quantity": STRONG, "error": bracket.low, "high": bracket.high}
    rows = [row | {"omega": bracket.omega} | _predicted(strong(system), n)]
    signals = [parse_input(text, n) for text in inputs]
    axis = quadrature(system, signals)
    for signal in signals:
        row = base | {
            "quantity": signal.name,
            "error": float(np.sqrt(axis.integral(signal))),
            "omega": signal.value if signal.kind == "mode" else np.nan,
        }
        rows.append(row | _predicted(weak(system, signal), n))
    return rows


def _predicted(expected: Prediction, n: int) -> dict[str, object]:
    return {
        "predicted": expected.constant * n**expected.rate,
        "predicted_rate": expected.rate,
        "status": expected.status,
        "bound": expected.bound,
    }


def fit(errors: pd.DataFrame) -> pd.DataFrame:
    """Return one row per (init, quantity): the rate with its interval, and the last prediction.

    ratio: error over prediction at the largest n (at most 1 if the prediction is a bound).
    """
    rows = []
    for (label, quantity), group in errors.groupby(["init", "quantity"], sort=False):
        last = group.iloc[-1]
        n, error = (group[name].to_numpy(np.float64) for name in ("n", "error"))
        rate, low, high, points = slope(n, error, ROUNDING if last["kind"] == DENSE else 0.0)
        rows.append(
            {
                "init": label,
                "quantity": quantity,
                "largest_n": int(last["n"]),
                "error": float(last["error"]),
                "rate": rate,
                "rate_low": low,
                "rate_high": high,
                "points": points,
                "predicted_rate": float(last["predicted_rate"]),
                "ratio": float(last["error"] / last["predicted"]),
                "bound": bool(last["bound"]),
                "status": str(last["status"]),
            }
        )
    return pd.DataFrame(rows)


def slope(
    n: FloatArray, error: FloatArray, rounding: float = 0.0
) -> tuple[float, float, float, int]:
    """Return the slope of log error against log n over the larger half, its 95% interval, points.

    At least three points if there are that many; NaN if fewer than two are above `rounding`,
    and no interval from two.
    """
    half = max(3, (len(n) + 1) // 2)
    kept = (error > rounding) & (np.arange(len(n)) >= len(n) - half)
    count = int(kept.sum())
    if count < 2:
        return np.nan, np.nan, np.nan, count
    return *line(np.log(n[kept]), np.log(error[kept])), count


def line(x: FloatArray, y: FloatArray) -> tuple[float, float, float]:
    """Return the least-squares slope and its 95% t interval, which two points do not have (NaN)."""
    fit = stats.linregress(x, y)
    half = stats.t.ppf(0.975, len(x) - 2) * fit.stderr if len(x) > 2 else np.nan
    return float(fit.slope), float(fit.slope - half), float(fit.slope + half)
