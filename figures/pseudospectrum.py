"""Pseudospectra side by side: log10 sigma_min(zI - M), eigenvalues and numerical range."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from robustssm.evaluations.initializations.pseudospectrum import PseudospectrumResult
from robustssm.figures.style import NOTE, PAGE, Look, footnote, key, panels, save, style
from robustssm.typing import FloatArray

# Decades below the largest log10 sigma_min that have shades, and the most levels of these and of
# the lines in the depths of HiPPO below them.
SHADED, MOST, DEEP = 5.0, 12, 5
PANELS_A_ROW = 3
# Red is on no scale of these shades.
EDGE, AXIS = "#FF3B30", "0.6"


def data(result: PseudospectrumResult) -> pd.DataFrame:
    """Return what the figure shows, tidy.

    init, kind (`grid`, row by row; `eigenvalue`; `boundary` of the numerical range, in order),
    re, im, log10_sigma (NaN but on the grid; -inf at an eigenvalue), n, grid, accuracy.
    """
    parts = []
    for name, known in result.systems.items():
        re, im = np.meshgrid(known.real, known.imag)
        poles = known.matrix.eigenvalues
        size = f"{len(known.real)} x {len(known.imag)}"
        shown = {
            "grid": (re.ravel(), im.ravel(), known.log10_sigma.ravel()),
            "eigenvalue": (poles.real, poles.imag, np.nan),
            "boundary": (known.boundary.real, known.boundary.imag, np.nan),
        }
        for kind, (x, y, logs) in shown.items():
            part = {"init": name, "kind": kind, "re": x, "im": y, "log10_sigma": logs}
            part |= {"n": result.n, "grid": size, "accuracy": known.accuracy}
            parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


def levels(frame: pd.DataFrame) -> tuple[FloatArray, FloatArray]:
    """Return levels of log10 sigma_min, ascending in equal steps: shaded ones, and lines below."""
    values = frame["log10_sigma"].to_numpy(dtype=np.float64)
    values = values[np.isfinite(values)]
    low, high = values.min(), max(values.max(), values.min() + 1e-3)
    shown = max(low, high - SHADED)
    steps = MaxNLocator(MOST, steps=[1, 2, 2.5, 5, 10]).tick_values(shown, high)
    deep = MaxNLocator(DEEP, steps=[1, 2, 5, 10]).tick_values(low, shown)
    steps = steps[(steps > low) & (steps < high)]
    return steps, deep[(deep > low) & (deep < steps[0])]


def draw(frame: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Draw one initialisation of the frame of `data` on each of `axes`, on one scale."""
    steps, deep = levels(frame)
    look = colormaps["viridis"].resampled(len(steps) + 1)
    norm = BoundaryNorm(steps, len(steps) + 1, extend="both")
    for panel, (name, rows) in zip(axes, frame.groupby("init", sort=False), strict=True):
        grid = rows[rows["kind"] == "grid"]
        x, y = grid["re"].unique(), grid["im"].unique()
        field = grid["log10_sigma"].to_numpy(dtype=np.float64).reshape(len(y), len(x))
        # At an eigenvalue the field is -inf: drawn as the darkest shade.
        field = np.maximum(field, 2.0 * min([*deep, *steps, -1.0]))
        panel.contourf(x, y, field, levels=steps, cmap=look, norm=norm, extend="both")
        thin: Look = {"linewidths": 0.4, "linestyles": "solid"}
        panel.contour(x, y, field, levels=steps, colors="0.25", **thin)
        if len(deep):
            lines = panel.contour(x, y, field, levels=deep, colors="white", **thin)
            for label in panel.clabel(lines, fontsize=NOTE, fmt="%g") or ():
                label.set_rotation(0.0)
        _overlay(panel, rows)
        panel.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), aspect="equal")
        panel.grid(visible=False)
        panel.locator_params(axis="x", nbins=4)
        panel.set_title(f"{name}\n{grid['accuracy'].iloc[0]}")
        panel.set(xlabel="Re z (per unit time)", ylabel="Im z (rad per unit time)")
    _shared(frame, axes, ScalarMappable(norm, look))


def _overlay(panel: Axes, rows: pd.DataFrame) -> None:
    panel.axvline(0.0, color=AXIS, linewidth=0.8, linestyle=":")
    edge = rows[rows["kind"] == "boundary"].drop_duplicates(["re", "im"])
    # A segment, that of a normal matrix, is drawn once, a closed curve to its end.
    edge = pd.concat([edge, edge.iloc[:1]]) if len(edge) > 2 else edge
    panel.plot(edge["re"], edge["im"], color=EDGE, linewidth=1.2, linestyle="--")
    poles = rows[rows["kind"] == "eigenvalue"]
    panel.plot(poles["re"], poles["im"], color="black", linestyle="", marker=".", markersize=2.5)


def _shared(frame: pd.DataFrame, axes: Sequence[Axes], scale: ScalarMappable) -> None:
    figure = axes[0].get_figure(root=True)
    assert isinstance(figure, Figure)
    label = r"$\log_{10}\,\sigma_{\min}(zI - M)$"
    figure.colorbar(scale, ax=list(axes), location="top", aspect=40, shrink=0.8, label=label)
    n, size = frame["n"].iloc[0], frame["grid"].iloc[0]
    footnote(
        figure,
        f"Pseudospectra, n = {n}, grid {size}: log10 of the smallest perturbation that makes z an "
        "eigenvalue; white lines: levels below the scale",
    )
    black: Look = {"color": "black", "linestyle": "", "marker": "."}
    named = {
        "eigenvalues": Line2D([], [], **black),
        "boundary of the numerical range": Line2D([], [], color=EDGE, linestyle="--"),
        "imaginary axis": Line2D([], [], color=AXIS, linestyle=":"),
    }
    key(figure, named, 3)


def draw_all(result: PseudospectrumResult, folder: Path) -> list[Path]:
    """Write `pseudospectrum` to `folder` as pdf, png and csv; return the three paths."""
    frame = data(result)
    count = len(result.systems)
    columns = -(-count // -(-count // PANELS_A_ROW))
    left, right, bottom, top = result.window
    # Panels of equal aspect, neither flat nor taller than the page is wide.
    height = float(np.clip((PAGE - 1.6) / PANELS_A_ROW * (top - bottom) / (right - left), 1.6, 4.5))
    with style():
        figure, axes = panels(count, columns, height + 0.6, 1.7)
        draw(frame, axes)
        return save(
            figure, frame, Path(folder) / "pseudospectrum", "robustssm theory pseudospectrum"
        )
