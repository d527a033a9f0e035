"""The figures of the paper's reproductions: found by name, saved as PDF, PNG, SVG and CSV."""

import importlib
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from robustssm.errors import UsageError
from robustssm.figures.style import save


def draw_all(name: str, tables: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Draw the figures of the reproduction `name` from its stored tables; return the paths.

    They are those of `robustssm.figures.paper.<name>`, dashes being underscores there. Raises
    UsageError if that module does not exist.
    """
    module = f"robustssm.figures.paper.{name.replace('-', '_')}"
    try:
        drawing = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise UsageError(f"figures: {name!r} has none, expected {module}; add that file") from error
    paths: list[Path] = drawing.draw_all(tables, folder)
    return paths


def save_four(figure: Figure, frame: pd.DataFrame, stem: Path, command: str) -> list[Path]:
    """Write stem.pdf, .png, .svg and .csv; the CSV has a column `command` as well."""
    return save(figure, frame.assign(command=command), stem, command)
