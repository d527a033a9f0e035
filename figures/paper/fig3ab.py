"""Fig. 3 (a), (b) of arXiv 2310.01698: accuracy over epochs, clean and contaminated."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from robustssm.evaluations.paper.fig3_accuracy import CLEAN, mean_accuracies
from robustssm.evaluations.paper.reproduction import Tables
from robustssm.figures.looks import look
from robustssm.figures.paper.saving import Drawings, Drawn, mean_with_bars
from robustssm.figures.style import legend, new_figure


def data(tables: Tables) -> pd.DataFrame:
    """Return mean accuracy over seeds and its interval by network, condition and epoch."""
    by = ["init", "condition", "eps", "epoch", "omega", "task", "chance"]
    return mean_accuracies(tables["accuracies"], by)


def caption(frame: pd.DataFrame, extra: str = "") -> str:
    """Return n, seeds and interval."""
    first = frame.iloc[0]
    low, high = int(frame["seeds"].min()), int(frame["seeds"].max())
    seeds = str(low) if low == high else f"{low} to {high}"
    return (
        f"{first['task']}, n = {int(first['n'])} test samples; mean of {seeds} training seeds, "
        f"95 % Student intervals, dots: single seeds. {extra}Dotted: chance."
    )


def family(init: str) -> str:
    """Return the row in which a network is drawn: its own lines and bands stay legible there."""
    if init.startswith("s5"):
        return "S5"
    return "S4 and PTD" if init in ("s4", "s4d") or init.startswith("s4ptd") else "other diagonal"


def draw(frame: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Draw accuracy against epoch, one panel per condition, intervals over seeds as bars."""
    for panel, (condition, rows) in zip(axes, frame.groupby("condition", sort=False), strict=True):
        for init, line in rows.groupby("init", sort=False):
            line = line.sort_values("epoch")
            # About ten of a line have markers, bars and dots.
            shown = line.iloc[:: max(1, len(line) // 10)]
            panel.plot(line["epoch"], line["accuracy"], **look(str(init)) | {"marker": ""})
            points = look(str(init)) | {"linestyle": ""}
            mean_with_bars(panel, shown, "epoch", points, label=str(init))
        panel.axhline(float(rows["chance"].iloc[0]), color="0.5", linewidth=0.9, linestyle=":")
        eps = CLEAN if condition == CLEAN else f"eps = {rows['eps'].iloc[0]:g}"
        panel.set_title(f"{family(str(rows['init'].iloc[0]))}: {eps}")
        panel.set(xlabel="epochs of training", ylabel="test accuracy")
        panel.set(xlim=(0, int(frame["epoch"].max())), ylim=(0.0, 1.0))
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def drawn(tables: Tables) -> Drawings:
    """Yield fig3ab, one row per family of networks."""
    frame = data(tables)
    panels = frame["condition"].nunique()
    families = list(frame.groupby(frame["init"].map(family), sort=False))
    height = 0.8 + 2.5 * len(families)
    figure, axes = new_figure(height=height, columns=panels, rows=len(families))
    for number, (_, rows) in enumerate(families):
        draw(rows, axes[number * panels : (number + 1) * panels])
    legend(figure, axes)
    omega = float(frame["omega"].iloc[0])
    extra = f"Contamination: amplitude at most eps, {omega:.2f} rad / unit time, every layer. "
    yield Drawn("fig3ab", figure, frame, caption(frame, extra))
