"""What the figures of the paper share: panels in rows, means with bands, captions, legends."""

import math
import textwrap
from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from robustssm.figures.style import PAGE, Look, new_figure

# Characters of a caption's line on a page's width, and its font size.
LINE, SMALL = 115, 7.0


def panels(count: int, columns: int, height: float, extra: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of `count` panels, in rows of at most `columns`.

    height: of a row; extra: for what stands above and below all rows, both in inches.
    """
    rows = math.ceil(count / columns)
    figure, axes = new_figure(PAGE, extra + height * rows, columns=min(count, columns), rows=rows)
    for empty in axes[count:]:
        empty.remove()
    return figure, axes[:count]


def mean_with_band(
    panel: Axes, rows: pd.DataFrame, x: str, look: Look, y: str = "accuracy", label: str = ""
) -> None:
    """Draw the mean over seeds as a line, its interval as a band; no band if there is none."""
    (line,) = panel.plot(rows[x], rows[y], label=label, **look)
    low, high = (rows[end].fillna(rows[y]) for end in ("ci_low", "ci_high"))
    panel.fill_between(rows[x], low, high, color=line.get_color(), alpha=0.13, linewidth=0.0)


def headline(figure: Figure, text: str) -> None:
    """Set the caption above all panels, in lines that a page holds."""
    figure.suptitle(textwrap.fill(text, LINE), fontsize=SMALL, x=0.01, ha="left")


def legend_below(figure: Figure, axes: Iterable[Axes], columns: int = 5) -> None:
    """Set one legend of all panels below them."""
    named: dict[str, Artist] = {}
    for panel in axes:
        handles, labels = panel.get_legend_handles_labels()
        named |= dict(zip(map(str, labels), handles, strict=True))
    columns = min(columns, len(named))
    options: dict[str, Any] = {"loc": "outside lower center", "fontsize": SMALL}
    figure.legend(list(named.values()), list(named), ncols=columns, **options)
