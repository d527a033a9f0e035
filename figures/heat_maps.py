"""Heat maps of a sweep: accuracy over mode x eps, one strip per model; differences of models."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.ticker import MaxNLocator

from robustssm.evaluations.results.cell_reader import MODE_LABEL
from robustssm.evaluations.sweep.condition_names import CONDITION
from robustssm.figures.style import NOTE, Look, fitting, footnote, new_figure, save, style
from robustssm.plain_text import figure_label
from robustssm.targets import CLASSES, of_table
from robustssm.typing import FloatArray, IntArray

# Strips of one figure; further models are in the CSV beside it.
MOST_PANELS = 12
# Inches of a strength, and strengths that each have a label.
ROW, MOST_ROWS = 0.13, 12
ALPHA = 0.05
# How opaque cells are whose models are not distinguishable.
PALE = 0.22
# What is drawn: its colours.
COLOURS = {"accuracy": "viridis", "mse": "viridis_r", "loss": "viridis_r", "difference": "PuOr"}


def drawable(frame: pd.DataFrame) -> bool:
    """Return whether the rows of a noise have at least two modes and two strengths."""
    return len(set(frame["mode"])) > 1 and len(set(frame["eps"])) > 1


def differences(frame: pd.DataFrame, tests: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Return one row per model, mode and eps: `difference` of its accuracy from the reference's.

    told_apart: whether every pair of training seeds has p_holm < 0.05 in `tests` (the table of
    `evaluations.results.paired_tests`) with the same sign; False if nothing was tested.
    """
    keys = [name for name in CONDITION if name in frame]
    of = of_table(frame)
    base = frame[frame["model"] == reference].set_index(keys)[of.score].rename("base")
    found = frame[frame["model"] != reference].join(base, on=keys)
    found["difference"] = found[of.score] - found.pop("base")
    found["reference"] = reference
    if tests.empty:
        return found.assign(told_apart=False)
    sign = np.sign(tests["difference"]).where(tests["p_holm"] < ALPHA, 0.0)
    pairs = tests.assign(sign=sign, model=tests["model_a"].where(
        tests["model_a"] != reference, tests["model_b"]))  # fmt: skip
    pairs = pairs[(tests["model_a"] == reference) | (tests["model_b"] == reference)]
    both = [name for name in keys if name in pairs]
    by_cell = pairs.groupby(["model", *both], dropna=False)["sign"]
    told = ((by_cell.min() > 0) | (by_cell.max() < 0)).rename("told_apart")
    found = found.join(told, on=["model", *both])
    return found.assign(told_apart=found["told_apart"].eq(True))


