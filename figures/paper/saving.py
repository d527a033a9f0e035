"""What the paper's figures share: how they are found, saved and headed; means with bars."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from robustssm.errors import UsageError
from robustssm.evaluations.paper.reproduction import Tables
from robustssm.evaluations.table_files import write_csv
from robustssm.figures.looks import seed_dots
from robustssm.figures.style import Look, footnote, save, style

SIDES = ((-1.0, "ci_low"), (1.0, "ci_high"))


class Drawn(NamedTuple):
    """A figure to save as `stem` (None: the data alone), its data, its caption without command."""

    stem: str
    figure: Figure | None
    frame: pd.DataFrame
    caption: str = ""


Drawings = Iterator[Drawn]


def mean_with_bars(panel: Axes, rows: pd.DataFrame, x: str, look: Look, label: str = "") -> None:
    """Draw mean accuracies as a line, their intervals as bars where there are any; seeds are dots.

    Thin ones: the intervals of few seeds are wide, and as bands would cover one another.
    """
    bars = [(sign * (rows[end] - rows["accuracy"])).fillna(0.0) for sign, end in SIDES]
    thin: Look = {"elinewidth": 0.6, "linewidth": 1.1, "markersize": 3.0, **look}
    (line, *_) = panel.errorbar(rows[x], rows["accuracy"], bars, label=label, **thin)
    seed_dots(panel, rows[x], rows["by_seed"], line.get_color())


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
                footnote(figure, f"{caption} {command}")
            about = f"{caption} {command}".strip()
            paths += save(figure, frame.assign(command=command), folder / stem, about)
    return paths
