"""The transfer functions of the initialisations: |G|, |G - G_HiPPO|, and both errors against n.

Three figures from one `TransferResult`: `transfer`, `error` and `convergence`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from robustssm.errors import require_one_of
from robustssm.evaluations.initializations.transfer import HIPPO, TransferResult
from robustssm.figures import style
from robustssm.figures.looks import looks

FIGURES = ("transfer", "error", "convergence")
# Buckets of log omega; each keeps its lowest and highest point, so that no spike is lost.
BUCKETS = 2000
# The lowest omega shown; a sup attained at omega = 0 is marked there.
LOWEST = 1e-2
# Decades of error that are shown below the largest one.
DECADES = 7
HEIGHT = 3.6
# State sizes labelled on an axis of half a page; beyond, every second one.
MAX_LABELS = 8


def data(result: TransferResult, figure: str = "transfer") -> pd.DataFrame:
    """Return what a figure shows, tidy.

    transfer, error: system, label, omega, magnitude or error, n, readout, grid_points (searched),
    sup_error, sup_omega; thinned to the extremes of 2000 buckets of omega in [1e-2, 10 n^2].
    convergence: system, label, n, sup_error, sup_omega, weak_error, readout.
    """
    require_one_of("transfer: figure", figure, FIGURES)
    if figure == "convergence":
        return result.frames["convergence"]
    column = "magnitude" if figure == "transfer" else "error"
    frame = result.frames["curves"]
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


def draw(frame: pd.DataFrame, axes: Sequence[Axes], figure: str = "transfer") -> None:
    """Draw the frame of `data`: on one axes, or on two (strong, weak) for `convergence`."""
    require_one_of("transfer: figure", figure, FIGURES)
    if figure == "convergence":
        _draw_convergence(frame, axes[0], axes[1])
        return
    _draw_curves(frame, axes[0], "magnitude" if figure == "transfer" else "error")


def _draw_curves(frame: pd.DataFrame, axes: Axes, column: str) -> None:
    """Draw `magnitude`, or `error` with its certified sup marked, against omega."""
    errors = column == "error"
    for system, label, rows, chosen in _systems(frame):
        line = chosen | {"marker": ""}
        if system != HIPPO:
            line |= {"linewidth": 0.8 if system == "s4d" else 1.2}
        sup, at = rows["sup_error"].iloc[0], rows["sup_omega"].iloc[0]
        # A label's end in brackets, which names the like of it, stands in the figure of G.
        name = f"{label.partition(' (=')[0]}: {sup:.3g} at ω = {at:.4g}" if errors else label
        axes.loglog(rows["omega"], rows[column], label=name, **line)
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


def _draw_convergence(frame: pd.DataFrame, strong: Axes, weak: Axes) -> None:
    for _, label, rows, properties in _systems(frame):
        strong.loglog(rows["n"], rows["sup_error"], label=label, **properties)
        weak.loglog(rows["n"], rows["weak_error"], label=label, **properties)
    for axes in (strong, weak):
        style.label_sizes(axes, _labelled(sorted(set(frame["n"]))))
        axes.set_xlabel("state size n")
    readout = frame["readout"].iloc[0]
    strong.set_ylabel(r"$\sup_\omega |G_{\mathrm{init}} - G_{\mathrm{HiPPO}}|$")
    weak.set_ylabel(r"$\|(G_{\mathrm{init}} - G_{\mathrm{HiPPO}})\,u\|_2$, $u = e^{-t}$")
    strong.set_title(f"Strong: worst frequency, readout {readout}, certified to 1e-9 relative")
    weak.set_title(f"Weak: one smooth input, readout {readout}, quadrature with resolved poles")


def _systems(frame: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame, style.Look]]:
    return [
        (str(system), str(rows["label"].iloc[0]), rows, chosen)
        for chosen, (system, rows) in zip(
            looks(frame["system"].unique()), frame.groupby("system", sort=False), strict=True
        )
    ]


def _labelled(sizes: list[int]) -> list[int]:
    """Return the sizes whose labels fit: n, and the powers of two clear of it and each other."""
    powers = [n for n in sizes[:-1] if 1.5 * n < sizes[-1]]
    return [*(powers if len(sizes) <= MAX_LABELS else powers[-2::-2][::-1]), sizes[-1]]


def draw_all(result: TransferResult, folder: Path) -> list[Path]:
    """Write the three figures to `folder` as pdf, png and csv; return the nine paths.

    Where nothing differs from HiPPO only `transfer` has something to show, and is written.
    """
    paths = []
    for figure in FIGURES:
        frame = data(result, figure)
        if frame.empty:
            continue
        with style.style():
            canvas, axes = style.new_figure(
                height=HEIGHT, columns=2 if figure == "convergence" else 1
            )
            draw(frame, axes, figure)
            style.legend(canvas, axes)
            paths += style.save(canvas, frame, Path(folder) / figure, "robustssm transfer")
    return paths
