"""Samples from a table, CSV or Parquet: `file:samples.csv`.

Wide, a row per sample: the label, and the steps of one channel in the order of the columns; shorter
samples end in empty cells. Long, a row per step: `sample`, `step`, the label, and a column per
channel. Either may have a column `split` of train, validation and test.
"""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from robustssm.errors import RejectedInputError
from robustssm.file_formats.contents import shown
from robustssm.storage.parquet_files import opened_parquet
from robustssm.tasks.reading import Array, Source, check_room, memory, ragged

LABEL = ("label", "labels", "y", "class", "target")
_DAMAGED = (OSError, ValueError, ArithmeticError, MemoryError, pa.ArrowException)


def table_arrays(source: Source) -> dict[str, Array]:
    """Return the arrays that `arrays.task_of` reads; raises RejectedInputError."""
    frame = frame_of(source)
    label = [name for name in frame if str(name).lower() in LABEL]
    if len(label) != 1 or frame.empty:
        there = shown(", ".join(map(str, label or frame.columns[:20])) or "nothing")
        expected = f"expected one column {' or '.join(LABEL)}"
        raise source.rejected(f"has {len(frame)} rows of {there}, {expected}")
    about = {name: frame[name] for name in ("split", "sample", "step") if name in frame}
    if "step" in about and "sample" not in about:
        raise source.rejected("has a column step, and none called sample")
    values = frame.drop(columns=[label[0], *about])
    words = [name for name in values if values[name].dtype.kind not in "fiu"]
    if words or values.empty:
        found = f"column {shown(str(words[0]))} has words" if words else "has no column of numbers"
        beside = ", ".join([label[0], "sample", "step", "split"])
        raise source.rejected(f"{found}, expected numbers beside {beside}")
    if frame[[label[0], *about]].isna().any(axis=None):
        raise source.rejected(f"has rows without {', '.join([label[0], *about])}")
    numbers = values.to_numpy(np.float64)
    if {"sample", "step"} <= about.keys():
        rows, sizes = _long(source, frame, [label[0], *(["split"] if "split" in about else [])])
        numbers, first = numbers[rows], rows[np.cumsum(sizes) - sizes]
    else:
        there = ~np.isnan(numbers)
        sizes = numbers.shape[1] - np.argmax(there[:, ::-1], axis=1)
        if not there.any(axis=1).all():
            raise source.rejected("has rows without a number")
        numbers = numbers[np.arange(numbers.shape[1]) < sizes[:, None]][:, None]
        first = np.arange(len(frame))
    L = int(sizes.max())
    check_room("data", (len(sizes), L, numbers.shape[1]), 8, "take fewer samples")
    classes = frame[label[0]].to_numpy()[first]
    content = {
        "inputs": ragged(numbers, sizes, L, np.float64),
        "labels": classes if classes.dtype.kind in "iu" else classes.astype(str),
    }
    if "split" in about:
        content["split"] = about["split"].to_numpy()[first].astype(str)
    return content if (sizes == L).all() else {**content, "lengths": sizes}


def frame_of(source: Source) -> pd.DataFrame:
    """Return the table in a file, .csv or Parquet; raises RejectedInputError."""
    try:
        if source.path.suffix.lower() == ".csv":
            empty = csv.ConvertOptions(strings_can_be_null=True)
            table = csv.read_csv(io.BytesIO(source.content()), convert_options=empty)
        else:
            with opened_parquet(source.path, None, memory() // 4) as file:
                table = file.read()
        twice = [name for name in table.column_names if table.column_names.count(name) > 1]
        if twice:
            raise source.rejected(f"has two columns {shown(twice[0])}")
        return table.to_pandas().dropna(axis=1, how="all")
    except RejectedInputError:
        raise
    except FileNotFoundError:
        raise source.rejected("no such file") from None
    except _DAMAGED as error:
        said = getattr(error, "strerror", None) or error
        raise source.rejected(f"cannot be read as a table ({shown(str(said))})") from None


def _long(source: Source, frame: pd.DataFrame, constant: list[str]) -> tuple[Array, Array]:
    """Return the rows sample by sample, step by step, and how many each sample has."""
    sample = pd.factorize(frame["sample"])[0]
    rows = np.lexsort((frame["step"].to_numpy(), sample))
    if frame.duplicated(["sample", "step"]).any():
        raise source.rejected("has a step of a sample twice")
    if len(frame[["sample", *constant]].drop_duplicates()) > sample.max() + 1:
        raise source.rejected(f"has a sample with two of {' or '.join(constant)}")
    return rows, np.bincount(sample)
