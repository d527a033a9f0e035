"""Worst-case curves of a sweep: accuracy at the worst mode against eps."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from robustssm.figures.robustness import DOTTED, model_looks
from robustssm.figures.style import footnote, legend, new_figure, save, seed_dots, style
from robustssm.plain_text import figure_label


def data(overview: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `evaluations.results.summary.overview` that chose among several modes."""
    return overview[overview["modes"] > 1] if len(overview) else overview


def draw(frame: pd.DataFrame, axes: Axes, chance: float) -> None:
    """Draw the naive worst (thin, without markers) and the cross-fitted one with its interval.

    Dots are the cross-fitted values of single training seeds.
    """
    decibels = frame["eps_unit"].iloc[0] == "snr-db"
    looks = model_looks(frame)
    strengths = np.sort(frame["eps"].unique())
    for number, (model, line) in enumerate(looks.items()):
        group = frame[frame["model"] == model].set_index("eps").reindex(strengths)
        place = number - (len(looks) - 1) / 2
        # Intervals that nearly coincide are told apart by a shift.
        at = strengths + 0.12 * place if decibels else strengths * (1.0 + 0.02 * place)
        fitted = group["acc_worst_crossfit"].to_numpy(dtype=np.float64)
        ends = group[["ci_low", "ci_high"]].to_numpy(dtype=np.float64).T
        label = figure_label(model)
        axes.errorbar(at, fitted, np.abs(ends - fitted), capsize=2, label=label, **line)
        seeds = group["by_seed"].fillna("")  # of strengths without a result
        seed_dots(axes, at, seeds, line["color"])
        thin = line | {"linewidth": 0.6, "marker": ""}
        axes.plot(at, group["acc_worst_over_modes"].to_numpy(dtype=np.float64), **thin)
    axes.axhline(chance, **DOTTED)
    if decibels:
        axes.invert_xaxis()
    elif (strengths > 0).all():
        axes.set_xscale("log")
    axes.set_xticks(strengths, [f"{eps:g}" for eps in strengths])
    axes.minorticks_off()
    label = figure_label(f"eps ({frame['eps_unit'].iloc[0]})")
    axes.set(ylim=(0, 1.02), xlabel=label, ylabel="accuracy at the worst mode")


def draw_worst(
    frame: pd.DataFrame, stem: Path, *, chance: float, noise: str, task: str, partial: bool = False
) -> list[Path]:
    """Draw the worst-case curves of one noise; return the files."""
    seeds = "/".join(str(k) for k in sorted(set(frame["seeds"])))
    several = bool((frame["seeds"] > 1).any())
    replicates = f"{seeds} training seed{'s, each at its own worst mode' if several else ''}"
    kind = "95% Student interval over seeds, dots: single seeds" if several else "95% interval"
    note = (
        f"{noise} noise on {task}, n = {frame['n'].iloc[0]} test samples, worst of "
        f"{frame['modes'].max()} modes, {replicates}; thick, with {kind}: cross-fitted "
        "(one half of the samples chooses the mode, the other is read); thin: naive, biased "
        "downwards; dotted: chance"
    ) + ("; PARTIAL: --limit was set" if partial else "")
    with style():
        figure, (axes,) = new_figure(height=3.8)
        draw(frame, axes, chance)
        legend(figure, [axes], 4, loc="outside upper center")
        footnote(figure, note)
        return save(figure, frame, stem, note)
