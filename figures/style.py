"""The shared look of the figures, and how they are saved: PDF, PNG and the data as CSV.

Nothing here touches pyplot: figures are `matplotlib.figure.Figure` objects, which draw without
a display.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

SHEET = Path(__file__).with_name("robustssm.mplstyle")
# Width of a page in inches.
PAGE = 6.75

Look = dict[str, Any]
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

# One look for each kind of model wherever it is drawn. HiPPO is a broad light band under
# everything, so that what coincides with it lies visibly on top.
_LOOKS: dict[str, Look] = {
    "hippo": {"color": "#B8B8B8", "linestyle": "-", "linewidth": 4.5, "marker": "", "zorder": 2.0},
    "s4": {"color": "#949494", "linestyle": "-", "marker": "o", "zorder": 2.5},
    "s4d": {"color": "#D55E00", "linestyle": "-", "marker": "s", "zorder": 3.0},
    "s5": {"color": "#D55E00", "linestyle": "--", "marker": "D", "zorder": 3.1},
    "dss": {"color": "#CA9161", "linestyle": "-.", "marker": "d", "zorder": 3.2},
    "s4d-lin": {"color": "#56B4E9", "linestyle": (0, (1, 1.5)), "marker": "<", "zorder": 2.2},
    "s4d-inv": {"color": "#029E73", "linestyle": "-.", "marker": ">", "zorder": 2.6},
    "s4d-real": {"color": "#ECE133", "linestyle": ":", "marker": "h", "zorder": 2.4},
    "s4ptd": {"color": "#CC78BC", "linestyle": (0, (4, 1.2)), "marker": "v", "zorder": 3.3},
    "s4ptd-random": {"color": "#DE8F05", "linestyle": (0, (3, 1, 1, 1)), "marker": "X"},
    "s4ptd-rank1": {"color": "#024A73", "linestyle": "--", "marker": "o", "zorder": 3.6},
}
_LOOKS["s5ptd"], _LOOKS["s5ptd-rank1"] = _LOOKS["s4ptd"], _LOOKS["s4ptd-rank1"]
# Further parameters of a name already drawn: same colour and marker, another dash.
_DASHES: tuple[Any, ...] = ((0, (5, 1, 1, 1)), (0, (1, 1)), (0, (3, 1, 1, 1, 1, 1)), "-")


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


@contextmanager
def style() -> Iterator[None]:
    """Apply the style sheet inside the `with` block; matplotlib's settings return afterwards."""
    with matplotlib.style.context(SHEET):
        yield


def new_figure(
    width: float = PAGE, height: float = 3.4, columns: int = 1, rows: int = 1
) -> tuple[Figure, list[Axes]]:
    """Return a figure of width x height inches and its axes, row by row, `columns` in each.

    Call it inside `style()`.
    """
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def power_of_ten(value: float, _position: object = None) -> str:
    """Return the tick label of a power of ten in plain text, `10⁻³`; empty between powers.

    Plain, since parsing mathtext for each label costs more than all the rest of a figure.
    """
    exponent = round(math.log10(value)) if value > 0.0 else 0
    if not math.isclose(value, 10.0**exponent, rel_tol=1e-9):
        return ""
    return "10" + str(exponent).translate(_SUPERSCRIPT)


def label_powers(*axes: Axis) -> None:
    """Label the major ticks of logarithmic axes by powers of ten, the minor ones not at all.

    An axis that shows fewer than two powers of ten keeps matplotlib's labels. Call it last.
    """
    for axis in axes:
        low, high = np.log10(axis.get_view_interval())
        if np.floor(high) - np.ceil(low) < 1.0:
            continue
        axis.set_major_formatter(FuncFormatter(power_of_ten))
        axis.set_minor_formatter(NullFormatter())


def save(figure: Figure, frame: pd.DataFrame, stem: Path) -> list[Path]:
    """Write stem.pdf, stem.png (200 dpi) and stem.csv; return the paths.

    The PDF has no creation date and the CSV 17 digits, so that the same data give the same bytes.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(stem.name + suffix) for suffix in (".pdf", ".png", ".csv")]
    with style():
        figure.savefig(paths[0], metadata={"CreationDate": None, "Creator": "robustssm"})
        # The layout found for the PDF holds for the PNG; finding it takes as long as drawing.
        figure.set_layout_engine("none")
        figure.savefig(paths[1], metadata={"Software": "robustssm"})
    frame.to_csv(paths[2], index=False)
    return paths
