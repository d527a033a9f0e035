"""The figures of the paper's reproductions: found by name, saved as PDF, PNG, SVG and CSV."""

import importlib
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from robustssm.errors import UsageError
from robustssm.figures.paper.panels import headline
from robustssm.figures.style import save, style


def draw_all(name: str, tables: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Draw the figures of the reproduction `name` from its stored tables; return the paths.

    They are what `drawn` of `robustssm.figures.paper.<name>` yields, dashes being underscores
    there: `Drawn` in `panels`. Their CSV has a column `command` as well, which their captions end
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
                frame.to_csv(paths[-1], index=False)
                continue
            if caption:
                headline(figure, f"{caption} {command}")
            paths += save(figure, frame.assign(command=command), folder / stem, command)
    return paths
