"""Fig. 2 of arXiv 2310.01698: amplitude and frequency of sinusoids, learnt and extrapolated.

`fig2` has the networks whose step size is the sampling step and the linear part alone, `fig2-other`
the other designs: step sizes spread, and S5 if it was trained.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from robustssm.evaluations.paper.filter_bank import STEADY
from robustssm.evaluations.paper.reproduction import Tables
from robustssm.evaluations.paper.sinusoids import FIXED, SPREAD
from robustssm.figures.looks import look
from robustssm.figures.paper.saving import Drawings, Drawn
from robustssm.figures.style import Look, label_powers, legend, new_figure

FREQUENCY = "s (rad per unit time)"
# Shown of the predicted amplitude over A: what is beyond is cut off, and the caption says so.
RATIOS = (-1.6, 1.6)


def data(tables: Tables) -> pd.DataFrame:
    """Return one row per (steps, model, s): predictions at the middle test amplitude, over seeds.

    Columns n, samples, seeds, amplitude; mean, low and high (over seeds) of ratio = A^/A and of
    s_hat; rms_ratio of A^/A - 1, over all test amplitudes and seeds.
    """
    frame, facts = tables["predictions"], tables["settings"].iloc[0]
    amplitudes = np.unique(frame["amplitude"])
    chosen = amplitudes[len(amplitudes) // 2]
    frame = frame.assign(ratio=frame["amplitude_hat"] / frame["amplitude"])
    frame["square"] = np.square(frame["ratio"] - 1.0)
    key = ["steps", "model", "s"]
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


def linear(tables: Tables) -> pd.DataFrame:
    """Return model, s, mean, low, high of the linear part's A^/A over seeds, steady state."""
    frame = tables["linear"]
    found = frame[frame["route"] == STEADY].groupby(["model", "s"], sort=False)["amplitude_hat"]
    columns = {"ratio_mean": found.mean(), "ratio_low": found.min(), "ratio_high": found.max()}
    return pd.DataFrame(columns).reset_index()


def lines(axes: Axes, frame: pd.DataFrame, name: str) -> None:
    """Draw the mean of `name` over seeds and their range as a band, one line per model."""
    for model, rows in frame.groupby("model", sort=False):
        line = look(str(model)) | {"marker": "", "linewidth": 1.3}
        axes.plot(rows["s"], rows[f"{name}_mean"], label=str(model), **line)
        shade = {"color": line["color"], "alpha": 0.22, "linewidth": 0.0}
        axes.fill_between(rows["s"], rows[f"{name}_low"], rows[f"{name}_high"], **shade)


def ranges(axes: Axes, facts: pd.Series, title: str, ylabel: str) -> None:
    """Shade the training range, mark the spike where facts have one, set the labels."""
    axes.axvspan(0.0, facts["s_max"], color="0.5", alpha=0.10, linewidth=0.0, zorder=0.5)
    if np.isfinite(facts["spike"]):
        mark: Look = {"color": "black", "linewidth": 0.8, "linestyle": ":"}
        axes.axvline(facts["spike"], label=f"last spike of S4D, {facts['spike']:.2f}", **mark)
    axes.set(xlim=(0.0, facts["s_test"]), xlabel=FREQUENCY, ylabel=ylabel, title=title)


def ratio(axes: Axes, frame: pd.DataFrame, facts: pd.Series, title: str) -> None:
    """Draw predicted amplitude / A."""
    lines(axes, frame, "ratio")
    ranges(axes, facts, title, "predicted amplitude / A")
    axes.set_ylim(*RATIOS)


def frequency(axes: Axes, frame: pd.DataFrame, facts: pd.Series, title: str) -> None:
    """Draw the predicted frequency."""
    lines(axes, frame, "s_hat")
    ranges(axes, facts, title, "predicted s (rad per unit time)")
    axes.plot([0.0, facts["s_test"]], [0.0, facts["s_test"]], color="black", linewidth=0.6)
    axes.set_ylim(0.0, 1.2 * facts["s_test"])


def draw(frame: pd.DataFrame, bank: pd.DataFrame, facts: pd.Series, axes: Sequence[Axes]) -> None:
    """Draw the rows of `data` with dt fixed, and those of `linear`, on four axes."""
    ratio(axes[0], frame, facts, "Amplitude, trained networks")
    frequency(axes[1], frame, facts, "Frequency, trained networks")
    for model, rows in frame.groupby("model", sort=False):
        line = look(str(model)) | {"marker": "", "linewidth": 1.3}
        axes[2].semilogy(rows["s"], rows["rms_ratio"], label=str(model), **line)
    ranges(axes[2], facts, "Error of the amplitude, trained networks", "RMS of A^/A - 1")
    axes[2].set_ylim(0.01, 10.0)
    label_powers(axes[2].yaxis)
    ratio(axes[3], bank, facts, "Amplitude, untrained, least squares")


def caption(frame: pd.DataFrame, what: str) -> str:
    """Return what is drawn: models, n, seeds, interval."""
    first = frame.iloc[0]
    return (
        f"{what} Training range grey. n = {first['n']} (state size), {first['samples']} training "
        f"sequences, A = {first['amplitude']:g}. Lines: mean, bands: range over {first['seeds']} "
        f"seeds; amplitudes outside [{RATIOS[0]:g}, {RATIOS[1]:g}] A are cut off."
    )


def drawn(tables: Tables) -> Drawings:
    """Yield fig2 and, if there are other designs, fig2-other."""
    frame, bank, facts = data(tables), linear(tables), tables["settings"].iloc[0]
    mixed = frame["model"].str.startswith("s5")
    fixed = frame[(frame["steps"] == FIXED) & ~mixed]
    figure, axes = new_figure(height=5.4, columns=2, rows=2)
    draw(fixed, bank, facts, axes)
    text = "dt = sampling step. Bottom left: over all test amplitudes; right: steady state."
    legend(figure, axes, 5)
    yield Drawn("fig2", figure, fixed, caption(fixed, text))
    others = [
        ("S5, dt = sampling step", frame[(frame["steps"] == FIXED) & mixed], facts["spike"]),
        ("dt from 0.001 to 0.1", frame[frame["steps"] == SPREAD], np.nan),
    ]
    others = [other for other in others if len(other[1])]
    if not others:
        return
    figure, axes = new_figure(height=0.9 + 2.5 * len(others), columns=2, rows=len(others))
    for (title, rows, spike), left, right in zip(others, axes[::2], axes[1::2], strict=True):
        marks = pd.Series({**facts, "spike": spike})
        ratio(left, rows, marks, f"Amplitude, {title}")
        frequency(right, rows, marks, f"Frequency, {title}")
    legend(figure, axes, 5)
    other = pd.concat([rows for _, rows, _ in others], ignore_index=True)
    yield Drawn("fig2-other", figure, other, caption(other, "Other designs, trained networks."))
