"""kappa(V) against the error of the worst unit readout, one panel per size (`ptd --study`)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from robustssm.errors import UsageError
from robustssm.evaluations.table_files import write_csv
from robustssm.figures.looks import look
from robustssm.figures.style import Look, footnote, label_powers, legend, panels, save, style

STEM = "ptd-trade-off"
# Panels beside one another.
COLUMNS = 3
# One marker per method; fills from white to black tell them apart in grey. Methods that are
# initialisations as well have their colours.
LOOKS: dict[str, Look] = {
    "rank1": {"marker": "o", "color": look("s4ptd-rank1")["color"]},
    "clipped": {"marker": "P", "color": "#117733", "markersize": 6},
    "corner": {"marker": "s", "color": "#56B4E9"},
    "random": {"marker": "X", "color": look("s4ptd-random")["color"]},
    "optimized": {"marker": "v", "color": look("s4ptd")["color"], "markersize": 7},
    "given": {"marker": "D", "color": "#C1272D"},
}
LABELS = {
    "rank1": "rank-one family",
    "rank1-kept": "rank-one, B not rescaled",
    "clipped": "rank-one, clipped",
    "corner": "one corner entry",
    "random": "random",
    "optimized": "paper's objective, stable",
    "given": "given matrix",
}


def data(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what the figure shows, tidy: n, method, settings, kappa, worst_error, stable, pareto.

    Rows without kappa (a method that does not exist at a size) are left out. `method` ends in
    `-kept` if the input matrix is HiPPO's though the method rescales it.
    """
    columns = ["n", "method", "settings", "kappa", "relative_norm", "worst_error", "stable"]
    if "kappa" not in rows or rows["kappa"].dropna().empty:
        raise UsageError("ptd study: no row has a condition number, expected at least one")
    frame = rows.dropna(subset=["kappa"]).reindex(columns=[*columns, "pareto"])
    kept = frame["settings"].str.contains("B kept", regex=False)
    frame["method"] = frame["method"].where(~kept, frame["method"] + "-kept")
    frame["stable"] = frame["stable"].astype(bool)
    return frame.reset_index(drop=True)


def draw(frame: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Draw one panel per state size."""
    sizes = sorted(set(frame["n"]))
    kappa, error = frame["kappa"], frame["worst_error"].dropna()
    for panel, n in zip(axes, sizes, strict=True):
        rows = frame[frame["n"] == n]
        _panel(panel, rows)
        limits = (0.7 * kappa.min(), 2.0 * kappa.max())
        panel.set(title=f"n = {n}", xlabel="κ(V)", xlim=limits)
        if len(error):
            panel.set_ylim(0.4 * error.min(), 8.0 * error.max())
        label_powers(panel.xaxis, panel.yaxis)
    for panel in axes[::COLUMNS]:
        panel.set_ylabel(r"$\sup_\omega \|x_E(i\omega) - x(i\omega)\|_2$")


def _panel(axes: Axes, rows: pd.DataFrame) -> None:
    front = rows[rows["pareto"].astype(bool)].sort_values("kappa")
    axes.loglog(front["kappa"], front["worst_error"], color="0.6", linewidth=1.0, label="_front")
    for method, of_method in rows.groupby("method", sort=False):
        base = str(method).split("-")[0]
        look: Look = {"markersize": 5.0, "linestyle": ""} | LOOKS[base]
        fill = "white" if base != method else look["color"]
        filled = look | {"markerfacecolor": fill, "zorder": 3, "label": LABELS[str(method)]}
        stable = of_method[of_method["stable"]]
        axes.loglog(stable["kappa"], stable["worst_error"], **filled)
        unstable = of_method[~of_method["stable"]]
        if len(unstable):
            hollow = look | {"markerfacecolor": "none", "label": f"_{method} unstable"}
            margin = np.full(len(unstable), 0.97)
            axes.plot(unstable["kappa"], margin, transform=axes.get_xaxis_transform(), **hollow)


def draw_all(rows: pd.DataFrame, folder: Path) -> list[Path]:
    """Write the figure as pdf, png and csv, and every column as study.csv; return the paths."""
    frame = data(rows)
    with style():
        figure, axes = panels(frame["n"].nunique(), COLUMNS, 2.6, 1.3)
        draw(frame, axes)
        footnote(
            figure,
            "conditioning bought with error of the worst unit readout, certified to 1e-6 relative; "
            "line: Pareto front; hollow at the upper margin: A + E unstable, no error",
        )
        legend(figure, axes)
        paths = save(figure, frame, Path(folder) / STEM, "robustssm theory ptd --study")
    table = Path(folder) / "study.csv"
    write_csv(table, rows)
    return [*paths, table]
