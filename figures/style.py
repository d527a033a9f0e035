"""The shared look of the figures, and how they are saved: PDF, PNG, SVG, the data as CSV.

Nothing here touches pyplot: figures are `matplotlib.figure.Figure` objects, which draw without
a display.
"""

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FuncFormatter, NullFormatter

from robustssm.evaluations.table_files import write_csv
from robustssm.plain_text import figure_label

SHEET = Path(__file__).with_name("robustssm.mplstyle")
# Width of a page in inches.
PAGE = 6.75

Look = dict[str, Any]
SUPERSCRIPT = str.maketrans("-0123456789.", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹·")
# Font size of what stands below a figure.
NOTE = 6.5

# One look for each kind of model wherever it is drawn: lines have a contrast of at least 3 to 1
# against white (WCAG 2.2, 1.4.11), and no two share dash and marker. HiPPO is a broad light band
# under everything, so that what coincides with it lies visibly on top.
_LOOKS: dict[str, Look] = {
    "hippo": {"color": "#B8B8B8", "linestyle": "-", "linewidth": 4.5, "marker": "", "zorder": 2.0},
    "s4": {"color": "#949494", "linestyle": "-", "marker": "o", "zorder": 2.5},
    "s4d": {"color": "#D55E00", "linestyle": "-", "marker": "s", "zorder": 3.0},
    "s5": {"color": "#D55E00", "linestyle": "--", "marker": "D", "zorder": 3.1},
    "dss": {"color": "#A56A34", "linestyle": "-.", "marker": "d", "zorder": 3.2},
    "s4d-lin": {"color": "#2E8BC0", "linestyle": (0, (1, 1.5)), "marker": "<", "zorder": 2.2},
    "s4d-inv": {"color": "#029E73", "linestyle": "-.", "marker": ">", "zorder": 2.6},
    "s4d-real": {"color": "#8C7A00", "linestyle": ":", "marker": "h", "zorder": 2.4},
    "s4ptd": {"color": "#CC78BC", "linestyle": (0, (4, 1.2)), "marker": "v", "zorder": 3.3},
    "s4ptd-random": {"color": "#B87503", "linestyle": (0, (3, 1, 1, 1)), "marker": "X"},
    "s4ptd-rank1": {"color": "#024A73", "linestyle": "--", "marker": "o", "zorder": 3.6},
}
# The colour of the S4 of that matrix; dash and marker of their own.
_LOOKS["s5ptd"] = {"color": "#CC78BC", "linestyle": (0, (7, 1, 1, 1)), "marker": "p", "zorder": 3.4}
_LOOKS["s5ptd-rank1"] = {
    "color": "#024A73", "linestyle": (0, (2, 1)), "marker": "P", "zorder": 3.7
}  # fmt: skip
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
    """Apply the style sheet inside the `with` block; matplotlib's settings return afterwards.

    It stands on matplotlib's own defaults, so that a user's matplotlibrc changes nothing.
    """
    with matplotlib.style.context(["default", SHEET]):
        yield


def new_figure(
    width: float = PAGE, height: float = 3.4, columns: int = 1, rows: int = 1, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Return a figure of width x height inches and its axes, row by row, `columns` in each.

    options: of `Figure.subplots`, such as which axes are shared. Call it inside `style()`.
    """
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False, **options).ravel())


def panels(count: int, columns: int, height: float, extra: float) -> tuple[Figure, list[Axes]]:
    """Return `count` panels, `columns` to a row; inches of height: of a row, extra: of the rest."""
    rows = math.ceil(count / columns)
    figure, axes = new_figure(PAGE, extra + height * rows, columns=min(count, columns), rows=rows)
    for empty in axes[count:]:
        empty.remove()
    return figure, axes[:count]


def legend(figure: Figure, axes: Iterable[Axes], columns: int, **options: Any) -> None:
    """Set one legend of all the axes, which names every label once; options: of `Figure.legend`."""
    named: dict[str, Artist] = {}
    for panel in axes:
        handles, labels = panel.get_legend_handles_labels()
        named |= dict(zip(map(str, labels), handles, strict=True))
    figure.legend(list(named.values()), list(named), ncols=columns, **options)


def looks(names: Iterable[object]) -> list[Look]:
    """Return the look of each name, further parameters of one base name with another dash."""
    seen: list[str] = []
    found = []
    for name in map(str, names):
        base = name.split(":")[0]
        found.append(look(name, seen.count(base)))
        seen.append(base)
    return found


def seed_dots(axes: Axes, x: Iterable[float], by_seed: Iterable[str], colour: Any) -> None:
    """Draw single training seeds as dots above x, where there are several.

    by_seed: the seeds' values at each x, as text parted by spaces.
    """
    values = [np.array(str(text).split(), dtype=np.float64) for text in by_seed]
    points = [(at, y) for at, own in zip(x, values, strict=True) if len(own) > 1 for y in own]
    if points:
        look: Look = {"s": 11.0, "facecolors": colour, "edgecolors": "white", "linewidths": 0.6}
        axes.scatter(*zip(*points, strict=True), zorder=5.0, **look)


def power_of_ten(value: float, _position: object = None) -> str:
    """Return the tick label of a power of ten in plain text, `10⁻³`; empty between powers.

    Plain, since parsing mathtext for each label costs more than all the rest of a figure.
    """
    exponent = round(math.log10(value)) if value > 0.0 else 0
    if not math.isclose(value, 10.0**exponent, rel_tol=1e-9):
        return ""
    return "10" + str(exponent).translate(SUPERSCRIPT)


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


def label_sizes(panel: Axes, sizes: Sequence[int]) -> None:
    """Label the horizontal axis by these state sizes, the vertical one by powers of ten."""
    label_powers(panel.yaxis)
    panel.set_xscale("log", base=2)
    panel.set_xticks(sizes, [str(n) for n in sizes])
    panel.minorticks_off()


def footnote(figure: Figure, text: str) -> None:
    """Set what is said of a figure below it, in lines that fit its width."""
    figure.supxlabel(figure_label(wrapped(text, figure, NOTE)), fontsize=NOTE)


def wrapped(text: str, figure: Figure, size: float) -> str:
    """Return `text` in lines that fit the width of the figure at a font of `size` points."""
    renderer, font = FigureCanvasAgg(figure).get_renderer(), FontProperties(size=size)
    text, room = " ".join(text.split()), 0.97 * figure.bbox.width

    def width(line: str) -> float:
        return float(renderer.get_text_width_height_descent(line, font, False)[0])

    signs = max(8, int(len(text) * room / max(width(text), 1.0)))
    while True:
        lines = textwrap.wrap(text, signs)
        if signs <= 8 or max(map(width, lines), default=0.0) <= room:
            return "\n".join(lines)
        signs -= 1


def save(figure: Figure, frame: pd.DataFrame, stem: Path, about: str = "") -> list[Path]:
    """Write stem.pdf, stem.png (200 dpi), stem.svg and stem.csv; return the paths.

    about: what is said of the figure in the metadata of all three, such as the command that draws
    it. No file has a date, the SVG's salt is fixed and the CSV has 17 digits, so that the same
    data give the same bytes.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    pdf, png, svg, csv = (
        stem.with_name(stem.name + suffix) for suffix in (".pdf", ".png", ".svg", ".csv")
    )
    with style(), mpl.rc_context({"svg.hashsalt": "robustssm"}):
        facts = {"CreationDate": None, "Creator": "robustssm", "Subject": about or None}
        figure.savefig(pdf, metadata=facts)
        # The layout found for the PDF holds for the others; finding it takes as long as drawing.
        figure.set_layout_engine("none")
        figure.savefig(png, metadata={"Software": "robustssm", "Description": about})
        facts = {"Date": None, "Creator": "robustssm", "Description": about or None}
        figure.savefig(svg, metadata=facts)
    write_csv(csv, frame)
    return [pdf, png, svg, csv]
