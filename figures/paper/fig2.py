"""Fig. 2 of arXiv 2310.01698: amplitude and frequency of sinusoids, learnt and extrapolated."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from robustssm.evaluations.paper.reproduction import Tables
from robustssm.figures.looks import look
from robustssm.figures.paper.saving import Drawings, Drawn
from robustssm.figures.style import Look, label_powers, legend, new_figure

FREQUENCY = "s (rad per unit time)"
# Shown of the predicted amplitude over A: what is beyond is cut off, and the caption says so.
RATIOS = (-1.6, 1.6)


def data(tables: Tables) -> pd.DataFrame:
    """Return one row per (model, s): predictions at the middle test amplitude, over seeds.

    Columns n, samples, seeds, amplitude; mean, low and high (over seeds) of ratio = A^/A and of
    s_hat; rms_ratio of A^/A - 1, over all test amplitudes and seeds.
    """
    frame, facts = tables["predictions"], tables["settings"].iloc[0]
    amplitudes = np.unique(frame["amplitude"])
    chosen = amplitudes[len(amplitudes) // 2]
    frame = frame.assign(ratio=frame["amplitude_hat"] / frame["amplitude"])
    frame["square"] = np.square(frame["ratio"] - 1.0)
    key = ["model", "s"]
    shown = frame[frame["amplitude"] == chosen].groupby(key, sort=False)
    columns = {
        f"{name}_{what}": shown[name].agg(how)
        for name in ("ratio", "s_hat")
        for what, how in (("mean", "mean"), ("low", "min"), ("high", "max"))
    }
    rms = np.sqrt(frame.groupby(key, sort=False)["square"].mean())
    found = pd.DataFrame(columns | {"rms_ratio": rms}).reset_index()
    return found.assign(
        amplitude=chosen,
        n=int(facts["n"]),
        samples=int(facts["samples"]),
        seeds=frame["seed"].nunique(),
    )


def lines(axes: Axes, frame: pd.DataFrame, name: str) -> None:
    """Draw the mean of `name` over seeds and their range as a band, one line per model."""
    for model, rows in frame.groupby("model", sort=False):
        line = look(str(model)) | {"marker": "", "linewidth": 1.3}
        axes.plot(rows["s"], rows[f"{name}_mean"], label=str(model), **line)
        shade = {"color": line["color"], "alpha": 0.22, "linewidth": 0.0}
        axes.fill_between(rows["s"], rows[f"{name}_low"], rows[f"{name}_high"], **shade)


def ranges(axes: Axes, facts: pd.Series, title: str, ylabel: str) -> None:
    """Shade the training range, mark the spike, set the labels."""
    axes.axvspan(0.0, facts["s_max"], color="0.5", alpha=0.10, linewidth=0.0, zorder=0.5)
    mark: Look = {"color": "black", "linewidth": 0.8, "linestyle": ":"}
    axes.axvline(facts["spike"], label=f"last spike of S4D, {facts['spike']:.2f}", **mark)
    axes.set(xlim=(0.0, facts["s_test"]), xlabel=FREQUENCY, ylabel=ylabel, title=title)


def draw(frame: pd.DataFrame, facts: pd.Series, axes: Sequence[Axes]) -> None:
    """Draw the rows of `data` on three axes."""
    lines(axes[0], frame, "ratio")
    ranges(axes[0], facts, "Amplitude", "predicted amplitude / A")
    axes[0].set_ylim(*RATIOS)
    lines(axes[1], frame, "s_hat")
    ranges(axes[1], facts, "Frequency", "predicted s (rad per unit time)")
    axes[1].plot([0.0, facts["s_test"]], [0.0, facts["s_test"]], color="black", linewidth=0.6)
    axes[1].set_ylim(0.0, 1.2 * facts["s_test"])
    for model, rows in frame.groupby("model", sort=False):
        line = look(str(model)) | {"marker": "", "linewidth": 1.3}
        axes[2].semilogy(rows["s"], rows["rms_ratio"], label=str(model), **line)
    ranges(axes[2], facts, "Error of the amplitude", "RMS of A^/A - 1")
    axes[2].set_ylim(0.01, 10.0)
    label_powers(axes[2].yaxis)


def drawn(tables: Tables) -> Drawings:
    """Yield fig2; its caption says models, n, seeds and interval."""
    frame, facts = data(tables), tables["settings"].iloc[0]
    figure, axes = new_figure(height=3.2, columns=3)
    draw(frame, facts, axes)
    legend(figure, axes, 5)
    first = frame.iloc[0]
    text = (
        "dt = sampling step; right: over all test amplitudes. Training range grey. "
        f"n = {first['n']} (state size), {first['samples']} training sequences, "
        f"A = {first['amplitude']:g}. Lines: mean, bands: range over {first['seeds']} seeds; "
        f"amplitudes outside [{RATIOS[0]:g}, {RATIOS[1]:g}] A are cut off."
    )
    yield Drawn("fig2", figure, frame, text)
