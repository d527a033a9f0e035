"""The files of docs/data: rows that get new numbers, and say where the page had others."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import pandas as pd

DATA = Path(__file__).parent / "data"
AGAIN = "recomputed"
# value, low, high; NaN is what there is not.
Number = tuple[float, float, float]
NAN = math.nan


def put(name: str, key: Sequence[str], rows: pd.DataFrame) -> None:
    """Write rows into docs/data/NAME.csv, where each is found by its columns `key`."""
    path = DATA / f"{name}.csv"
    comment = path.read_text().splitlines()[0]
    old, new = (frame.set_index(list(key)) for frame in (pd.read_csv(path, skiprows=1), rows))
    for index in new.index.intersection(old.index):
        for column in new.columns.intersection(old.columns):
            was, now = old.loc[index, column], new.loc[index, column]
            typed = "source" in old and old.loc[index, "source"] != AGAIN
            if typed and isinstance(now, float) and not _rounds_to(now, float(was)):
                click.echo(f"{name}: {index}: {column}: page {was:g}, now {now:.6g}")
    whole = pd.concat([old[~old.index.isin(new.index)], new])
    order = dict.fromkeys([*old.index, *new.index])
    text = whole.loc[list(order)].reset_index().to_csv(index=False, lineterminator="\n")
    path.write_text(f"{comment}\n{text}")


def _rounds_to(value: float, shown: float) -> bool:
    """Return whether a number was this one when it was rounded as it is written."""
    if math.isnan(value) or math.isnan(shown):
        return math.isnan(value) and math.isnan(shown)
    digits = len(f"{shown:g}".partition("e")[0].partition(".")[2])
    return math.isclose(value, shown, abs_tol=0.51 * 10.0**-digits, rel_tol=1e-9)


def measured(command: str, numbers: Mapping[str, float | Number]) -> None:
    """Write single numbers into measured.csv."""
    rows = [
        (quantity, *(found if isinstance(found, tuple) else (found, NAN, NAN)), command, AGAIN)
        for quantity, found in numbers.items()
    ]
    columns = ["quantity", "value", "low", "high", "command", "source"]
    put("measured", ["quantity"], pd.DataFrame(rows, columns=columns))
