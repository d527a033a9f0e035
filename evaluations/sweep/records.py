"""Manifest, plan and errors of a run directory read back: each value of its kind, or why not."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from robustssm.evaluations.sweep.condition_names import CLEAN, CLEAN_NAMES
from robustssm.evaluations.sweep.run_state import Failure
from robustssm.evaluations.table_files import sealed
from robustssm.plain_text import one_line, visible
from robustssm.storage.json_files import (
    ANY_TEXT,
    NUMBER,
    SHARE,
    TABLE,
    TEXT,
    TRUTH,
    WHOLE,
    checked,
    list_of,
    or_none,
    read_json,
    table_all,
    table_of,
)
from robustssm.storage.opening import LARGEST_TEXT, read_bytes
from robustssm.targets import KINDS

# What reading a file that nobody vouched for may raise.
UNREADABLE = (OSError, ValueError, KeyError, pa.ArrowException)
_MANIFEST = {
    "schema": WHOLE,
    "plan": TEXT,
    "noise": list_of(TEXT),
    "task": TEXT,
    "task_hash": TEXT,
    "classes": or_none(WHOLE),
    "chance": SHARE,
    "target": (KINDS.__contains__, "the name of a kind of target"),
    "outputs": WHOLE,
    "length": WHOLE,
    "seed": WHOLE,
    "limit": or_none(WHOLE),
    "device": TEXT,
    "partial": TRUTH,
    "models": list_of(table_of(dict.fromkeys(("name", "content_hash", "architecture"), TEXT))),
    "attacks": table_all(TEXT),
    "cells": WHOLE,
    "argv": list_of(ANY_TEXT),
    "options": TABLE,
    "versions": TABLE,
}
# What every manifest has.
_NEEDED = {"schema", "task", "task_hash"}
# Columns of a plan by their kinds; old plans lack some of the texts.
_TEXTS = (
    *("cell", "model", "checkpoint", "task", "noise", "inject", "mode_unit", "eps_unit"),
    *("perturbation", "clip"),
)
_WHOLES = ("train_seed", "seed", "limit")
_NUMBERS = ("mode", "eps")
_ABSENT: dict[str, Any] = {**CLEAN_NAMES, "checkpoint": "", "task": "", "perturbation": "None"}
_ABSENT |= {"seed": 0, "limit": -1}
_ALWAYS = {"cell", "model", "train_seed", "noise", "eps"}
# What a mode may count, as a condition says.
_MODE_UNITS = frozenset({"", "bin", "spike", "omega", "cycles", "hz", "value"})
# Characters of the longest text of a plan, of all texts of a column; rows of the longest one.
_LONGEST = 1 << 16
_MOST_TEXT = 1 << 28
_MOST_ROWS = 10_000_000
# What may be the name of a file of its own.
_CELL = re.compile(r"[^/\\\x00.\s][^/\\\x00\s]{0,199}")


def reason(error: Exception) -> str:
    """Return what an exception says, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return visible(" ".join(text.split()))[:300] or type(error).__name__


def read_manifest(path: Path) -> dict[str, Any]:
    """Return a manifest; OSError or ValueError, in words, if it is none."""
    content = read_json(path)
    of_classes = not isinstance(content, dict) or "target" not in content
    forms = _MANIFEST if of_classes else _MANIFEST | {"chance": NUMBER}  # an error
    return checked(content, forms, _NEEDED)


def read_failure(path: Path, cell: str) -> Failure:
    """Return the record of a cell that failed; OSError or ValueError, in words, if it is none."""
    record = checked(read_json(path), {"error": ANY_TEXT, "traceback": ANY_TEXT}, {"error"})
    return Failure(cell, record["error"], record.get("traceback", ""))


def read_plan(path: Path) -> pd.DataFrame:
    """Return a stored plan, one row per cell and label; one of UNREADABLE if it is none."""
    data = read_bytes(path, LARGEST_TEXT)
    if sealed(data) is False:
        raise ValueError("its digest is not of its bytes")
    with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
        names, rows = file.schema_arrow.names, file.metadata.num_rows
    lacking = sorted(_ALWAYS - {*names})
    if lacking or len({*names}) < len(names):
        raise ValueError(f"it lacks the columns {', '.join(lacking)}" if lacking else "names twice")
    if not 1 <= rows <= min(_MOST_ROWS, len(data)):
        raise ValueError(f"it claims {rows} rows in {len(data)} bytes")
    known = [name for name in (*_TEXTS, *_WHOLES, *_NUMBERS) if name in names]
    # Texts as numbers of a dictionary: one that is repeated without end takes no memory yet.
    table = pq.read_table(
        pa.BufferReader(data),
        columns=known,
        use_threads=False,
        page_checksum_verification=True,
        read_dictionary=[name for name in known if name in _TEXTS],
    )
    if len(table) != rows:
        raise ValueError(f"its columns do not have {rows} values each")
    frame = pd.DataFrame({name: _values(name, table.column(name)) for name in known})
    for name in (*_TEXTS, *_WHOLES, *_NUMBERS):
        if name not in frame:
            frame[name] = _ABSENT[name]
    frame = frame.drop_duplicates(ignore_index=True)
    if frame.duplicated(["cell", "model", "train_seed"]).any():
        raise ValueError("it names a cell of a model twice")
    if frame[frame["noise"] == CLEAN].duplicated(["model", "train_seed"]).any():
        raise ValueError("it names two clean evaluations of a model")
    if not {*frame["mode_unit"]} <= _MODE_UNITS:
        raise ValueError("its mode_unit is not always one that is known")
    if not all(_CELL.fullmatch(cell) for cell in frame["cell"]):
        raise ValueError("a cell of it has no name of a file")
    return frame


def _values(name: str, column: pa.ChunkedArray) -> Any:
    """Return a column of a plan as what it has to be; ValueError, in words, if it is not."""
    if column.null_count:
        raise ValueError(f"its {name} is not always there")
    kind = column.type
    if name not in _TEXTS:
        whole = pa.types.is_integer(kind)
        if not whole and (name in _WHOLES or not pa.types.is_floating(kind)):
            raise ValueError(f"its {name} is of type {kind}, expected numbers")
        values = column.to_numpy().astype(np.int64 if name in _WHOLES else np.float64)
        if not np.isfinite(values).all():
            raise ValueError(f"its {name} is not always finite")
        return values
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise ValueError(f"its {name} is of type {kind}, expected text")
    texts = column.to_pandas().astype("category")
    words = list(texts.cat.categories)
    for word in words:
        if len(word) > _LONGEST or not one_line(word):
            raise ValueError(f"its {name} is {visible(word[:60])!r}, expected text of one line")
    if np.array([len(word) for word in words])[texts.cat.codes].sum() > _MOST_TEXT:
        raise ValueError(f"its {name} is text without end")
    return texts.astype(object).to_numpy()
