"""Appendix I of arXiv 2310.01698: kappa(V) against |E| / |A|, and against n."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from robustssm.evaluations.paper.reproduction import Tables
from robustssm.figures.paper.saving import Drawings, Drawn
from robustssm.figures.style import label_powers, label_sizes, legend, new_figure
from robustssm.figures.trade_off import LABELS, LOOKS

# The settings whose growth with n is drawn.
GROWTH = (
    ("rank1", "tau=0.1"),
    ("rank1", "tau=0.01"),
    ("corner", "|E|=1"),
    ("random", "|E|/|A|=0.001"),
    ("random", "|E|/|A|=0.1"),
    ("optimized", ""),
)


def draw(frame: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Draw kappa against |E| / |A| at the largest n with a stored matrix, and against n."""
    left, right = axes
    stored = frame.loc[frame["method"] == "optimized", "n"]
    n = int(stored.max() if len(stored) else frame["n"].max())
    for method, rows in frame[frame["n"] == n].groupby("method", sort=False):
        look = {"linestyle": "", "label": LABELS[str(method)]} | LOOKS[str(method)]
        left.loglog(rows["relative_norm"], rows["kappa"], **look)
    ends = np.array([frame["relative_norm"].min(), 1.0])
    middle = frame[(frame["n"] == n) & (frame["method"] == "rank1")]
    scale = float((middle["kappa"] * middle["relative_norm"]).median())
    left.loglog(ends, scale / ends, color="0.6", linestyle=":", label="slope -1")
    left.set(xlabel="|E|₂ / |A|₂", ylabel="κ(V), unit eigenvectors")
    left.set_title(f"n = {n}; unstable ones included")
    dashes = ("-", "--")
    seen: dict[str, int] = {}
    for method, settings in GROWTH:
        rows = frame[(frame["method"] == method) & (frame["settings"] == settings)]
        if rows.empty:
            continue
        log = np.log(rows["kappa"]).groupby(rows["n"]).mean()
        look = LOOKS[method] | {"linestyle": dashes[seen.get(method, 0) % 2]}
        seen[method] = seen.get(method, 0) + 1
        right.loglog(log.index, np.exp(log), label=f"{method} {settings}".rstrip(), **look)
    sizes = sorted(frame["n"].unique())
    base = np.array(sizes, dtype=np.float64)
    right.loglog(base, (base / base[0]) ** 2, color="0.6", linestyle=":", label="n²")
    left.minorticks_off()
    label_powers(left.xaxis, left.yaxis)
    label_sizes(right, sizes)
    right.set_xlabel("state size n")
    seeds = frame.loc[frame["method"] == "random", "seed"].nunique()
    right.set_title(f"random: geometric mean of {seeds} seed{'s' if seeds > 1 else ''}")


def drawn(tables: Tables) -> Drawings:
    """Yield appendix-i, of the rows that have a kappa, and the data appendix-i-slopes."""
    frame = tables["rows"].dropna(subset=["kappa"]).reset_index(drop=True)
    figure, axes = new_figure(height=3.6, columns=2)
    draw(frame, axes)
    legend(figure, axes, 4)
    yield Drawn("appendix-i", figure, frame)
    yield Drawn("appendix-i-slopes", None, tables["slopes"])
