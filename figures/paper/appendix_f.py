"""Appendix F of arXiv 2310.01698: errors of the outputs against n, and the outputs in time."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from robustssm.evaluations.paper.reproduction import Tables
from robustssm.figures.looks import look
from robustssm.figures.paper.saving import Drawings, Drawn
from robustssm.figures.style import label_sizes, legend, new_figure, panels

MARKERS = "os^vDPX"


def draw_errors(frame: pd.DataFrame, axes: Axes) -> None:
    """Draw the L2 error of the output against n, one line per input."""
    for number, (name, rows) in enumerate(frame.groupby("quantity", sort=False)):
        marker = MARKERS[number % len(MARKERS)]
        axes.loglog(rows["n"], rows["error"], marker=marker, label=str(name))
    label_sizes(axes, sorted(frame["n"].unique()))
    axes.set(xlabel="state size n", ylabel="|y_Diag - y_DPLR|₂")
    axes.set_title(
        f"Output error of the diagonal system, readout {frame['readout'].iloc[0]}\n"
        "modes under the window exp(-t); spike: the mode at ω₁(n)"
    )


def draw_outputs(frame: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Draw both outputs in time, one panel per input."""
    for panel, (name, rows) in zip(axes, frame.groupby("input", sort=False), strict=True):
        line = {"color": look("s4d")["color"], "linewidth": 0.8, "label": "diagonal (S4D)"}
        panel.plot(rows["t"], rows["diag"], **line)
        panel.plot(rows["t"], rows["hippo"], color="black", linestyle="--", label="DPLR (HiPPO)")
        panel.set_title(f"{name}, n = {rows['n'].iloc[0]}, readout {rows['readout'].iloc[0]}")
        panel.set(xlabel="t (the system's own time)", ylabel="y(t)")


def drawn(tables: Tables) -> Drawings:
    """Yield appendix-f-errors and appendix-f-outputs."""
    errors, outputs = tables["errors"], tables["outputs"]
    figure, axes = new_figure(height=3.2)
    draw_errors(errors, axes[0])
    legend(figure, axes)
    yield Drawn("appendix-f-errors", figure, errors)
    figure, axes = panels(outputs["input"].nunique(), 2, 2.0, 0.0)
    draw_outputs(outputs, axes)
    legend(figure, axes)
    yield Drawn("appendix-f-outputs", figure, outputs)
