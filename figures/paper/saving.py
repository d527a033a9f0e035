"""What the paper's figures share: how they are found, saved and headed; means with bands."""

import importlib
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from robustssm.errors import UsageError
from robustssm.evaluations.paper.reproduction import Tables
from robustssm.evaluations.table_files import write_csv
from robustssm.figures.style import Look, legend, save, seed_dots, style

# Characters of a caption's line on a page's width, and its font size.
LINE, SMALL = 115, 7.0


class Drawn(NamedTuple):
    """A figure to save as `stem` (None: the data alone), its data, its caption without command."""

    stem: str
    figure: Figure | None
    frame: pd.DataFrame
    caption: str = ""


Drawings = Iterator[Drawn]


def mean_with_band(
    panel: Axes, rows: pd.DataFrame, x: str, look: Look, y: str = "accuracy", label: str = ""
) -> None:
    """Draw the mean over seeds as a line, its interval as a band; no band if there is none.

    Single seeds are dots.
    """
    (line,) = panel.plot(rows[x], rows[y], label=label, **look)
    low, high = (rows[end].fillna(rows[y]) for end in ("ci_low", "ci_high"))
    seed_dots(panel, rows[x], rows["by_seed"], line.get_color())
    panel.fill_between(rows[x], low, high, color=line.get_color(), alpha=0.13, linewidth=0.0)


def legend_below(figure: Figure, axes: Iterable[Axes], columns: int = 5) -> None:
    """Set one legend of all panels below them."""
    legend(figure, axes, columns, loc="outside lower center", fontsize=SMALL)


def draw_all(name: str, tables: Tables, folder: Path) -> list[Path]:
    """Draw the figures of the reproduction `name` from its stored tables; return the paths.

    They are what `drawn` of `robustssm.figures.paper.<name>` yields, dashes being underscores
    there: `Drawn`. Their CSV has a column `command` as well, which their captions end
    in. Raises UsageError if that module does not exist.
    """
    module = f"robustssm.figures.paper.{name.replace('-', '_')}"
    try:
        drawing = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise UsageError(f"figures: {name!r} has none, expected {module}; add that file") from error
    command = f"robustssm reproduce {name}"
    paths: list[Path] = []
    with style():
        for stem, figure, frame, caption in drawing.drawn(tables):
            if figure is None:
                paths.append(folder / f"{stem}.csv")
                write_csv(paths[-1], frame)
                continue
            if caption:
                text = textwrap.fill(f"{caption} {command}", LINE)
                figure.suptitle(text, fontsize=SMALL, x=0.01, ha="left")
            paths += save(figure, frame.assign(command=command), folder / stem, command)
    return paths
