"""Differences of two models on the same samples, by frequency."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from robustssm.evaluations.paper.reproduction import Tables
from robustssm.evaluations.paper.reviewers_pairs import by_frequency
from robustssm.figures.paper.panels import mean_with_band
from robustssm.figures.style import Look, label_powers


def pairs_data(tables: Tables) -> pd.DataFrame:
    """Return `by_frequency` of all pairs."""
    return by_frequency(pd.concat([tables["s5"], tables["random"]], ignore_index=True))


def draw_pairs(frame: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Draw one panel per pair, one line per strength; a filled marker if all seeds say the same."""
    colours = ("0.55", "#024A73", "#D55E00")
    groups = frame.groupby(["a", "b"], sort=False)
    for panel, ((a, b), rows) in zip(axes, groups, strict=True):
        for k, (eps, part) in enumerate(rows.groupby("eps", sort=True)):
            part = part.sort_values("omega")
            color = colours[k % len(colours)]
            chosen: Look = {"color": color, "linewidth": 1.0}
            mean_with_band(panel, part, "omega", chosen, "difference", f"eps = {eps:g}")
            said = part[part["says"] != 0]
            panel.plot(said["omega"], said["difference"], "o", color=color, markersize=3.5)
        panel.axhline(0.0, color="0.3", linewidth=0.7)
        panel.set_xscale("log")
        panel.set_ylim(-1.0, 1.0)
        panel.set_title(f"{a} minus {b}")
        panel.set_xlabel("omega / (rad per unit time)")
        panel.set_ylabel("accuracy, difference")
        label_powers(panel.xaxis)
