"""Files of the UCR and UEA archives: labelled series, one per line.

Source: Bagnall et al., arXiv 1811.00075, section 2, and the format's description by sktime (.ts);
Dau et al., arXiv 1810.07758, and the archive's own README (.tsv: the label, then the values).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robustssm.tasks.reading import Source
from robustssm.typing import FloatArray, IntArray

_LARGEST = float(np.finfo(np.float32).max)
_MISSING = "lacks values; fill them in, or leave these series out"


@dataclass(frozen=True)
class Series:
    """Values (sum of lengths, channels), one series after another; lengths, labels (N,).

    declared: the labels that the header names, empty if it names none.
    """

    values: FloatArray
    lengths: IntArray
    labels: list[str]
    declared: tuple[str, ...] = ()


def read_ts(source: Source) -> Series:
    """Return the series of a .ts file; raises RejectedInputError."""
    header, lines = _header(source)
    if header.get("timestamps", "false") != "false":
        raise source.rejected("has time stamps, expected series at equal steps")
    declared = header.get("classlabel", "").split()
    if declared[:1] != ["true"] or len(declared) < 2 or len(set(declared)) < len(declared):
        raise source.rejected("declares no class labels, expected @classLabel true A B ...")
    channels = _channels(source, header)
    parts, lengths, labels = [], [], []
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
        if label.strip() not in declared[1:]:
            raise source.rejected(f"series {number} has a label that the header does not name")
        parts.append(np.stack(rows, axis=1))
        lengths.append(len(rows[0]))
        labels.append(label.strip())
    series = _series(source, parts, lengths, labels, tuple(declared[1:]))
    _check_length(source, header, series.lengths)
    return series


def read_tsv(source: Source) -> Series:
    """Return the series of a .tsv file; raises RejectedInputError."""
    parts, lengths, labels = [], [], []
    width = None
    for number, line in enumerate(source.text().splitlines(), start=1):
        label, *words = line.split("\t")
        if width is not None and len(words) != width:
            raise source.rejected(f"line {number} has {len(words)} values, expected {width}")
        width = len(words)
        try:
            values = np.array(words, dtype=np.float64)
        except ValueError:
            raise source.rejected(f"line {number} holds what is no number") from None
        # Shorter series end in NaN.
        there = np.flatnonzero(~np.isnan(values))
        values = values[: int(there[-1]) + 1 if len(there) else 0]
        if not len(values) or not label.strip():
            raise source.rejected(f"line {number}: expected a label and values")
        _check_finite(source, number, values)
        parts.append(values[:, None])
        lengths.append(len(values))
        labels.append(label.strip())
    return _series(source, parts, lengths, labels, ())


def _header(source: Source) -> tuple[dict[str, str], list[str]]:
    """Return what the lines before @data say, by names in small letters, and the lines after."""
    header: dict[str, str] = {}
    lines = [line.strip() for line in source.text().splitlines()]
    for number, line in enumerate(lines):
        if not line or line.startswith("#"):
            continue
        name, _, value = line.partition(" ")
        if not name.startswith("@"):
            break
        if name.lower() == "@data":
            return header, [one for one in lines[number + 1 :] if one and not one.startswith("#")]
        key = name[1:].lower()
        header[key] = value.strip() if key == "classlabel" else value.strip().lower()
        if key == "classlabel":
            first, _, rest = header[key].partition(" ")
            header[key] = f"{first.lower()} {rest}"
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
    if not (word.isascii() and word.isdecimal() and len(word) < 10) or int(word) < 1:
        raise source.rejected(f"@{name} is {word[:20]!r}, expected a number")
    return int(word)


def _numbers(source: Source, number: int, words: list[str]) -> FloatArray:
    if any(word.strip() in ("?", "") for word in words):
        raise source.rejected(f"series {number} {_MISSING}")
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError:
        raise source.rejected(f"series {number} holds what is no number") from None
    _check_finite(source, number, values)
    return values


def _check_finite(source: Source, number: int, values: FloatArray) -> None:
    if np.isnan(values).any():
        raise source.rejected(f"series {number} {_MISSING}")
    if np.abs(values).max() > _LARGEST:
        raise source.rejected(f"series {number} has values beyond single precision")


def _series(
    source: Source,
    parts: Sequence[FloatArray],
    lengths: list[int],
    labels: list[str],
    declared: tuple[str, ...],
) -> Series:
    if not parts:
        raise source.rejected("has no series")
    return Series(np.concatenate(parts), np.array(lengths, dtype=np.int64), labels, declared)
