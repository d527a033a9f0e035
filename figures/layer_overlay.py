"""Does the accuracy drop sit where a layer's gain peaks? Both on one axis of frequency."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from robustssm.evaluations.results.cell_reader import MODE_LABEL
from robustssm.figures.style import Look, fitting, footnote, key, new_figure, save, style
from robustssm.plain_text import figure_label

# Models of one figure, a column each; further ones are in the CSV beside it.
MOST_MODELS = 4
RHO = "\N{GREEK SMALL LETTER RHO}"


def telling(frame: pd.DataFrame) -> float:
    """Return the eps at which the loss varies most over modes; the gain has no part in the choice.

    Where every mode is at chance, or none does harm, ranks are noise.
    """
    first = frame[frame["layer"] == frame["layer"].min()]
    spread = first.groupby("eps")["loss"].std().fillna(0.0)
    return float(spread.idxmax())


def draw(part: pd.DataFrame, eps_of_rank: float, upper: Axes, lower: Axes) -> dict[str, Artist]:
    """Draw one model: loss of accuracy above, each layer's gain below; return the key.

    Solid lines: the largest gain over channels; dashed: the median. Layers go from dark to light.
    The rank correlations of the loss at `eps_of_rank` with the largest gains stand above the gains.
    """
    first = part[part["layer"] == part["layer"].min()]
    named: dict[str, Artist] = {}
    dashes = ["-", (0, (4, 1)), (0, (1, 1))]
    for number, (eps, curve) in enumerate(first.groupby("eps")):
        line: Look = {
            "color": str(0.65 - 0.65 * (number + 1) / first["eps"].nunique()),
            "linewidth": 1.0,
        }
        line["linestyle"] = dashes[-1 - number % 3]
        (named[f"eps = {eps:g}"],) = upper.plot(curve["mode"], curve["loss"], **line)
    upper.axhline(0.0, color="0.5", linewidth=0.6)
    ranked = part[part["eps"] == eps_of_rank]
    layers = list(ranked.groupby("layer"))
    shades = colormaps["viridis"](np.linspace(0.0, 0.8, len(layers)))
    for shade, (layer, curve) in zip(shades, layers, strict=True):
        line = {"color": shade, "linewidth": 1.0}
        (named[f"layer {layer}"],) = lower.semilogy(curve["mode"], curve["gain_max"], **line)
        lower.semilogy(curve["mode"], curve["gain_median"], **line, linestyle="--")
    named["largest gain"] = Line2D([], [], color="0.3", linewidth=1.0)
    named["median gain"] = Line2D([], [], color="0.3", linewidth=1.0, linestyle="--")
    name = figure_label(f"{part['model'].iloc[0]}/{part['train_seed'].iloc[0]}")
    upper.set(title=name, ylim=(-0.05, 1.0))
    known = [f"{curve['rho'].iloc[0]:.2f}" for _, curve in layers]
    minus = ", ".join(known).replace("nan", "-").replace("-0", "\N{MINUS SIGN}0")
    lower.set_title(f"{RHO} = {minus}")
    return named


def draw_overlay(frame: pd.DataFrame, stem: Path, *, partial: bool = False) -> list[Path]:
    """Draw the table of `evaluations.trained_layers.overlay`; return the files."""
    models = frame[["model", "train_seed"]].drop_duplicates()
    count = min(len(models), MOST_MODELS)
    chosen = telling(frame)
    row = frame[frame["eps"] == chosen].iloc[0]
    note = (
        f"{row['noise']} noise on {row['task']}, n = {row['n']} test samples; loss: clean minus "
        f"perturbed accuracy; {RHO} of each layer: rank correlation of its largest gain with the "
        f"loss at eps = {chosen:g}, over {row['modes']} modes"
    )
    if len(models) > count:
        note += f"; the first {count} of {len(models)} models, the CSV has all"
    note += "; PARTIAL: --limit was set" if partial else ""
    with style():
        columns = fitting(count)
        bands = -(-count // columns)
        figure, axes = new_figure(
            height=0.8 + 3.4 * bands, columns=columns, rows=2 * bands, sharex=True
        )
        for spare in axes[(2 * bands - 1) * columns + (count - 1) % columns + 1 :]:
            spare.remove()
        for number, (model, seed) in enumerate(models.values[:count]):
            place = number // columns * 2 * columns + number % columns
            upper, lower = axes[place], axes[place + columns]
            own = frame[(frame["model"] == model) & (frame["train_seed"] == seed)]
            named = draw(own, chosen, upper, lower)
            if number % columns == 0:
                upper.set_ylabel("loss of accuracy")
                lower.set_ylabel("gain |H|")
            if number + columns >= count:
                lower.set_xlabel(MODE_LABEL[row["mode_unit"]].replace(" (", "\n("))
        key(figure, named, 8)
        footnote(figure, note)
        return save(figure, frame, stem, note)
