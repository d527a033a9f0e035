"""Time series of the UCR, UEA and TSER archives, from .ts and .tsv files.

The two files, NAME_TRAIN and NAME_TEST, stand side by side. Series of unequal lengths are padded
with 0, `lengths` says where they end (in .tsv files they end in NaN). Classes are numbered in
order, by value if all labels are numbers. The archives have no validation split: `validation`
takes a share of the training series for it. sample_id counts the training series, then the test
series, in the order of the files. sktime and aeon bring some of them, PLAID and JapaneseVowels
among them: their files are read where they lie, without a download or an import. A .ts file with a
target in place of class labels (@targetLabel true), such as Covid3Month, is a regression.

Source: Dau et al., The UCR Time Series Archive (arXiv 1810.07758), section 3; Bagnall et al., The
UEA Multivariate Time Series Classification Archive (arXiv 1811.00075), section 2, and the format's
description by sktime (.ts); the archive's own README (.tsv: the label, then the values); Tan et
al., Monash University, UEA, UCR Time Series Extrinsic Regression Archive (arXiv 2006.10996).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from robustssm.errors import UsageError, nearest
from robustssm.file_formats.contents import shown
from robustssm.plain_text import is_count
from robustssm.targets import CLASSES, VALUES
from robustssm.tasks.base import Split, Task, spec_of
from robustssm.tasks.generated import check
from robustssm.tasks.reading import Source, check_room, held_out, packaged, ragged
from robustssm.typing import FloatArray, IntArray

_WHO = "ucr"
_NOWHERE = Path()
# What begins a comment: aeon keeps those of .arff files.
_COMMENTS = ("#", "%")
_LARGEST = float(np.finfo(np.float32).max)
_MISSING = "lacks values; fill them in, or leave these series out"


@dataclass(frozen=True)
class Series:
    """Values (sum of lengths, channels), one series after another; lengths, labels (N,).

    declared: the labels that the header names, empty if it names none; regression: whether labels
    are numbers to predict.
    """

    values: FloatArray
    lengths: IntArray
    labels: list[str]
    declared: tuple[str, ...] = ()
    regression: bool = False


def bundled() -> dict[str, Path]:
    """Return the training files that sktime or aeon bring, by the names of their tasks."""
    found: dict[str, Path] = {}
    for folder in packaged("sktime", "aeon"):
        for file in sorted(folder.glob("datasets/data/*/*_TRAIN.ts")):
            found.setdefault(file.stem.removesuffix("_TRAIN"), file)
    return found


def ucr(path: Path = _NOWHERE, name: str = "", validation: float = 0.1) -> Task:
    """Return the task; inputs (N, L, channels), L the longest series of both files.

    path: NAME_TRAIN.ts or .tsv, or NAME_TEST; name: instead of it, one that sktime or aeon bring;
    validation: share of the training series, 0 to 0.5; 0 leaves the published split as it is.
    Raises RejectedInputError; UsageError if the name is not there.
    """
    check(_WHO, "validation", validation, 0.0, 0.5)
    if (path == _NOWHERE) == (not name):
        raise UsageError(f"{_WHO}: expected either path=NAME_TRAIN.ts or name=NAME")
    if name:
        there = bundled()
        if not there:
            raise UsageError(
                f"{_WHO}: {shown(name)} comes with sktime or aeon, and neither is installed; "
                "pip install 'robustssm[ucr]', or give path=NAME_TRAIN.ts"
            )
        if name not in there:
            raise UsageError(
                f"{_WHO}: {shown(name)} comes with neither sktime nor aeon as installed, "
                f"{nearest(name, there)}, or path=NAME_TRAIN.ts"
            )
        path = there[name]
    stem, ending = path.stem, path.suffix.lower()
    both = stem.removesuffix("_TRAIN").removesuffix("_TEST")
    if ending not in (".ts", ".tsv") or both == stem:
        raise Source(_WHO, path).rejected("expected a file NAME_TRAIN.ts or NAME_TRAIN.tsv")
    sources = [
        Source(_WHO, path.with_name(f"{both}_{split}{path.suffix}")) for split in ("TRAIN", "TEST")
    ]
    train, test = map(read_ts if ending == ".ts" else read_tsv, sources)
    if train.values.shape[1] != test.values.shape[1]:
        raise sources[1].rejected(
            f"has {test.values.shape[1]} channels, the training file {train.values.shape[1]}"
        )
    if train.regression != test.regression:
        raise sources[1].rejected("and the training file are of classes and of values")
    names = [] if train.regression else _classes(sources[1], train, test)
    length = int(max(train.lengths.max(), test.lengths.max()))
    count = len(train.labels) + len(test.labels)
    check_room(_WHO, (count, length, train.values.shape[1]), 4, "use a machine with more memory")
    numbers = {label: number for number, label in enumerate(names)}
    unequal = bool(min(train.lengths.min(), test.lengths.min()) < length)
    whole = []
    for part, first in ((train, 0), (test, len(train.labels))):
        inputs = ragged(part.values, part.lengths, length, np.float32)
        if train.regression:
            labels = np.array(part.labels, dtype=np.float64)[:, None]
        else:
            labels = np.array([numbers[label] for label in part.labels], dtype=np.int64)
        ids = first + np.arange(len(labels))
        whole.append(Split(inputs, labels, ids, part.lengths if unequal else None))
    kept, validating = held_out(len(train.labels), validation)
    if not len(kept):
        raise sources[0].rejected("has too few series to hold some out; give validation=0")
    splits = {"train": whole[0].rows(kept), "validation": whole[0].rows(validating)}
    data: dict[str, object] = {"name": name} if name else {"path": sources[0].path}
    spec = spec_of(_WHO, {**data, "validation": validation}, ucr)
    kind = VALUES if train.regression else CLASSES
    splits["test"] = whole[1]
    return Task(spec, len(names) or 1, splits, names=tuple(names), kind=kind)


def _classes(source: Source, train: Series, test: Series) -> list[str]:
    """Return the labels in order: those that the header declares, or that occur."""
    names = set(train.declared or train.labels)
    unknown = sorted(set(test.labels) - names)
    if unknown:
        raise source.rejected(f"has the label {unknown[0]!r}, which the training file lacks")
    try:
        return sorted(names, key=lambda name: (float(name), name))
    except ValueError:
        return sorted(names)


def read_ts(source: Source) -> Series:
    """Return the series of a .ts file; raises RejectedInputError."""
    header, lines = _header(source)
    if header.get("timestamps", "false") != "false":
        raise source.rejected("has time stamps, expected series at equal steps")
    regression = header.get("targetlabel") == "true"
    declared = ["true", ""] if regression else header.get("classlabel", "").split()
    if declared[:1] != ["true"] or len(declared) < 2 or len(set(declared)) < len(declared):
        raise source.rejected("declares no class labels, expected @classLabel true A B ...")
    channels = _channels(source, header)
    found: list[tuple[str, FloatArray]] = []
    for number, line in enumerate(lines, start=1):
        *dimensions, label = line.split(":")
        if len(dimensions) < 1 or (channels is not None and len(dimensions) != channels):
            raise source.rejected(
                f"series {number} has {len(dimensions)} dimensions, expected {channels or 'some'}",
            )
        channels = len(dimensions)
        rows = [_numbers(source, number, one.split(",")) for one in dimensions]
        if len({len(row) for row in rows}) > 1:
            raise source.rejected(f"series {number} has dimensions of unequal lengths")
        if regression:
            _numbers(source, number, [label])
        elif label.strip() not in declared[1:]:
            raise source.rejected(f"series {number} has a label that the header does not name")
        found.append((label.strip(), np.stack(rows, axis=1)))
    series = _series(source, found, () if regression else tuple(declared[1:]))
    series = replace(series, regression=regression)
    _check_length(source, header, series.lengths)
    return series


def read_tsv(source: Source) -> Series:
    """Return the series of a .tsv file; raises RejectedInputError."""
    found: list[tuple[str, FloatArray]] = []
    width = None
    for number, line in enumerate(source.text().splitlines(), start=1):
        label, *words = line.split("\t")
        if width is not None and len(words) != width:
            raise source.rejected(f"line {number} has {len(words)} values, expected {width}")
        width = len(words)
        values = _floats(source, f"line {number}", words)
        # Shorter series end in NaN.
        there = np.flatnonzero(~np.isnan(values))
        values = values[: int(there[-1]) + 1 if len(there) else 0]
        if not len(values) or not label.strip():
            raise source.rejected(f"line {number}: expected a label and values")
        _check_finite(source, number, values)
        found.append((label.strip(), values[:, None]))
    return _series(source, found)


def _header(source: Source) -> tuple[dict[str, str], list[str]]:
    """Return what the lines before @data say, by names in small letters, and the lines after."""
    header: dict[str, str] = {}
    lines = [line.strip() for line in source.text().splitlines()]
    for number, line in enumerate(lines):
        if not line or line.startswith(_COMMENTS):
            continue
        name, *rest = line.split(maxsplit=1)
        if not name.startswith("@"):
            raise source.rejected(
                f"line {number + 1} is {shown(line)!r}, expected @name, @data, or a comment "
                "after # or %"
            )
        if name.lower() == "@data":
            left = lines[number + 1 :]
            return header, [one for one in left if one and not one.startswith(_COMMENTS)]
        key = name[1:].lower()
        first, space, others = "".join(rest).partition(" ")
        header[key] = first.lower() + space + (others if key == "classlabel" else others.lower())
    raise source.rejected("its header has no @data; fetch it again")


def _channels(source: Source, header: dict[str, str]) -> int | None:
    """Return the number of dimensions that the header declares, None if it does not."""
    declared = header.get("dimensions", header.get("dimension"))
    if declared is None:
        return 1 if header.get("univariate") == "true" else None
    return _count(source, "dimensions", declared)


def _check_length(source: Source, header: dict[str, str], lengths: IntArray) -> None:
    equal = header.get("equallength")
    if equal == "true" and lengths.min() != lengths.max():
        raise source.rejected(
            f"lengths run from {lengths.min()} to {lengths.max()}, its header says equal",
        )
    if equal == "true" and "serieslength" in header:
        declared = _count(source, "seriesLength", header["serieslength"])
        if lengths.max() != declared:
            raise source.rejected(f"length {lengths.max()}, its header says {declared}")


def _count(source: Source, name: str, word: str) -> int:
    if not (is_count(word) and len(word) < 10) or int(word) < 1:
        raise source.rejected(f"@{name} is {word[:20]!r}, expected a number")
    return int(word)


def _numbers(source: Source, number: int, words: list[str]) -> FloatArray:
    if any(word.strip() in ("?", "") for word in words):
        raise source.rejected(f"series {number} {_MISSING}")
    values = _floats(source, f"series {number}", words)
    _check_finite(source, number, values)
    return values


def _floats(source: Source, where: str, words: list[str]) -> FloatArray:
    try:
        return np.array(words, dtype=np.float64)
    except ValueError:
        raise source.rejected(f"{where} holds what is no number") from None


def _check_finite(source: Source, number: int, values: FloatArray) -> None:
    if np.isnan(values).any():
        raise source.rejected(f"series {number} {_MISSING}")
    if np.abs(values).max() > _LARGEST:
        raise source.rejected(f"series {number} has values beyond single precision")


def _series(
    source: Source, found: Sequence[tuple[str, FloatArray]], declared: tuple[str, ...] = ()
) -> Series:
    if not found:
        raise source.rejected("has no series")
    labels, parts = zip(*found, strict=True)
    lengths = np.array([len(part) for part in parts], dtype=np.int64)
    return Series(np.concatenate(parts), lengths, list(labels), declared)
