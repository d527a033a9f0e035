"""Fig. 1 of arXiv 2310.01698: the spikes of |G_Diag|, and the last of them from near by."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from robustssm.evaluations.paper.fig1 import DIAG, HIPPO, LOG, RESOLVED
from robustssm.evaluations.paper.reproduction import Tables
from robustssm.figures.looks import look
from robustssm.figures.paper.saving import Drawings, Drawn
from robustssm.figures.style import OMEGA, label_powers, legend, new_figure
from robustssm.figures.transfer import extremes

# Half-widths (1/2 rad per unit time) of the last spike to either side in the right panel.
WINDOW = 8.0
# Below this size a log grid of 10,000 points resolves the last spike, and is left out.
RESOLVABLE = 64


def data(tables: Tables) -> pd.DataFrame:
    """Return init, n, omega, magnitude, grid, readout; resolved curves thinned to extremes."""
    parts = [
        extremes(rows.assign(system=name), "magnitude").drop(columns="system")
        for (name, *_), rows in tables["curves"].groupby(["init", "n", "grid"], sort=False)
    ]
    return pd.concat(parts, ignore_index=True)


def near(tables: Tables) -> pd.DataFrame:
    """Return the last spike of each n: omega - omega_1, magnitude, n, grid, readout.

    Only stored points within 8 half-widths.
    """
    frame, peaks = tables["curves"], tables["peaks"]
    frame = frame[frame["init"] == DIAG]
    centre = peaks[peaks["rank"] == 1].set_index("n")["omega"]
    offset = frame["omega"] - frame["n"].map(centre)
    frame = frame.assign(offset=offset)
    return frame[offset.abs() <= 0.5 * WINDOW].sort_values(["n", "offset"], ignore_index=True)


def draw(frame: pd.DataFrame, zoom: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Draw the frames of `data` and `near` on two axes."""
    sizes = sorted(frame.loc[frame["init"] == DIAG, "n"].unique())
    shades = matplotlib.colormaps["plasma"](np.linspace(0.05, 0.85, len(sizes)))
    colour = dict(zip(sizes, shades, strict=True))
    left, right = axes
    for (name, n, grid), rows in frame.groupby(["init", "n", "grid"], sort=False):
        rows = rows.sort_values("omega")
        if name == DIAG and grid == RESOLVED:
            left.loglog(
                rows["omega"], rows["magnitude"], color=colour[n], linewidth=0.7, zorder=2.4
            )
        elif name == DIAG and n == sizes[-1]:
            label = f"G_Diag, n = {n}, log grid"
            line = {"color": "black", "linewidth": 0.5, "linestyle": ":", "zorder": 2.6}
            left.loglog(rows["omega"], rows["magnitude"], label=label, **line)
        elif name == DIAG:
            continue
        else:
            label = "S4 (HiPPO)" if name == HIPPO else f"{name}, n = {n}"
            line = look(str(name)) | {"marker": "", "linewidth": 2.0 if name == HIPPO else 1.2}
            left.loglog(rows["omega"], rows["magnitude"], label=label, **line)
    for n, rows in zoom.groupby("n"):
        fine = rows[rows["grid"] == RESOLVED]
        right.plot(fine["offset"], fine["magnitude"], color=colour[n], label=f"n = {n}")
        coarse = rows[rows["grid"] == LOG]
        if n >= RESOLVABLE:
            right.plot(coarse["offset"], coarse["magnitude"], "kx", zorder=5, markersize=4)
    readout = frame["readout"].iloc[0]
    label_powers(left.xaxis, left.yaxis)
    left.set(xlabel=OMEGA, ylabel="|G(iω)|")
    left.set_title(f"|G_Diag| (colours), readout {readout}; spikes resolved")
    right.set(xlabel="ω - ω₁ (rad per unit time)", ylim=(0.0, None))
    right.set_title("Last spike, ω₁ ≈ n²/π; crosses: log grid, n ≥ 64")


def drawn(tables: Tables) -> Drawings:
    """Yield fig1 and the data fig1-last-spikes."""
    frame, zoom = data(tables), near(tables)
    figure, axes = new_figure(height=3.6, columns=2)
    draw(frame, zoom, axes)
    legend(figure, axes)
    yield Drawn("fig1", figure, frame)
    yield Drawn("fig1-last-spikes", None, zoom)
