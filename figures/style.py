"""The shared look of the figures, and how they are saved: PDF, PNG, SVG, the data as CSV.

Nothing here touches pyplot: figures are `matplotlib.figure.Figure` objects, which draw without
a display.
"""

import io
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

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
from robustssm.storage.writing import write_atomically

SHEET = Path(__file__).with_name("robustssm.mplstyle")
# Width of a page in inches, and the least one of a panel beside others.
PAGE, PANEL = 6.75, 1.6
KINDS = ("pdf", "png", "svg")

Look = dict[str, Any]
SUPERSCRIPT = str.maketrans("-0123456789.", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹·")
# Points of what stands below a figure; nothing in a figure is smaller.
NOTE = 7.0
OMEGA = "ω (rad per unit time)"


class Printing(NamedTuple):
    """How figures are printed: inches of width, whether captions stand in them, kinds of files.

    kept: where they are put by their names, instead of being written.
    """

    width: float = PAGE
    captions: bool = True
    kinds: Sequence[str] = KINDS
    kept: dict[str, Figure] | None = None


_printing = ContextVar("printing", default=Printing())  # noqa: B039 (a tuple)

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


@contextmanager
def printed(**changes: Any) -> Iterator[None]:
    """Draw the figures inside the block with these fields of `Printing`; fonts stay as they are.

    Without captions `save` writes what they say to a text file beside the figure.
    """
    token = _printing.set(_printing.get()._replace(**changes))
    try:
        yield
    finally:
        _printing.reset(token)


def fitting(most: int, inches: float = PANEL) -> int:
    """Return how many panels of at least so many inches fit beside one another, at most `most`."""
    return max(1, min(most, int(_printing.get().width / inches)))


class Page(Figure):
    """A figure that shows itself in a notebook, whether or not pyplot is there."""

    def _repr_png_(self) -> bytes:
        with style():
            self.savefig(picture := io.BytesIO(), format="png", dpi=110)
        return picture.getvalue()


def new_figure(
    width: float = 0.0, height: float = 3.4, columns: int = 1, rows: int = 1, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Return a figure of width x height inches and its axes, row by row, `columns` in each.

    width: 0 for that of `printed`; options: of `Figure.subplots`, such as which axes are shared.
    Call it inside `style()`.
    """
    figure = Page(figsize=(width or _printing.get().width, height))
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False, **options).ravel())


def panels(count: int, columns: int, height: float, extra: float) -> tuple[Figure, list[Axes]]:
    """Return `count` panels, at most `columns` to a row, fewer on narrow paper.

    Inches of height: of a row, extra: of the rest.
    """
    columns = fitting(min(count, columns))
    rows = math.ceil(count / columns)
    figure, axes = new_figure(height=extra + height * rows, columns=columns, rows=rows)
    for empty in axes[count:]:
        empty.remove()
    return figure, axes[:count]


def legend(figure: Figure, axes: Iterable[Axes], columns: int, **options: Any) -> None:
    """Set one legend of all the axes, which names every label once, in columns that fit.

    options: of `Figure.legend`; it stands outside the axes.
    """
    named: dict[str, Artist] = {}
    for panel in axes:
        handles, labels = panel.get_legend_handles_labels()
        named |= dict(zip(map(str, labels), handles, strict=True))
    key(figure, named, columns, **options)


def key(figure: Figure, named: Mapping[str, Artist], columns: int, **options: Any) -> None:
    """Set a legend of these artists by their labels outside the axes, in columns that fit."""
    longest = max((text_width(figure, label, NOTE) for label in named), default=0.0)
    # A handle of three ems, its distance from the text, and a column's from the next.
    column = (longest + 6.5 * NOTE * figure.dpi / 72.0) or 1.0
    columns = max(1, min(columns, int(figure.bbox.width / column)))
    options = {"loc": "outside upper center"} | options
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
    """Set what is said of a figure below it, in lines that fit its width, if it has a caption."""
    if _printing.get().captions:
        figure.supxlabel(figure_label(wrapped(text, figure, NOTE)), fontsize=NOTE)


def wrapped(text: str, figure: Figure, size: float) -> str:
    """Return `text` in lines that fit the width of the figure at a font of `size` points."""
    text, room = " ".join(text.split()), 0.97 * figure.bbox.width
    signs = max(8, int(len(text) * room / max(text_width(figure, text, size), 1.0)))
    while True:
        lines = textwrap.wrap(text, signs)
        widths = [text_width(figure, line, size) for line in lines]
        if signs <= 8 or max(widths, default=0.0) <= room:
            return "\n".join(lines)
        signs -= 1


def text_width(figure: Figure, text: str, size: float) -> float:
    """Return the width in pixels of one line of text at a font of `size` points."""
    renderer, font = FigureCanvasAgg(figure).get_renderer(), FontProperties(size=size)
    return float(renderer.get_text_width_height_descent(text, font, False)[0])


def save(figure: Figure, frame: pd.DataFrame, stem: Path, about: str = "") -> list[Path]:
    """Write stem.pdf, stem.png (200 dpi), stem.svg and stem.csv, each whole; return the paths.

    about: what is said of the figure in the metadata of all three, such as the command that draws
    it. No file has a date, the SVG's salt is fixed and the CSV has 17 digits, so that the same
    data give the same bytes. Other kinds, and stem.txt instead of a caption: see `printed`. Raises
    OSError, which names the file, if one cannot be written.
    """
    if (kept := _printing.get().kept) is not None:
        kept[stem.name] = figure
        return []
    facts: dict[str, dict[str, str | None]] = {
        "pdf": {"CreationDate": None, "Creator": "robustssm", "Subject": about or None},
        "png": {"Software": "robustssm", "Description": about},
        "svg": {"Date": None, "Creator": "robustssm", "Description": about or None},
    }
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in _printing.get().kinds]
    with style(), mpl.rc_context({"svg.hashsalt": "robustssm"}):
        for path in paths:
            kind = path.suffix[1:]
            figure.savefig(picture := io.BytesIO(), format=kind, metadata=facts[kind])
            write_atomically(path, picture.getvalue())
            # The layout found for the first holds for the others; finding it takes as long as
            # drawing.
            figure.set_layout_engine("none")
    paths.append(stem.with_name(stem.name + ".csv"))
    write_csv(paths[-1], frame)
    if about and not _printing.get().captions:
        paths.append(stem.with_name(stem.name + ".txt"))
        write_atomically(paths[-1], f"{about}\n".encode())
    return paths
