"""Fig. 3 (c) of arXiv 2310.01698: accuracy and kappa(V) against |E| / |A|."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from robustssm.evaluations.paper.fig3_accuracy import CLEAN
from robustssm.evaluations.paper.fig3c import BEST, UNSTABLE, points
from robustssm.evaluations.paper.reproduction import Tables
from robustssm.figures.looks import look
from robustssm.figures.paper.fig3ab import caption
from robustssm.figures.paper.saving import Drawings, Drawn, mean_with_bars
from robustssm.figures.style import Look, label_powers, legend, new_figure

LINES: Look = {"linewidth": 1.2, "markersize": 4.5}
CROSS: Look = {"marker": "x", "color": "0.2", "linestyle": "", "markersize": 5.0, "zorder": 5}
LABEL: Look = {"textcoords": "offset points", "xytext": (-4, 5), "ha": "right", "fontsize": 7}
# Method: the model whose look it has, and what the legend calls it.
METHODS = {
    "rank1": ("s4ptd-rank1", "rank-one, E = t P Pᵀ"),
    "random": ("s4ptd-random", "random E"),
    "optimized": ("s4ptd", "optimised E"),
}


def data(tables: Tables) -> pd.DataFrame:
    """Return mean accuracy over seeds, its interval, kappa and |E|/|A| by method and size.

    Sizes of which every draw is unstable have kappa, condition `unstable` and no accuracy.
    """
    quality = tables["quality"]
    bad = quality[quality["status"] == UNSTABLE]
    rows = [
        {
            "method": method,
            "parameter": parameter,
            "condition": UNSTABLE,
            "seeds": len(group),
            "relative_norm": float(np.exp(np.log(group["relative_norm"]).mean())),
            "kappa": float(np.exp(np.log(group["kappa"]).mean())),
        }
        for (method, parameter), group in bad.groupby(["method", "parameter"], sort=False)
    ]
    found = points(tables).assign(
        task=tables["accuracies"]["task"].iloc[0], chance=tables["accuracies"]["chance"].iloc[0]
    )
    return pd.concat([found, pd.DataFrame(rows)], ignore_index=True) if rows else found


def draw(frame: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Draw accuracy, one panel per condition, and kappa; unstable sizes are crosses."""
    *panels, last = axes
    trained = frame[frame["condition"] != UNSTABLE]
    unstable = frame[frame["condition"] == UNSTABLE]
    conditions = trained.groupby("condition", sort=False)
    for panel, (condition, rows) in zip(panels, conditions, strict=True):
        for method, line in rows.groupby("method", sort=False):
            name, label = METHODS[str(method)]
            line = line.sort_values("relative_norm")
            mean_with_bars(panel, line, "relative_norm", LINES | look(name), label=label)
        edge = rows[(rows["method"] == "rank1") & (rows["parameter"] == 1.0)]
        for row in edge.itertuples():
            panel.annotate("S4D", (row.relative_norm, row.accuracy), **LABEL)
        chance = float(rows["chance"].iloc[0])
        panel.axhline(chance, color="0.5", linewidth=0.9, linestyle=":")
        if len(unstable):
            low = np.full(len(unstable), 0.02)
            panel.plot(unstable["relative_norm"], low, label="unstable, not trained", **CROSS)
        panel.set(ylim=(0.0, 1.0), ylabel="test accuracy")
        contaminated = f"contaminated, {rows['condition'].iloc[0].replace('eps ', 'eps = ')}"
        panel.set_title(CLEAN if condition == CLEAN else contaminated)
    first = frame.drop_duplicates(["method", "parameter"])
    for method, line in first.groupby("method", sort=False):
        chosen = LINES | look(METHODS[str(method)][0])
        line = line.sort_values("relative_norm")
        last.plot(line["relative_norm"], line["kappa"], **chosen)
    if len(unstable):
        last.plot(unstable["relative_norm"], unstable["kappa"], **CROSS)
    norms = np.array([frame["relative_norm"].min(), 1.0])
    anchor = first[first["method"] == "rank1"]
    scale = float(np.median(anchor["kappa"] * anchor["relative_norm"])) if len(anchor) else 1.0
    last.plot(norms, scale / norms, color="0.6", linestyle=":", label="slope -1")
    last.set(yscale="log", ylabel="κ(V)", title="conditioning")
    for panel in axes:
        panel.set(xscale="log", xlabel="|E|₂ / |A|₂")
        panel.axvspan(*BEST, color="0.93", zorder=0)
        panel.minorticks_off()
    label_powers(*(panel.xaxis for panel in axes), last.yaxis)


def drawn(tables: Tables) -> Drawings:
    """Yield fig3c."""
    frame = data(tables)
    panels = frame.loc[frame["condition"] != UNSTABLE, "condition"].nunique()
    figure, axes = new_figure(columns=panels + 1)
    draw(frame, axes)
    legend(figure, [axes[0], axes[-1]])
    text = caption(frame[frame["condition"] != UNSTABLE], "Grey: the paper's best range. ")
    yield Drawn("fig3c", figure, frame, text)
