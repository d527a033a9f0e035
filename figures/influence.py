"""Where in time an input counts: the influence of each step on a model's answers."""

from pathlib import Path

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from robustssm.figures.looks import model_looks
from robustssm.figures.style import footnote, key, new_figure, save, style
from robustssm.plain_text import figure_label

# Markers on a line, which has a point per step.
_MARKS = 12


def draw(frame: pd.DataFrame, axes: Axes) -> dict[str, Artist]:
    """Draw the frame of `searches.influence.profiles`, a line per model; return the key."""
    looks = model_looks(frame)
    named: dict[str, Artist] = {}
    for model, part in frame.groupby("model", sort=False):
        line = {**looks[str(model)], "markevery": max(1, len(part) // _MARKS)}
        (named[figure_label(str(model))],) = axes.plot(part["t"], part["median"], **line)
        axes.fill_between(
            part["t"], part["low"], part["high"], color=line["color"], alpha=0.15, linewidth=0.0
        )
    axes.set(xlabel="step t", ylabel="influence over its mean", ylim=(0.0, None))
    return named


def draw_profiles(frame: pd.DataFrame, task: str, stem: Path) -> list[Path]:
    """Draw influence profiles, all models on one axes; return the files."""
    note = (
        f"{task}, n = {frame['n'].iloc[0]} test samples, each training seed a line: norm of the "
        "derivative of the answers by the input at step t, over its mean over t; median and "
        "quartiles of the samples"
    )
    with style():
        figure, (axes,) = new_figure()
        key(figure, draw(frame, axes))
        footnote(figure, note)
        return save(figure, frame, stem, note)
