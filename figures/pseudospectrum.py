"""Pseudospectra side by side: log10 sigma_min(zI - M), eigenvalues and numerical range."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustssm.evaluations.initializations.pseudospectrum import PseudospectrumResult
from robustssm.figures.style import PAGE, panels, save, style
from robustssm.typing import FloatArray

# Levels of log10 sigma_min: fine where the matrices differ, coarse in the depths of HiPPO, where
# the first of these steps is taken that leaves at most so many levels.
STEPS = (-10.0, -5.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0)
DEPTHS, MAX_DEEP = (10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0), 5
# A level is labelled where its two bands cover this share of a panel; elsewhere lines crowd.
LABELLED = 0.06
# Pale enough for black lines, dark enough for the levels to differ in greyscale.
PALEST, DARKEST = 0.02, 0.62
PANELS_A_ROW = 3
LABEL_SIZE = 6.0


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


def levels(frame: pd.DataFrame) -> FloatArray:
    """Return the levels of log10 sigma_min within the frame's range, ascending, two at least."""
    values = frame["log10_sigma"].to_numpy(dtype=np.float64)
    values = values[np.isfinite(values)]
    low, high = values.min(), values.max()
    step = next((d for d in DEPTHS if -low / d <= MAX_DEEP + 1), DEPTHS[-1])
    deep = -step * np.arange(np.floor(max(0.0, -low) / step), 10.0 / step, -1.0)
    known = np.unique([*deep, *STEPS])
    inside = known[(known > low) & (known < high)]
    return inside if len(inside) > 1 else np.linspace(low, low + max(high - low, 1e-3), 6)[1:-1]


def draw(frame: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Draw one initialisation of the frame of `data` on each of `axes`, on one scale."""
    steps = levels(frame)
    shades = colormaps["Blues_r"](np.linspace(1.0 - DARKEST, 1.0 - PALEST, len(steps) + 1))
    look = ListedColormap(list(shades[1:-1])).with_extremes(under=shades[0], over=shades[-1])
    norm = BoundaryNorm(steps, max(1, len(steps) - 1))
    for panel, (name, rows) in zip(axes, frame.groupby("init", sort=False), strict=True):
        grid = rows[rows["kind"] == "grid"]
        x, y = grid["re"].unique(), grid["im"].unique()
        field = grid["log10_sigma"].to_numpy(dtype=np.float64).reshape(len(y), len(x))
        # At an eigenvalue the field is -inf: drawn as the darkest shade.
        field = np.maximum(field, 2.0 * min(steps[0], -1.0))
        panel.contourf(x, y, field, levels=steps, cmap=look, norm=norm, extend="both")
        lines = panel.contour(
            x, y, field, levels=steps, colors="0.15", linewidths=0.5, linestyles="solid"
        )
        around = np.concatenate([[-np.inf], steps, [np.inf]])
        share = np.histogram(field, around)[0] / field.size
        roomy = steps[share[1:] + share[:-1] > LABELLED]
        shown = [level for level in roomy if field.min() < level < field.max()]
        panel.clabel(lines, levels=shown, fontsize=LABEL_SIZE, fmt="%g", inline_spacing=2)
        _overlay(panel, rows)
        panel.set_xlim(x[0], x[-1])
        panel.set_ylim(y[0], y[-1])
        panel.set_aspect("equal")
        panel.grid(visible=False)
        panel.locator_params(axis="x", nbins=4)
        panel.set_title(f"{name}\n{grid['accuracy'].iloc[0]}")
        panel.set_xlabel("Re z (per unit time)")
        place = panel.get_subplotspec()
        if place is None or place.is_first_col():
            panel.set_ylabel("Im z (rad per unit time)")
    _shared(frame, axes, ScalarMappable(norm, look), steps)


def _overlay(panel: Axes, rows: pd.DataFrame) -> None:
    """Draw the imaginary axis, the numerical range and the eigenvalues."""
    panel.axvline(0.0, color="0.35", linewidth=0.8, linestyle=":")
    edge = rows[rows["kind"] == "boundary"].drop_duplicates(["re", "im"])
    # A segment, that of a normal matrix, is drawn once, a closed curve to its end.
    edge = pd.concat([edge, edge.iloc[:1]]) if len(edge) > 2 else edge
    panel.plot(edge["re"], edge["im"], color="#C1272D", linewidth=1.2, linestyle="--")
    poles = rows[rows["kind"] == "eigenvalue"]
    panel.plot(poles["re"], poles["im"], color="black", linestyle="", marker=".", markersize=2.5)


def _shared(
    frame: pd.DataFrame, axes: Sequence[Axes], scale: ScalarMappable, steps: FloatArray
) -> None:
    """Add what the panels share: title, scale and key."""
    figure = axes[0].get_figure(root=True)
    assert isinstance(figure, Figure)
    place: dict[str, Any] = {"fraction": 0.04, "aspect": 30}
    bar = figure.colorbar(scale, ax=list(axes), extend="both", ticks=steps, **place)
    bar.ax.set_yticklabels([f"{step:g}" for step in steps])
    bar.ax.minorticks_off()
    bar.set_label(r"$\log_{10}\,\sigma_{\min}(zI - M)$")
    n, size = frame["n"].iloc[0], frame["grid"].iloc[0]
    figure.suptitle(
        f"Pseudospectra, n = {n}, grid {size}: log₁₀ of the smallest perturbation that makes z an "
        "eigenvalue",
        fontsize=8.5,
        x=0.01,
        ha="left",
    )
    handles = [
        Line2D([], [], color="black", linestyle="", marker=".", label="eigenvalues"),
        Line2D([], [], color="#C1272D", linestyle="--", label="boundary of the numerical range"),
        Line2D([], [], color="0.35", linestyle=":", label="imaginary axis"),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=3)


def draw_all(result: PseudospectrumResult, folder: Path) -> list[Path]:
    """Write `pseudospectrum` to `folder` as pdf, png and csv; return the three paths."""
    frame = data(result)
    count = len(result.systems)
    columns = -(-count // -(-count // PANELS_A_ROW))
    left, right, bottom, top = result.window
    # Panels of equal aspect, neither flat nor taller than the page is wide.
    height = float(np.clip((PAGE - 1.6) / columns * (top - bottom) / (right - left), 1.6, 4.5))
    with style():
        figure, axes = panels(count, columns, height + 0.6, 0.7)
        draw(frame, axes)
        return save(
            figure, frame, Path(folder) / "pseudospectrum", "robustssm theory pseudospectrum"
        )
