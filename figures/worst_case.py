"""Worst-case curves of a sweep: accuracy at the worst mode against eps."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from robustssm.figures.looks import model_looks
from robustssm.figures.robustness import (
    draw_points,
    label_strengths,
    places,
    scale,
)
from robustssm.figures.style import footnote, legend, new_figure, save, style
from robustssm.targets import of_table


def data(overview: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `evaluations.results.summary.overview` that chose among several modes."""
    return overview[overview["modes"] > 1]


def draw(frame: pd.DataFrame, axes: Axes, chance: float) -> None:
    """Draw the naive worst (thin, without markers) and the cross-fitted one with its interval.

    Dots are the cross-fitted values of single training seeds.
    """
    unit, of = frame["eps_unit"].iloc[0], of_table(frame)
    at = places(frame["eps"], unit)
    draw_points(frame, axes, "eps", at, y=of.crossfit)
    for model, line in model_looks(frame).items():
        group = frame[frame["model"] == model].set_index("eps").reindex(list(at))
        thin = line | {"linewidth": 0.6, "marker": ""}
        naive = group[of.worst].to_numpy(dtype=np.float64)
        axes.plot(list(at.values()), naive, **thin)
    scale(axes, frame, chance, whole=True)
    label_strengths(axes, at, unit, clean=False)
    axes.set_ylabel(of.axis.replace(of.words, f"{of.words} at the worst mode", 1))


def draw_worst(
    frame: pd.DataFrame, stem: Path, *, chance: float, noise: str, task: str, partial: bool = False
) -> list[Path]:
    """Draw the worst-case curves of one noise; return the files."""
    of = of_table(frame)
    seeds = "/".join(str(k) for k in sorted(set(frame["seeds"])))
    several = bool((frame["seeds"] > 1).any())
    replicates = f"{seeds} training seed{'s (dots), each at its own worst mode' if several else ''}"
    note = (
        f"{noise} noise on {task}, n = {frame['n'].iloc[0]} test samples, worst of "
        f"{frame['modes'].max()} modes, {replicates}; bars: 95% {'Student ' * several}interval of "
        "the cross-fitted value (one half of the samples chooses the mode, the other is read); "
        f"naive is biased {'downwards' if of.sign > 0 else 'upwards'}; dotted: {of.guess}"
    ) + ("; PARTIAL: --limit was set" if partial else "")
    with style():
        figure, (axes,) = new_figure(height=3.2)
        draw(frame, axes, chance)
        for label, width in (("cross-fitted", 1.3), ("naive", 0.6)):
            axes.plot([], color="0.3", linewidth=width, label=label)
        legend(figure, [axes], 6)
        footnote(figure, note)
        return save(figure, frame, stem, note)
