"""Theorem 3 of arXiv 2310.01698: measured sup error against bounds, one panel per state size."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from robustssm.evaluations.paper.reproduction import Tables
from robustssm.figures.paper.saving import Drawings, Drawn
from robustssm.figures.style import label_powers, legend, panels
from robustssm.figures.trade_off import LABELS, LOOKS


def draw(frame: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Draw the measured error, both first-order constants and the sharp bound against |E|."""
    for panel, (n, rows) in zip(axes, frame.groupby("n"), strict=True):
        for method, found in rows.groupby("method", sort=False):
            name = "rank1-kept" if method == "rank1" else str(method)
            look = {"linestyle": "", "label": LABELS[name]} | LOOKS[str(method)]
            panel.loglog(found["eps"], found["measured"], **look)
        line = rows.sort_values("eps")
        panel.loglog(line["eps"], line["paper"], color="black", label="paper: (2 ln n + 4) |E|")
        label = "exact constant of first order: |A⁻¹|² |E|"
        panel.loglog(line["eps"], line["exact"], color="0.45", linestyle="--", label=label)
        sharp = line.dropna(subset=["sharp"])
        label = "2 |E| / (1 - 2 |E|), over |B| = n"
        panel.loglog(sharp["eps"], sharp["sharp"] / n, color="#C1272D", linestyle="-.", label=label)
        zero = 1.0 / float(rows["n"].iloc[0])
        label = "error of the zero system, 1 / n"
        panel.axhline(zero, color="0.55", linewidth=0.9, linestyle=":", label=label)
        panel.minorticks_off()
        label_powers(panel.xaxis, panel.yaxis)
        panel.set_title(f"n = {n}, worst unit readout, HiPPO's B")
        panel.set(xlabel="|E|₂", ylabel="sup |x_E - x|₂ / |B|")


def drawn(tables: Tables) -> Drawings:
    """Yield bound, of the rows that have a measured error."""
    frame = tables["rows"].dropna(subset=["measured"]).reset_index(drop=True)
    figure, axes = panels(frame["n"].nunique(), 2, 2.6, 1.0)
    draw(frame, axes)
    legend(figure, axes, 3)
    yield Drawn("bound", figure, frame)
