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
    width: float = 0.0,
    height: float = 3.4,
    columns: int = 1,
    rows: int = 1,
    count: int = 0,
    **options: Any,
) -> tuple[Figure, list[Axes]]:
    """Return a figure of width x height inches and its axes, row by row, `columns` in each.

    width: 0 for that of `printed`, on which fewer columns, and so more rows, stand where they do
    not fit; count: of the axes, 0 for all; options: of `Figure.subplots`, such as which axes are
    shared. Call it inside `style()`.
    """
    count, fit = count or rows * columns, columns if width else fitting(columns)
    beside = math.ceil(count / fit)
    figure = Page(figsize=(width or _printing.get().width, height * beside / rows))
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(beside, fit, squeeze=False, **options).ravel())
    for empty in axes[count:]:
        empty.remove()
    return figure, axes[:count]


def panels(count: int, columns: int, height: float, extra: float) -> tuple[Figure, list[Axes]]:
    """Return `count` panels, at most `columns` to a row.

    Inches of height: of a row, extra: of the rest.
    """
    columns = fitting(min(count, columns))
    rows = math.ceil(count / columns)
    return new_figure(height=extra + height * rows, columns=columns, rows=rows, count=count)


def legend(figure: Figure, axes: Iterable[Axes], columns: int = 6) -> None:
    """Set one legend of all the axes outside them, which names every label once."""
    named: dict[str, Artist] = {}
    for panel in axes:
        handles, labels = panel.get_legend_handles_labels()
        named |= dict(zip(map(str, labels), handles, strict=True))
    key(figure, named, columns)


def key(figure: Figure, named: Mapping[str, Artist], columns: int = 6) -> None:
    """Set a legend of these artists by their labels outside the axes, in columns that fit."""
    longest = max((text_width(figure, label, NOTE) for label in named), default=0.0)
    # A handle of three ems, its distance from the text, and a column's from the next.
    column = (longest + 6.5 * NOTE * figure.dpi / 72.0) or 1.0
    columns = max(1, min(columns, int(figure.bbox.width / column)))
    grow(figure, math.ceil(len(named) / columns) - 2)
    figure.legend(list(named.values()), list(named), ncols=columns, loc="outside upper center")


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
        lines = wrapped(text, figure, NOTE)
        figure.supxlabel(figure_label(lines), fontsize=NOTE)
        grow(figure, lines.count("\n") - 1)


def grow(figure: Figure, lines: int) -> None:
    """Make a figure higher by so many lines of small print, so that panels keep their size."""
    figure.set_figheight(figure.get_figheight() + max(0, lines) * 1.3 * NOTE / 72.0)


def wrapped(text: str, figure: Figure, size: float, room: float = 0.0) -> str:
    """Return `text` in lines that fit a width, the figure's if 0, at a font of `size` points."""
    text, room = " ".join(text.split()), room or 0.97 * figure.bbox.width
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


def fit_texts(figure: Figure) -> None:
    """Break titles and labels that are wider than their panel, or than the figure."""
    known = [figure._suptitle] if figure._suptitle else []  # type: ignore[attr-defined]
    widths = [0.98 * figure.bbox.width] * len(known)
    for axes in figure.axes:
        place = axes.get_subplotspec()
        share = place.get_gridspec().ncols if place else 1
        known += [axes.title, axes._left_title, axes.xaxis.label]  # type: ignore[attr-defined]
        widths += [figure.bbox.width / share - 58.0] * 3
    for text, room in zip(known, widths, strict=True):
        words = text.get_text()
        if "$" not in words:
            lines = [wrapped(part, figure, text.get_fontsize(), room) for part in words.split("\n")]
            text.set_text("\n".join(lines))


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
    fit_texts(figure)
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
