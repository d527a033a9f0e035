"""Samples from a Parquet file, or from the Hugging Face hub.

`inputs` is a column of lists of numbers, (steps) or (steps x channels), of texts, or of encoded
images (PNG, JPEG, WebP): whole numbers are tokens, texts become bytes plus 1; 0 pads both,
`lengths` says where they end; images of one size are read row by row, values in [0, 1]. `label`
holds integers from 0, or names, which are numbered in their order. `split` names a column whose
values are train, validation and test; a file without one is a test set, whose inputs also give the
unit of strengths. sample_id is the row, counted through train, validation and test where they are
apart.

Source: Apache Parquet; Lhoest et al., Datasets: a community library (arXiv 2109.02846).
"""

import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from robustssm.errors import RobustssmError, UsageError
from robustssm.file_formats.contents import shown
from robustssm.storage.opening import opened, size_of
from robustssm.storage.parquet_files import opened_parquet
from robustssm.tasks.base import SPLITS, Split, Task, spec_of
from robustssm.tasks.columns import Column, column, lengths_of, names_of, padded
from robustssm.tasks.generated import check
from robustssm.tasks.reading import (
    ALIASES,
    Array,
    Source,
    check_flag,
    check_limit,
    check_room,
    memory,
    places_of,
    within,
)
from robustssm.typing import IntArray

_WHO = "hub"
LONGEST = 1 << 20
# Columns that a message names.
_NAMED = 20
# What a column may become, padded or as pixels: this many times its bytes, or 4 GiB if it is small.
_EXPANSION, _SMALL = 256, 4 << 30


def hub(
    inputs: str,
    label: str = "label",
    path: str = "",
    name: str = "",
    split: str = "",
    max_length: int = 0,
    limit: int = 0,
    gray: int = 0,
) -> Task:
    """Return the task; inputs (N, L, channels), or tokens (N, L).

    path: a .parquet file, a folder of them (train-0.parquet or train/0.parquet; without such
    names all are test samples) or of `save_to_disk`; or name: ORG/NAME on the hub, which the
    package `datasets` fetches;
    inputs, label, split: columns (split of a file only); max_length: sequences are cut after so
    many steps, 0 for none; limit: the first samples of each split, 0 for all, and no other
    input is looked at; gray: 1 for images without their colours. Raises UsageError
    if a column or the package `datasets` is missing, RejectedInputError for damaged files.
    """
    if bool(path) == bool(name) or (name and split):
        raise UsageError(f"{_WHO}: expected path=FILE.parquet[:split=COLUMN], or name=ORG/NAME")
    check(_WHO, "max_length", max_length, 0, LONGEST)
    kept, grey = check_limit(_WHO, limit), check_flag(_WHO, "gray", gray)
    source = Source(_WHO, Path(path).expanduser() if path else Path(name))
    if path:
        table, places = _read(source, [inputs, label, *([split] if split else [])])
        places = places_of(source, table.column(split).to_pylist()) if split else places
    else:
        table, places = _fetched(source, [inputs, label])
    if not len(places):
        raise source.rejected("has no rows")
    labels, names = names_of(source, label, table.column(label))
    chosen = [np.flatnonzero(places == number)[:kept] for number in range(len(SPLITS))]
    with within(max(_SMALL, _EXPANSION * table.nbytes) if path else memory()):
        values = column(source, inputs, table.column(inputs).take(np.concatenate(chosen)), grey)
        if grey and values.image is None:
            raise UsageError(
                f"{_WHO} {source.path}: gray=1 is for images, column {inputs!r} holds none"
            )
        parts = _parts(values, labels, chosen, max_length)
    if not len(parts[0]):
        # All there is are test samples: they stand in for the training inputs, as in file:.
        parts[0] = parts[2]
        if split or name:
            raise source.rejected("has no training samples")
    given = {
        **({"path": source.path} if path else {"name": name}),
        **{"inputs": inputs, "label": label, "split": split},
        **{"max_length": max_length, "limit": limit, "gray": gray},
    }
    splits = dict(zip(SPLITS, parts, strict=True))
    tokens = None
    if values.tokens:
        tokens = 257 if values.text else 1 + max(int(p.inputs.max()) for p in parts if len(p))
    image = values.image if not max_length or max_length >= lengths_of(values)[0] else None
    spec, called = spec_of(_WHO, given, hub), tuple(names)
    return Task(spec, len(names), splits, tokens=tokens, image=image, names=called)


