"""Heat maps of a sweep: accuracy over mode x eps, one panel per model; differences of models."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh

from robustssm.evaluations.results.cell_reader import MODE_LABEL
from robustssm.evaluations.results.summary import over_seeds, perturbed
from robustssm.evaluations.sweep.condition_names import CONDITION
from robustssm.figures.style import PAGE, footnote, new_figure, save, style
from robustssm.plain_text import figure_label

# Panels of one figure; further models are in the CSV beside it.
MOST_PANELS = 12
COLUMNS = 3
ALPHA = 0.05
# What is drawn: its colours.
COLOURS = {"accuracy": "viridis", "difference": "PuOr"}


def drawable(frame: pd.DataFrame) -> bool:
    """Return whether the rows of a noise have at least two modes and two strengths."""
    return len(set(frame["mode"])) > 1 and len(set(frame["eps"])) > 1


def data(summary: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model, mode and eps: the mean accuracy over training seeds."""
    noisy = perturbed(summary)
    return over_seeds(noisy) if len(noisy) else noisy


def differences(frame: pd.DataFrame, tests: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Return one row per model, mode and eps: `difference` of its accuracy from the reference's.

    told_apart: whether every pair of training seeds has p_holm < 0.05 in `tests` (the table of
    `evaluations.results.paired_tests`) with the same sign; False if nothing was tested.
    """
    keys = [name for name in CONDITION if name in frame]
    base = frame[frame["model"] == reference].set_index(keys)["accuracy"].rename("base")
    found = frame[frame["model"] != reference].join(base, on=keys)
    found["difference"] = found["accuracy"] - found.pop("base")
    found["reference"] = reference
    if tests.empty or found.empty:
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


def draw(
    frame: pd.DataFrame, axes: list[Axes], column: str, limits: tuple[float, float], colours: str
) -> QuadMesh:
    """Draw `column` over mode x eps, one panel per model; cells without a result stay white.

    Where the frame has `told_apart`, cells whose models are not told apart carry a dot.
    """
    modes, strengths = (np.sort(frame[name].unique()) for name in ("mode", "eps"))
    if frame["eps_unit"].iloc[0] == "snr-db":
        strengths = strengths[::-1]
    for panel, (model, part) in zip(axes, frame.groupby("model", sort=False), strict=False):
        grid = part.pivot_table(column, "eps", "mode", dropna=False)
        values = grid.reindex(index=strengths, columns=modes).to_numpy(dtype=np.float64)
        mesh = panel.pcolormesh(
            np.arange(len(modes) + 1), np.arange(len(strengths) + 1),
            np.ma.masked_invalid(values), cmap=colours, vmin=limits[0], vmax=limits[1],
            rasterized=True,
        )  # fmt: skip
        if "told_apart" in part:
            unclear = part[~part["told_apart"] & part[column].notna()]
            x = np.searchsorted(modes, unclear["mode"]) + 0.5
            order = {eps: row + 0.5 for row, eps in enumerate(strengths)}
            y = unclear["eps"].map(order)
            panel.scatter(x, y, s=2.0, color="0.2", linewidths=0)
        shown = np.unique(np.linspace(0, len(modes) - 1, min(6, len(modes))).round().astype(int))
        panel.set_xticks(shown + 0.5, [f"{mode:g}" for mode in modes[shown]])
        panel.set_yticks(np.arange(len(strengths)) + 0.5, [f"{eps:g}" for eps in strengths])
        panel.set_title(figure_label(str(model)), fontsize=7.5)
        panel.grid(visible=False)
    return mesh


def draw_maps(
    frame: pd.DataFrame, stem: Path, *, chance: float, noise: str, task: str, partial: bool = False
) -> list[Path]:
    """Draw the accuracies of one noise; one colour scale from 0 to 1. Returns the files."""
    note = f"accuracy under {noise} noise on {task}, n = {frame['n'].iloc[0]} test samples"
    note += f"; chance is {chance:.3g}; mean over seeds; white: no result"
    return _page(frame, stem, note, partial, "accuracy", "accuracy", (0.0, 1.0))


def draw_differences(
    frame: pd.DataFrame, stem: Path, *, noise: str, task: str, partial: bool = False
) -> list[Path]:
    """Draw the differences from a reference; one symmetric scale for all. Returns the files.

    Dots mark the lack of a difference, so that strong colours without them are what was found.
    """
    top = np.abs(frame["difference"].to_numpy(dtype=np.float64))
    top = float(top[np.isfinite(top)].max(initial=0.01))
    reference = frame["reference"].iloc[0]
    note = f"accuracy minus that of {reference} under {noise} noise on {task}, n = "
    note += (
        f"{frame['n'].iloc[0]} test samples; dots: not told apart (McNemar exact, Holm-adjusted "
    )
    note += f"over the sweep: p >= {ALPHA:g}, or seeds disagree on the sign); white: no result"
    label = f"difference from {reference}"
    return _page(frame, stem, note, partial, "difference", label, (-top, top))


def _page(
    frame: pd.DataFrame,
    stem: Path,
    note: str,
    partial: bool,
    column: str,
    label: str,
    limits: tuple[float, float],
) -> list[Path]:
    models = list(dict.fromkeys(frame["model"]))
    if len(models) > MOST_PANELS:
        note += f"; the first {MOST_PANELS} of {len(models)} models, the CSV has all"
    note += "; PARTIAL: --limit was set" if partial else ""
    drawn = frame[frame["model"].isin(models[:MOST_PANELS])]
    count = min(len(models), MOST_PANELS)
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    with style():
        height = 0.45 + 0.14 * min(frame["eps"].nunique(), 12)
        figure, axes = new_figure(PAGE, 1.1 + rows * (0.45 + height), columns, rows)
        mesh = draw(drawn, axes[:count], column, limits, COLOURS[column])
        for spare in axes[count:]:
            spare.set_visible(False)
        for panel in axes[:count:columns]:
            panel.set_ylabel(figure_label(f"eps ({frame['eps_unit'].iloc[0]})"))
        for panel in axes[:count]:
            panel.tick_params(labelsize=6.5)
        figure.colorbar(mesh, ax=axes, label=figure_label(label), shrink=0.9, pad=0.01)
        words = f"horizontal: {MODE_LABEL[frame['mode_unit'].iloc[0]]}; {note}"
        footnote(figure, words)
        return save(figure, frame, stem, words)
