"""How each model is drawn, wherever it is: colour, dash and marker; and its single seeds."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from robustssm.figures.style import Look

# One look for each kind of model wherever it is drawn: lines have a contrast of at least 3 to 1
# against white (WCAG 2.2, 1.4.11), and no two share dash and marker. HiPPO is a broad light band
# under everything, so that what coincides with it lies visibly on top.
_LOOKS: dict[str, Look] = {
    "hippo": {"color": "#B8B8B8", "linestyle": "-", "linewidth": 4.5, "marker": "", "zorder": 2.0},
    "s4": {"color": "#949494", "linestyle": "-", "marker": "o", "zorder": 2.5},
    "s4d": {"color": "#D55E00", "linestyle": "-", "marker": "s", "zorder": 3.0},
    "s5": {"color": "#6A3D9A", "linestyle": "--", "marker": "D", "zorder": 3.1},
    "dss": {"color": "#A56A34", "linestyle": "-.", "marker": "d", "zorder": 3.2},
    "s4d-lin": {"color": "#2E8BC0", "linestyle": (0, (1, 1.5)), "marker": "<", "zorder": 2.2},
    "s4d-inv": {"color": "#029E73", "linestyle": "-.", "marker": ">", "zorder": 2.6},
    "s4d-real": {"color": "#8C7A00", "linestyle": ":", "marker": "h", "zorder": 2.4},
    "s4ptd": {"color": "#CC78BC", "linestyle": (0, (4, 1.2)), "marker": "v", "zorder": 3.3},
    "s4ptd-random": {"color": "#B87503", "linestyle": (0, (3, 1, 1, 1)), "marker": "X"},
    "s4ptd-rank1": {"color": "#024A73", "linestyle": "--", "marker": "o", "zorder": 3.6},
}
_LOOKS["s5ptd"] = {"color": "#B0305C", "linestyle": (0, (7, 1, 1, 1)), "marker": "p", "zorder": 3.4}
_LOOKS["s5ptd-rank1"] = {
    "color": "#007A7A", "linestyle": (0, (2, 1)), "marker": "P", "zorder": 3.7
}  # fmt: skip
_LOOKS["lru"] = {"color": "#7D8C2C", "linestyle": (0, (5, 1, 1, 1, 1, 1)), "marker": "*"}
_LOOKS["linoss-imex"] = {"color": "#4B4B4B", "linestyle": (0, (1, 2.5)), "marker": "H"}
# Further parameters of a name already drawn: same colour and marker, another dash.
_DASHES: tuple[Any, ...] = ((0, (5, 1, 1, 1)), (0, (1, 1)), (0, (3, 1, 1, 1, 1, 1)), "-")
# Line styles of models without a look of their own, as on and off lengths.
SPARE_DASHES = tuple(
    (0, on_off)
    for on_off in [(1, 1), (6, 2), (4, 1, 1, 1), (2, 1), (8, 1), (3, 3), (5, 1, 2, 1), (1, 3)]
)
SPARE_MARKERS = "PpH*8<>^"


def look(name: str, repeat: int = 0) -> Look:
    """Return line properties of an initialisation or bundled model, `s4ptd-rank1:tau=0.05` too.

    repeat counts the earlier lines of the same base name in this figure; a name without a look
    gets the sheet's next colour.
    """
    base = name.replace("/", ":").split(":")[0]
    chosen: Look = {"linestyle": "-", "marker": ".", "zorder": 2.8} | _LOOKS.get(base, {})
    if repeat:
        chosen["linestyle"] = _DASHES[(repeat - 1) % len(_DASHES)]
    return chosen


def looks(names: Iterable[object]) -> list[Look]:
    """Return the look of each name, further parameters of one base name with another dash."""
    seen: list[str] = []
    found = []
    for name in map(str, names):
        base = name.split(":")[0]
        found.append(look(name, seen.count(base)))
        seen.append(base)
    return found


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


def seed_dots(axes: Axes, x: Iterable[float], by_seed: Iterable[str], colour: Any) -> None:
    """Draw single training seeds as dots above x, where there are several.

    by_seed: the seeds' values at each x, as text parted by spaces. Many are small and pale, under
    mean and interval.
    """
    values = [np.array(str(text).split(), dtype=np.float64) for text in by_seed]
    points = [(at, y) for at, own in zip(x, values, strict=True) if len(own) > 1 for y in own]
    if points:
        look: Look = {"s": 11.0, "edgecolors": "white", "linewidths": 0.6, "zorder": 5.0}
        if max(map(len, values)) > 5:
            look = {"s": 4.0, "edgecolors": "none", "alpha": 0.45, "zorder": 1.5}
        axes.scatter(*zip(*points, strict=True), facecolors=colour, **look)