def _parts(
    values: Column, labels: IntArray, chosen: Sequence[IntArray], max_length: int
) -> list[Split]:
    """Return the three splits, padded to one length; values: of the chosen rows, in their order."""
    sizes = lengths_of(values)
    longest = int(sizes.max())
    length = min(longest, max_length) if max_length else longest
    shape, itemsize = (len(sizes), length, values.channels), 8 if values.tokens else 4
    check_room(_WHO, shape, itemsize, "give limit= or max_length=")
    parts, start = [], 0
    for index in chosen:
        own = np.arange(start, start + len(index))
        start += len(index)
        inputs, lengths = padded(values, own, length)
        unequal = bool((np.minimum(sizes, length) < length).any())
        parts.append(Split(inputs, labels[index], index, lengths if unequal else None))
    return parts


def _read(source: Source, columns: list[str]) -> tuple[Any, IntArray]:
    """Return these columns of a Parquet file, or of the files in a folder, and each row's split."""
    folder, room = source.path, memory() // 4
    tables, words = [], []
    files = [folder]
    if folder.is_dir():
        # `datasets` keeps what it computed in cache-*.arrow.
        found = (p for p in folder.rglob("*") if p.suffix in (".parquet", ".arrow"))
        files = sorted(path for path in found if not path.name.startswith("cache-"))
    for path in files:
        try:
            table = _table(path, columns, room)
            table.validate(full=True)
        except RobustssmError:
            raise
        except FileNotFoundError:
            raise source.rejected("no such file") from None
        except (pa.ArrowException, OSError, MemoryError, ValueError, ArithmeticError) as error:
            said = getattr(error, "strerror", None) or error
            whole = Source(_WHO, path)
            raise whole.rejected(f"is no whole {path.suffix or '.parquet'} file ({said})") from None
        room -= table.nbytes
        tables.append(table)
        inside = path.relative_to(folder).as_posix() if path != folder else ""
        named = [word for word in re.split("[-_/.]", inside) if word in ALIASES]
        words += [named[0] if named else ""] * table.num_rows
    if not tables:
        raise source.rejected("has no .parquet or .arrow file")
    table = pa.concat_tables(tables)
    return table, places_of(source, words) if any(words) else np.full(len(words), 2)


def _table(path: Path, columns: list[str], room: int) -> Any:
    if path.suffix == ".arrow":
        with opened(path) as file:
            if size_of(file) > room:
                raise OSError(f"takes {size_of(file)} bytes, expected at most {room}")
            table = pa.ipc.open_stream(file).read_all()
        _check_columns(path, columns, table.column_names)
        return table.select(columns)
    with opened_parquet(path, columns, room) as file:
        _check_columns(path, columns, file.schema_arrow.names)
        return file.read(columns)


def _check_columns(path: Path, columns: Sequence[str], there: Sequence[str]) -> None:
    missing = [one for one in columns if one not in there]
    if missing:
        known = ", ".join(map(shown, there[:_NAMED])) + (", ..." if len(there) > _NAMED else "")
        raise UsageError(f"{_WHO} {path}: has no column {missing[0]!r}, expected one of {known}")


def _fetched(source: Source, columns: list[str]) -> tuple[Any, Array]:
    """Return these columns of the splits of a data set on the hub, and each row's split."""
    try:
        datasets = importlib.import_module("datasets")
    except ImportError:
        raise UsageError(
            f"{_WHO}: name= needs the package datasets: pip install 'robustssm[hub]'"
        ) from None
    try:
        dataset = datasets.load_dataset(str(source.path))
    except (OSError, ValueError, RuntimeError) as error:
        raise source.rejected(f"cannot be fetched ({error})") from None
    tables, places = [], []
    for split, number in ALIASES.items():
        if split not in dataset:
            continue
        _check_columns(source.path, columns, dataset[split].column_names)
        table = dataset[split].with_format("arrow")[:].select(columns)
        tables.append(table)
        places.append(np.full(table.num_rows, number))
    if not tables:
        raise source.rejected(f"has no split called {', '.join(ALIASES)}")
    return pa.concat_tables(tables), np.concatenate(places)
