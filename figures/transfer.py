"""The transfer functions of the initialisations: |G| and |G - G_HiPPO|.

Two figures from one `TransferResult`: `transfer` and `error`.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from robustssm.errors import require_one_of
from robustssm.evaluations.initializations.transfer import HIPPO, TransferResult
from robustssm.figures import style
from robustssm.figures.looks import looks

FIGURES = ("transfer", "error")
# Buckets of log omega; each keeps its lowest and highest point, so that no spike is lost.
BUCKETS = 2000
# The lowest omega shown; a sup attained at omega = 0 is marked there.
LOWEST = 1e-2
# Decades of error that are shown below the largest one.
DECADES = 7


def data(result: TransferResult, figure: str = "transfer") -> pd.DataFrame:
    """Return what a figure shows, tidy.

    transfer, error: system, label, omega, magnitude or error, n, readout, grid_points (searched),
    sup_error, sup_omega; thinned to the extremes of 2000 buckets of omega in [1e-2, 10 n^2].
    """
    require_one_of("transfer: figure", figure, FIGURES)
    column = "magnitude" if figure == "transfer" else "error"
    frame = result.curves
    frame = frame[(frame["omega"] >= LOWEST) & (frame["omega"] <= 10.0 * result.n**2)]
    if figure == "error":
        frame = frame[frame["system"] != HIPPO]
    frame = extremes(frame, column) if len(frame) else frame.copy()
    frame = frame.drop(columns="error" if figure == "transfer" else "magnitude")
    sup = {system: measure.sup for system, measure in result.systems.items()}
    frame["sup_error"] = [sup[system].value for system in frame["system"]]
    frame["sup_omega"] = [sup[system].at for system in frame["system"]]
    return frame.reset_index(drop=True)


def extremes(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the rows with the lowest and highest `column` of every system and bucket."""
    position = np.log(frame["omega"])
    span = position.max() - position.min()
    bucket = ((position - position.min()) / span * BUCKETS).astype(np.int64)
    grouped = frame.groupby([frame["system"], bucket], sort=False)[column]
    rows = np.union1d(grouped.idxmin().to_numpy(), grouped.idxmax().to_numpy())
    return frame.loc[rows].copy()


def draw(frame: pd.DataFrame, axes: Axes) -> None:
    """Draw the frame of `data` against omega; of `error` with its certified sup marked."""
    errors = "error" in frame
    systems = frame.groupby("system", sort=False)
    for chosen, (system, rows) in zip(looks(frame["system"].unique()), systems, strict=True):
        label, line = str(rows["label"].iloc[0]), chosen | {"marker": ""}
        if system != HIPPO:
            line |= {"linewidth": 0.8 if system == "s4d" else 1.2}
        sup, at = rows["sup_error"].iloc[0], rows["sup_omega"].iloc[0]
        # A label's end in brackets, which names the like of it, stands in the figure of G.
        name = f"{label.partition(' (=')[0]}: {sup:.3g} at ω = {at:.4g}" if errors else label
        axes.loglog(rows["omega"], rows["error" if errors else "magnitude"], label=name, **line)
        if errors:
            mark = {"color": chosen["color"], "marker": chosen["marker"], "zorder": 5}
            axes.loglog([max(at, LOWEST)], [sup], linestyle="", markersize=5, clip_on=False, **mark)
    n, readout = int(frame["n"].iloc[0]), frame["readout"].iloc[0]
    low, high = frame["grid_points"].min(), frame["grid_points"].max()
    grid = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    style.label_powers(axes.xaxis, axes.yaxis)
    axes.set(xlim=(LOWEST, float(frame["omega"].max())), xlabel=style.OMEGA)
    axes.axvline(n * n / np.pi, color="0.4", linewidth=0.6, zorder=1.5)
    beside: style.Look = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
    axes.annotate("n²/π", (n * n / np.pi, 0.99), (3, 0), color="0.3", va="top", **beside)
    if errors:
        largest = float(frame["sup_error"].max())
        axes.set_ylim(largest * 10.0**-DECADES, 10.0 * largest)
        axes.set_ylabel(r"$|G_{\mathrm{init}}(i\omega) - G_{\mathrm{HiPPO}}(i\omega)|$")
        axes.set_title(
            f"Distance from HiPPO, n = {n}, readout {readout}. Marked: the sup over ω, certified "
            f"to 1e-9 relative (left edge: ω = 0); {grid} frequencies, every pole among them"
        )
    else:
        axes.set_ylim(top=3.0 * float(frame["magnitude"].max()))
        axes.set_ylabel("|G(iω)|")
        axes.set_title(
            f"Transfer functions of the initialisations, n = {n}, readout {readout}; {grid} "
            "frequencies each, every pole and every S4D spike among them"
        )


def draw_all(result: TransferResult, folder: Path) -> list[Path]:
    """Write the two figures to `folder` as pdf, png and csv; return the paths.

    Where nothing differs from HiPPO only `transfer` has something to show, and is written.
    """
    paths = []
    for figure in FIGURES:
        frame = data(result, figure)
        if frame.empty:
            continue
        with style.style():
            canvas, axes = style.new_figure(height=3.6)
            draw(frame, axes[0])
            style.legend(canvas, axes)
            paths += style.save(canvas, frame, Path(folder) / figure, "robustssm transfer")
    return paths