def draw(frame: pd.DataFrame, axes: list[Axes], column: str, low: float, high: float) -> QuadMesh:
    """Draw `column` over mode x eps, one panel per model; cells without a result stay white.

    low, high: ends of the scale. Where the frame has `told_apart`, cells whose models are not
    distinguishable are pale.
    """
    modes, strengths = (np.sort(frame[name].unique()) for name in ("mode", "eps"))
    if frame["eps_unit"].iloc[0] == "snr-db":
        strengths = strengths[::-1]
    for panel, (model, part) in zip(axes, frame.groupby("model", sort=False), strict=False):
        grid = part.pivot_table(column, "eps", "mode", dropna=False)
        values = grid.reindex(index=strengths, columns=modes).to_numpy(dtype=np.float64)
        mesh = panel.pcolormesh(
            np.arange(len(modes) + 1), np.arange(len(strengths) + 1),
            np.ma.masked_invalid(values), cmap=COLOURS[column], vmin=low, vmax=high,
            rasterized=True,
        )  # fmt: skip
        if "told_apart" in part:
            told = part.pivot_table("told_apart", "eps", "mode", dropna=False)
            clear = told.reindex(index=strengths, columns=modes).to_numpy(dtype=np.float64) == 1.0
            mesh.set_alpha(np.where(clear, 1.0, PALE))  # type: ignore[arg-type]  # an array as well
        shown = round_places(modes)
        panel.set_xticks(shown + 0.5, [f"{mode:g}" for mode in modes[shown]])
        rows = np.arange(len(strengths))[:: -(-len(strengths) // MOST_ROWS)]
        panel.set_yticks(rows + 0.5, [f"{eps:g}" for eps in strengths[rows]])
        panel.set_title(figure_label(str(model)), pad=2.0)
        panel.grid(visible=False)
    return mesh


def round_places(modes: FloatArray) -> IntArray:
    """Return the places of the modes that are labelled: all of a few, else those at round steps."""
    most = fitting(16, 0.4)
    if len(modes) <= most:
        return np.arange(len(modes))
    round_ones = MaxNLocator(most, steps=[1, 2, 5, 10]).tick_values(modes[0], modes[-1])
    found = np.flatnonzero(np.isin(modes, [modes[0], *round_ones]))
    even = np.linspace(0, len(modes) - 1, min(6, most)).round().astype(np.int64)
    return found if len(found) > 2 else even


def draw_maps(
    frame: pd.DataFrame, stem: Path, *, chance: float, noise: str, task: str, partial: bool = False
) -> list[Path]:
    """Draw the scores of one noise; one colour scale, of accuracies 0 to 1. Returns the files."""
    of = of_table(frame)
    marks = {0.0: "", chance: of.guess, 1.0: ""}
    if of is not CLASSES:
        values = frame[of.score].to_numpy(dtype=np.float64)
        top = float(values[np.isfinite(values)].max(initial=0.0)) or 1.0
        marks = {0.0: "", top: f"{top:.3g}"} | ({chance: of.guess} if chance < top else {})
    note = (
        f"{of.words} under {noise} noise on {task}, n = {frame['n'].iloc[0]} test samples, mean "
        f"over {_seeds(frame)}; {of.guess} is {chance:.3g}; white: no result"
    )
    return _page(frame, stem, note, partial, of.score, of.axis, marks)


def _seeds(frame: pd.DataFrame) -> str:
    count = "/".join(map(str, sorted(frame["seeds"].unique()))) if "seeds" in frame else "the"
    return f"{count} training seed{'' if count == '1' else 's'}"


def draw_differences(
    frame: pd.DataFrame, stem: Path, *, noise: str, task: str, partial: bool = False
) -> list[Path]:
    """Draw the differences from a reference; one symmetric scale for all. Returns the files.

    Cells are pale unless the models are distinguishable: strong colours are what was found.
    """
    top = np.abs(frame["difference"].to_numpy(dtype=np.float64))
    top = float(top[np.isfinite(top)].max(initial=0.01))
    reference, of = frame["reference"].iloc[0], of_table(frame)
    note = (
        f"{of.words} minus that of {reference} under {noise} noise on {task}, n = "
        f"{frame['n'].iloc[0]} test samples, {_seeds(frame)}; pale: not distinguishable "
        f"({of.test}, Holm-adjusted over the sweep: p >= {ALPHA:g}, or seeds disagree on the "
        "sign); white: no result"
    )
    label = f"{of.words} minus that of {reference}"
    models = list(dict.fromkeys(frame["model"]))
    better = [reference, models[0] if len(models) == 1 else "the other"]
    better = better if of.sign > 0 else better[::-1]
    ends = {end: f"{model} better" for end, model in zip((-top, top), better, strict=True)}
    return _page(frame, stem, note, partial, "difference", label, ends)


def _page(
    frame: pd.DataFrame,
    stem: Path,
    note: str,
    partial: bool,
    column: str,
    label: str,
    marks: Mapping[float, str],
) -> list[Path]:
    """Draw a column of a frame; marks: words below values of the scale, its ends among them."""
    models = list(dict.fromkeys(frame["model"]))
    if len(models) > MOST_PANELS:
        note += f"; the first {MOST_PANELS} of {len(models)} models, the CSV has all"
    note += "; PARTIAL: --limit was set" if partial else ""
    drawn = frame[frame["model"].isin(models[:MOST_PANELS])]
    count = min(len(models), MOST_PANELS)
    rows = min(frame["eps"].nunique(), MOST_ROWS)
    with style():
        height = 1.35 + count * (0.22 + ROW * rows)
        figure, axes = new_figure(height=height, rows=count, sharex=True)
        mesh = draw(drawn, axes, column, min(marks), max(marks))
        figure.supylabel(figure_label(f"eps ({frame['eps_unit'].iloc[0]})"))
        axes[-1].set_xlabel(MODE_LABEL[frame["mode_unit"].iloc[0]])
        where: Look = {"location": "top", "aspect": 40, "shrink": 0.8, "pad": 0.07}
        bar = figure.colorbar(mesh, ax=axes, label=figure_label(label), **where)
        below: Look = {
            "xytext": (0, -2),
            "textcoords": "offset points",
            "va": "top",
            "fontsize": NOTE,
        }
        for value, words in marks.items():
            side = "left" if value == min(marks) else "right" if value == max(marks) else "center"
            place: Look = {"xycoords": ("data", "axes fraction"), "ha": side}
            bar.ax.annotate(figure_label(words), (value, 0.0), **place, **below)
            if side == "center":
                bar.ax.axvline(value, color="white", linewidth=1.2)
        footnote(figure, note)
        return save(figure, frame, stem, note)
