"""Figures of a run that are drawn again only where its tables changed."""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd

from robustssm.evaluations.sweep.run_directory import sweep_figures
from robustssm.files import write_atomically

# What the figures in a folder were drawn from, and their names.
_MARK = ".drawn"


def keep_drawn(
    summary: pd.DataFrame, tests: pd.DataFrame, overview: pd.DataFrame, folder: Path, **facts: Any
) -> None:
    """Draw the figures of a sweep's tables, unless they are there as of these very tables.

    Figures of a sweep that are not drawn any more are removed, other files stay. Arguments: as of
    `sweep_figures.draw_tables`.
    """
    mark = folder / _MARK
    tables = [table.to_csv(index=False) for table in (summary, tests, overview)]
    digest = hashlib.sha256("\0".join([*tables, str(sorted(facts.items()))]).encode()).hexdigest()
    drawn = mark.read_text().splitlines() if mark.is_file() else []
    if drawn[:1] == [digest] and all((folder / name).is_file() for name in drawn[1:]):
        return
    from robustssm.figures.sweep_figures import draw_tables

    mark.unlink(missing_ok=True)
    files = draw_tables(summary, tests, overview, folder, **facts)
    for path in set(sweep_figures(folder)) - set(files):
        path.unlink()
    names = sorted(path.name for path in files)
    write_atomically(mark, "\n".join([digest, *names]).encode())
