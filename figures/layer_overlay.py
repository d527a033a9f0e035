"""Does the accuracy drop sit where a layer's gain peaks? Both on one axis of frequency."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from robustssm.evaluations.results.cell_reader import MODE_LABEL
from robustssm.figures.style import PAGE, footnote, new_figure, save, style
from robustssm.plain_text import figure_label

# Models of one figure, a column each; further ones are in the CSV beside it.
MOST_MODELS = 4


def telling(frame: pd.DataFrame) -> float:
    """Return the eps at which the loss varies most over modes; the gain has no part in the choice.

    Where every mode is at chance, or none does harm, ranks are noise.
    """
    first = frame[frame["layer"] == frame["layer"].min()]
    spread = first.groupby("eps")["loss"].std().fillna(0.0)
    return float(spread.idxmax())


def draw(part: pd.DataFrame, eps_of_rank: float, upper: Axes, lower: Axes) -> None:
    """Draw one model: loss of accuracy above, each layer's gain below.

    Solid lines: the largest gain over channels; dashed: the median. The rank correlation of the
    loss at `eps_of_rank` with the largest gain stands in the legend.
    """
    first = part[part["layer"] == part["layer"].min()]
    for number, (eps, curve) in enumerate(first.groupby("eps")):
        shade = str(0.65 - 0.65 * (number + 1) / first["eps"].nunique())
        label = f"eps = {eps:g}"
        upper.plot(curve["mode"], curve["loss"], color=shade, marker=".", label=label)
    upper.axhline(0.0, color="0.5", linewidth=0.6)
    ranked = part[part["eps"] == eps_of_rank]
    for number, (layer, curve) in enumerate(ranked.groupby("layer")):
        row = curve.iloc[0]
        text = f"layer {layer}: rho = {row['rho']:.2f}, p = {row['p']:.2g}"
        label = text if np.isfinite(row["rho"]) else f"layer {layer}"
        colour = f"C{number}"
        lower.semilogy(curve["mode"], curve["gain_max"], color=colour, label=label)
        lower.semilogy(curve["mode"], curve["gain_median"], color=colour, linestyle="--", lw=0.8)
    name = f"{part['model'].iloc[0]}/{part['train_seed'].iloc[0]}"
    upper.set_title(figure_label(name), fontsize=8)
    # Room above the curves for the legends.
    upper.set_ylim(-0.1, 1.45)
    upper.set_yticks([0.0, 0.5, 1.0])
    top = float(np.nanmax(part["gain_max"].to_numpy(), initial=1e-12))
    lower.set_ylim(top=max(lower.get_ylim()[1], 20.0 * top))
    for panel in (upper, lower):
        columns = 2 if panel is upper else 1
        panel.legend(fontsize=5.5, handlelength=1.5, loc="upper left", ncols=columns)


def draw_overlay(frame: pd.DataFrame, stem: Path, *, partial: bool = False) -> list[Path]:
    """Draw the table of `evaluations.trained_layers.overlay`; return the files."""
    models = frame[["model", "train_seed"]].drop_duplicates()
    count = min(len(models), MOST_MODELS)
    chosen = telling(frame)
    row = frame[frame["eps"] == chosen].iloc[0]
    note = (
        f"{row['noise']} noise on {row['task']}, horizontal: {MODE_LABEL[row['mode_unit']]}; "
        f"above: clean minus perturbed accuracy, n = {row['n']} test samples; below: gain of each "
        "layer at the same frequencies, largest (solid) and median (dashed) over channels; rho: "
        f"Spearman's rank correlation of the largest gain and the loss at eps = {chosen:g}, where "
        f"the loss varies most, over {row['modes']} modes, p by cyclic shifts of one curve against "
        "the other, two-sided, not corrected for layers"
    )
    if len(models) > count:
        note += f"; the first {count} of {len(models)} models, the CSV has all"
    note += "; PARTIAL: --limit was set" if partial else ""
    with style():
        figure, axes = new_figure(PAGE, 4.6, count, 2, sharex=True, sharey="row")
        upper, lower = axes[:count], axes[count:]
        for (model, seed), *pair in zip(models.values[:count], upper, lower, strict=True):
            own = frame[(frame["model"] == model) & (frame["train_seed"] == seed)]
            draw(own, chosen, *pair)
        upper[0].set_ylabel("loss of accuracy")
        lower[0].set_ylabel("gain |H|")
        footnote(figure, note)
        return save(figure, frame, stem, note)
