"""Fig. 1 of arXiv 2310.01698: |G_Diag(i omega)| and its spikes, resolved and on a log grid.

The spikes stand at the eigenfrequencies y_1 > y_2 > ... of the normal part, about
n^2 / ((2k-1) pi), and have half-width 1/2 at every n: a log grid misses them from some n on. omega
in rad per unit of the system's own time.
"""

import numpy as np
import pandas as pd

from robustssm.errors import StabilityError, UsageError
from robustssm.evaluations.initializations.norms import frequency_grid, refine
from robustssm.evaluations.initializations.readouts import read_readout
from robustssm.evaluations.initializations.responses import response
from robustssm.evaluations.paper import reproduction
from robustssm.hippo.initializations import parse
from robustssm.hippo.spectrum import spikes
from robustssm.typing import FloatArray

DIAG, HIPPO = "s4d", "s4"
RESOLVED, LOG = "resolved", "log grid"
# Spikes that are followed, from the highest frequency down.
COUNT = 5
# Offsets at which the last spike is drawn: eight half-widths to either side.
NEAR = np.linspace(-4.0, 4.0, 161)


def log_grid(points: int, decades: int) -> FloatArray:
    """Return `points` frequencies from 1 to 10^decades, evenly spaced in log omega."""
    return np.geomspace(1.0, 10.0**decades, points)


def curves(context: reproduction.Context) -> pd.DataFrame:
    """Return |G| of the diagonal system at every size, and of HiPPO and PTD at one.

    Columns init, n, omega, magnitude, grid, readout. On the resolved grid stand every pole and
    every spike with both flanks. What does not exist at that size is left out.
    """
    settings, readout = context.settings, context.settings["readout"]
    points = log_grid(settings["points"], settings["decades"])
    others = [(name, settings["ptd_size"]) for name in (HIPPO, *settings["ptd"])]
    parts = []
    for name, n in [*((DIAG, n) for n in settings["sizes"]), *others]:
        try:
            system = response(parse(name), read_readout(readout, n))
        except (UsageError, StabilityError):
            continue
        own = [frequency_grid(n, system.poles), spikes(n, 1)[0] + NEAR, points]
        resolved = np.unique(np.concatenate(own))
        grids = {RESOLVED: resolved} | ({LOG: points} if name == DIAG else {})
        for grid, omega in grids.items():
            kept = omega[(omega >= 1.0) & (omega <= points[-1])]
            magnitude = np.abs(system.transfer(kept))
            part = {"init": name, "n": n, "omega": kept, "magnitude": magnitude, "grid": grid}
            parts.append(pd.DataFrame(part).assign(readout=readout))
    return pd.concat(parts, ignore_index=True)


def peaks(context: reproduction.Context) -> pd.DataFrame:
    """Return the highest five spikes of |G_Diag| at every size.

    Columns n, rank, eigenfrequency, omega and height (of the local maximum), hippo (|G_DPLR|
    there), log_height (the most that the log grid shows between the midpoints to the neighbours,
    NaN if no point falls there), log_points, readout.
    """
    settings, readout = context.settings, context.settings["readout"]
    points = log_grid(settings["points"], settings["decades"])
    rows = []
    for n in settings["sizes"]:
        C = read_readout(readout, n)
        system, exact = response(parse(DIAG), C), response(parse(HIPPO), C)
        y = spikes(n, min(COUNT + 1, n // 2))
        ranks = np.arange(min(COUNT, len(y) - 1))
        middle = 0.5 * (y[:-1] + y[1:])
        # Three points a spike, within its half-width 1/2: the flanks and the top between them.
        omega = (y[ranks, None] + np.array([-0.5, 0.0, 0.5])).ravel()
        order = np.argsort(omega)
        top = np.flatnonzero(np.isin(omega[order], y[ranks]))[::-1]
        start = np.abs(system.transfer(omega[order][top]))
        at, height = refine(lambda w: np.abs(system.transfer(w)), omega[order], top, start)  # noqa: B023
        seen = np.abs(system.transfer(points))
        for k in ranks:
            low, high = middle[k], middle[k - 1] if k else 2.0 * y[0] - middle[0]
            inside = (points >= low) & (points <= high)
            rows.append(
                {
                    "n": n,
                    "rank": int(k) + 1,
                    "eigenfrequency": y[k],
                    "omega": at[k],
                    "height": height[k],
                    "hippo": float(np.abs(exact.transfer(at[k : k + 1]))[0]),
                    "log_height": float(seen[inside].max()) if inside.any() else np.nan,
                    "log_points": len(points),
                    "readout": readout,
                }
            )
    return pd.DataFrame(rows)


def findings(tables: reproduction.Tables) -> list[reproduction.Finding]:
    """Return the height and place of the last spike, and what the log grid shows of it."""
    rows = tables["peaks"]
    last = rows[rows["rank"] == 1].sort_values("n")
    largest = last.iloc[-1]
    heights, places = last["height"], last["omega"] / last["n"] ** 2
    shown = (last["log_height"] / last["height"]).to_numpy(np.float64)
    missed = last["n"][~(shown > 0.5)]
    ratio = float(largest["height"] / largest["hippo"])
    at = f"n = {last['n'].min()} to {largest['n']}"
    from_n = f"; below half from n = {int(missed.min())} on" if len(missed) else ""
    drawn = "no number; drawn without gaps [r]"
    return [
        reproduction.finding(
            f"height of the last spike, {at}",
            f"{heights.min():.4f} to {heights.max():.4f} for readout {largest['readout']}",
            (
                "the same at every n; about 1 in its own scale [r]",
                reproduction.agrees(float(heights.max() / heights.min() - 1.0) < 0.1),
            ),
        ),
        reproduction.finding(
            "place of the last spike / n^2",
            f"{places.min():.4f} to {places.max():.4f}; 1 / pi = {1 / np.pi:.4f}",
            ("constant: of order n^2 [r]", reproduction.agrees(places.max() / places.min() < 1.1)),
        ),
        reproduction.finding(
            f"|G_Diag| / |G_DPLR| at the last spike, n = {largest['n']}",
            f"{ratio:.4g}",
            ("no convergence in the sup norm [s]", reproduction.agrees(ratio > 10.0)),
        ),
        reproduction.finding(
            f"share of the last spike on a log grid of {largest['log_points']:,} points",
            f"{np.nan_to_num(shown).min():.2g} at worst{from_n}",
            (drawn, reproduction.DIFFERS) if len(missed) else None,
            drawn,
        ),
    ]


_COMMON: dict[str, object] = {
    "ptd": ["s4ptd", "s4ptd-rank1"],
    "points": 10_000,
    "decades": 8,
    "readout": "e0",
}
_KEYS = ("sizes", "points", "decades", "readout")
REPRODUCTION = reproduction.Reproduction(
    name="fig1",
    shows="|G_Diag| and its spikes for several n, beside HiPPO and PTD",
    steps=(reproduction.Step("curves", curves), reproduction.Step("peaks", peaks, uses=_KEYS)),
    quick=_COMMON | {"sizes": [16, 64, 256], "ptd_size": 32},
    full=_COMMON | {"sizes": [16, 32, 64, 128, 256, 1024, 4096, 10_000], "ptd_size": 64},
    findings=findings,
)
