"""Errors against the state size: strong (sup over frequencies) and weak (one input each).

One figure, one panel per quantity, one line per initialisation; predictions as thin dotted lines.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from robustssm.evaluations.initializations.convergence import STRONG, Rates
from robustssm.figures import style
from robustssm.figures.looks import looks

TITLES = {
    STRONG: "strong: sup over ω",
    "impulse": "impulse",
    "exp": "u = e⁻ᵗ",
    "box": "u = 1 on [0, 1]",
    "spike": "u = e⁻ᵗ cos(ω₁t), S4D's top spike",
}
# Decades shown below the largest error of a panel.
DECADES = 11


def data(result: Rates) -> pd.DataFrame:
    """Return one row per (init, quantity, n): error, high, predicted, rate of the fit."""
    fits = result.fits[["init", "quantity", "rate", "rate_low", "rate_high"]]
    return result.errors.merge(fits, on=["init", "quantity"], how="left", validate="many_to_one")


def title(quantity: str) -> str:
    """Return a panel's title."""
    kind, _, value = quantity.partition(":")
    if kind == "decay":
        return f"|û| = O(1 / |s|{value.translate(style.SUPERSCRIPT)})"
    if kind == "mode":
        return f"u = e⁻ᵗ cos({value} t)"
    return TITLES[quantity]


def draw(frame: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Draw one panel per quantity, in the order of the frame."""
    for panel, (quantity, group) in zip(axes, frame.groupby("quantity", sort=False), strict=True):
        systems = group.groupby("init", sort=False)
        for line, (name, rows) in zip(looks(group["init"].unique()), systems, strict=True):
            properties = line | {"markersize": 3}
            panel.loglog(rows["n"], rows["error"], label=str(name), **properties)
            dotted = {"color": "0.25", "linestyle": ":", "linewidth": 0.9, "zorder": 4.5}
            panel.loglog(rows["n"], rows["predicted"], **dotted)
        largest = float(group["error"].max())
        lowest = max(0.3 * float(group["error"].min()), largest * 10.0**-DECADES)
        sizes = sorted(set(group["n"]))
        panel.set(ylim=(lowest, 3.0 * largest), title=title(str(quantity)))
        panel.set(xlabel="state size n", ylabel="error against HiPPO")
        style.label_sizes(panel, sizes[:: -int(np.ceil(len(sizes) / 4))][::-1])


def draw_all(result: Rates, folder: Path) -> list[Path]:
    """Write `convergence` to `folder` as pdf, png and csv; return the three paths."""
    frame = data(result)
    with style.style():
        figure, axes = style.panels(frame["quantity"].nunique(), 3, 2.1, 0.9)
        draw(frame, axes)
        style.footnote(
            figure,
            f"Convergence to HiPPO, readout {result.readout}: sup |G - G_HiPPO| (certified to 1e-9 "
            "relative) and ‖(G - G_HiPPO) u‖₂ (Parseval); dotted: prediction (a bound for the sup "
            "of tau < 1)",
        )
        style.legend(figure, axes)
        return style.save(figure, frame, Path(folder) / "convergence", "robustssm theory converge")
