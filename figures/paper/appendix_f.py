"""Appendix F of arXiv 2310.01698: errors of the outputs against n, and the outputs in time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from robustssm.figures.paper.panels import panels
from robustssm.figures.paper.saving import save_four
from robustssm.figures.style import label_powers, new_figure, style

COMMAND = "robustssm reproduce appendix-f"
MARKERS = "os^vDPX"


def draw_errors(frame: pd.DataFrame, axes: Axes) -> None:
    """Draw the relative L2 error of the output against n, one line per input."""
    for number, (name, rows) in enumerate(frame.groupby("input", sort=False)):
        marker = MARKERS[number % len(MARKERS)]
        axes.loglog(rows["n"], rows["relative"], marker=marker, label=str(name))
    sizes = sorted(frame["n"].unique())
    label_powers(axes.yaxis)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.minorticks_off()
    axes.set_xlabel("state size n")
    axes.set_ylabel("|y_Diag - y_DPLR|₂ / |y_DPLR|₂")
    axes.set_title(
        f"Output error of the diagonal system, readout {frame['readout'].iloc[0]}\n"
        "modes under the window exp(-t); spike: the mode at ω₁(n)"
    )
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def draw_outputs(frame: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Draw both outputs in time, one panel per input."""
    for panel, (name, rows) in zip(axes, frame.groupby("input", sort=False), strict=True):
        panel.plot(rows["t"], rows["diag"], color="#D55E00", linewidth=0.8, label="diagonal (S4D)")
        panel.plot(rows["t"], rows["hippo"], color="black", linestyle="--", label="DPLR (HiPPO)")
        panel.set_title(f"{name}, n = {rows['n'].iloc[0]}, readout {rows['readout'].iloc[0]}")
        panel.set_xlabel("t (the system's own time)")
        panel.set_ylabel("y(t)")
    axes[0].legend(loc="upper right")


def draw_all(tables: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Write appendix-f-errors and appendix-f-outputs (pdf, png, csv, svg); return the paths."""
    errors, outputs = tables["errors"], tables["outputs"]
    with style():
        figure, axes = new_figure(height=3.2)
        draw_errors(errors, axes[0])
        paths = save_four(figure, errors, folder / "appendix-f-errors", COMMAND)
        figure, axes = panels(outputs["input"].nunique(), 2, 2.0, 0.0)
        draw_outputs(outputs, axes)
        paths += save_four(figure, outputs, folder / "appendix-f-outputs", COMMAND)
    return paths
