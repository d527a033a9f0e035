"""Reproductions by name, and how their steps run: a finished step is read, never run again.

The table of a step is DIR/<name>/<step>-<identity>.parquet, moved there when it is whole. The
identity covers the settings, so quick and full results lie beside one another.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path

import pandas as pd

from robustssm.errors import RejectedInputError, UsageError
from robustssm.evaluations.paper.reproduction import Context, Finding, Reproduction, Settings, Step
from robustssm.evaluations.table_files import read_parquet, write_parquet

ALL = "all"
# Where reproductions are looked for; the study, which trains for a night, is above the paper's.
PACKAGES = ("robustssm.evaluations.paper", "robustssm.evaluations.study")
# Folder beside those of the reproductions.
SHARED = "shared"


@cache
def reproductions() -> dict[str, Reproduction]:
    """Return every reproduction by its name, sorted."""
    found = {}
    for package in PACKAGES:
        for entry in pkgutil.iter_modules(importlib.import_module(package).__path__):
            module = importlib.import_module(f"{package}.{entry.name}")
            reproduction = getattr(module, "REPRODUCTION", None)
            if isinstance(reproduction, Reproduction):
                found[reproduction.name] = reproduction
    return dict(sorted(found.items()))


def chosen(name: str) -> list[Reproduction]:
    """Return the reproduction of this name, all of the paper for `all`; else raise UsageError."""
    known = reproductions()
    if name == ALL:
        return [one for one in known.values() if one.of_paper]
    if name not in known:
        raise UsageError(f"reproduce: {name!r} is unknown, expected one of {', '.join(known)}, all")
    return [known[name]]


def stored_path(reproduction: Reproduction, step: Step, settings: Settings, folder: Path) -> Path:
    """Return where the table of a step lies, or will."""
    identity = reproduction.identity(step.name, settings)
    return folder / reproduction.name / f"{step.name}-{identity}.parquet"


def run(
    reproduction: Reproduction,
    settings: Settings,
    folder: Path,
    advance: Callable[[], None] = lambda: None,
    *,
    jobs: int = 1,
    started: Callable[[str], None] = lambda step: None,
) -> dict[str, pd.DataFrame]:
    """Compute the steps that are not stored yet under folder/<reproduction>, and return all tables.

    Every table is read from its file, whether it was there or not. advance is called after each
    step, started with the name of one that is computed. jobs: processes; the tables do not depend
    on it. Raises RejectedInputError for a stored table that cannot be read.
    """
    tables: dict[str, pd.DataFrame] = {}
    for step in reproduction.steps:
        path = stored_path(reproduction, step, settings, folder)
        if not path.exists():
            started(step.name)
            needed = {name: tables[name] for name in step.needs}
            context = Context(settings, needed, path.with_suffix(""), folder / SHARED, jobs)
            write_parquet(path, step.compute(context))
        tables[step.name] = read(path)
        advance()
    return tables


def read(path: Path) -> pd.DataFrame:
    """Return a stored table; RejectedInputError if it is damaged."""
    try:
        return read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are both
        raise RejectedInputError(
            f"reproduce: {path} cannot be read ({str(error).splitlines()[0]}), expected the table "
            "of a finished step; remove it and the step runs again"
        ) from error


def compare(reproduction: Reproduction, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the findings as rows: recipe, quantity, paper, found, verdict."""
    columns = [column.name for column in fields(Finding)]
    frame = pd.DataFrame(map(asdict, reproduction.findings(tables)), columns=columns)
    return frame.assign(recipe=reproduction.name)[["recipe", *columns]]
