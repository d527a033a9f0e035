"""Points with intervals, models side by side, and how each model of a figure is drawn."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from robustssm.figures.style import Look, look, seed_dots
from robustssm.plain_text import figure_label

# Line styles of models without a look of their own, as on and off lengths.
SPARE_DASHES = tuple(
    (0, on_off)
    for on_off in [(1, 1), (6, 2), (4, 1, 1, 1), (2, 1), (8, 1), (3, 3), (5, 1, 2, 1), (1, 3)]
)
SPARE_MARKERS = "PpH*8<>^"
DOTTED: dict[str, Any] = {"color": "0.3", "linewidth": 0.8, "linestyle": (0, (1, 2))}


def model_looks(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return each model's line properties, no two alike among 64; colours are #rrggbb.

    A bundled name has the same look in every figure; a name without one, or whose look another
    model of this figure has already (another training seed), takes the next free look.
    """
    colours = sns.color_palette("dark", len(SPARE_DASHES)).as_hex()
    looks: dict[str, dict[str, Any]] = {}
    taken_spares = 0
    for model in dict.fromkeys(frame["model"]):
        chosen = look(model)
        taken = any(chosen.items() == other.items() for other in looks.values())
        if "color" not in chosen or taken:
            turn, k = divmod(taken_spares, len(colours))
            other = (k + turn) % len(colours)
            spare = {"linestyle": SPARE_DASHES[other], "marker": SPARE_MARKERS[other]}
            chosen = {**chosen, "color": colours[k], **spare}
            taken_spares += 1
        looks[model] = chosen
    return looks


def places(values: Iterable[float], unit: str) -> dict[float, float]:
    """Return where on a linear axis each strength stands: by its logarithm, decibels falling."""
    different = sorted(set(values), reverse=unit == "snr-db")
    if unit == "snr-db":
        return {value: -value / 6.0 for value in different}
    return {value: np.log10(value) if different[0] > 0.0 else value for value in different}


def draw_points(
    frame: pd.DataFrame,
    axes: Axes,
    column: str,
    at: Mapping[float, float],
    *,
    y: str = "accuracy",
    clean: bool = False,
) -> None:
    """Draw y with its interval at each value of a column, models side by side; strengths joined.

    at: the place of each value; clean: whether the clean accuracy stands at the left end.
    """
    looks, order = model_looks(frame), sorted(at.values())
    gap = float(np.diff(order).min()) if len(order) > 1 else 1.0
    joined = column == "eps"
    apart = min(0.06 if joined else 0.16, 0.7 / len(looks))
    for number, (model, line) in enumerate(looks.items()):
        line = line if joined else line | {"linestyle": ""}
        shift = gap * apart * (number - (len(looks) - 1) / 2)
        group = frame[frame["model"] == model].set_index(column).reindex(list(at))
        where = np.array(list(at.values())) + shift
        values = group[y].to_numpy(dtype=np.float64)
        bars = np.abs(group[["ci_low", "ci_high"]].to_numpy(dtype=np.float64).T - values)
        thin: Look = {"capsize": 1.5, "elinewidth": 0.9, "label": figure_label(model)}
        axes.errorbar(where, values, bars, **thin, **line)
        seed_dots(axes, where, group["by_seed"].fillna(""), line["color"])
        known = group["clean_accuracy"].dropna()
        if clean and len(known):
            axes.plot(order[0] - gap + shift, known.iloc[0], **line)
    if clean:
        axes.axvline(order[0] - 0.5 * gap, color="0.8", linewidth=0.6)


def label_strengths(axes: Axes, at: Mapping[float, float], unit: str, clean: bool) -> None:
    """Label the places of strengths, and that of the clean accuracy before them."""
    order = list(at.values())
    gap = float(np.diff(order).min()) if len(order) > 1 else 1.0
    ticks = {"clean": order[0] - gap} if clean else {}
    ticks |= {f"{eps:g}": place for eps, place in at.items()}
    axes.set_xticks(list(ticks.values()), list(ticks))
    axes.set_xlabel(figure_label(f"eps ({unit})"))
