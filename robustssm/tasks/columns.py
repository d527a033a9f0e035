"""Columns of Arrow tables as sequences and labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from robustssm.tasks.pictures import stacked
from robustssm.tasks.reading import CLASSES, TOKENS, Array, Source, byte_tokens, ragged
from robustssm.typing import IntArray

_LARGEST = float(np.finfo(np.float32).max)
_TEXTS = (pa.string(), pa.large_string())


@dataclass(frozen=True)
class Column:
    """Sequences one after another: values (steps, channels), or (steps,) if they are tokens.

    starts: (N + 1,) where each begins; text: tokens are bytes; image: rows and columns, where
    values are the levels 0 to 255 of images, row by row.
    """

    values: Array
    starts: IntArray
    text: bool = False
    image: tuple[int, int] | None = None

    @property
    def tokens(self) -> bool:
        """Whether steps are tokens."""
        return self.values.ndim == 1

    @property
    def channels(self) -> int:
        """Channels; 1 of tokens."""
        return 1 if self.tokens else int(self.values.shape[1])


def column(source: Source, name: str, chunked: Any, gray: bool = False) -> Column:
    """Return the sequences of a column of lists, texts or encoded images, one or more.

    gray: images without their colours. Raises RejectedInputError.
    """

    def wrong(problem: str) -> Exception:
        return source.rejected(f"column {name!r} {problem}")

    values = chunked.combine_chunks()
    if isinstance(values, pa.ChunkedArray):  # of too many characters for one chunk
        values = pa.concat_arrays(values.chunks)
    if values.null_count:
        raise wrong(f"lacks {values.null_count} of {len(values)} values")
    if values.type in _TEXTS:
        values = pc.cast(values, pa.large_binary())
        joined = b"".join(values.to_pylist())
        return Column(np.frombuffer(joined, np.uint8), _starts(pc.binary_length(values)), text=True)
    contents = _encoded(values)
    if contents is not None:
        if contents.null_count:
            raise wrong(f"lacks the content of {contents.null_count} images")
        levels = stacked(source.who, contents.to_pylist(), gray, wrong)
        count, rows, columns, channels = levels.shape
        starts = rows * columns * np.arange(count + 1)
        return Column(levels.reshape(-1, channels), starts, image=(rows, columns))
    if not _is_list(values.type):
        raise wrong(f"is of {values.type}, expected lists of numbers, texts or images")
    starts = _starts(pc.list_value_length(values))
    flat = values.flatten()
    if flat.null_count:
        raise wrong("has steps without a value")
    channels = None
    if _is_list(flat.type):
        widths = pc.list_value_length(flat).to_numpy(zero_copy_only=False)
        if not len(widths) or (widths != widths[0]).any() or not widths[0]:
            raise wrong("has steps of unequal numbers of channels")
        channels = int(widths[0])
        flat = flat.flatten()
    if flat.null_count or not (pa.types.is_integer(flat.type) or pa.types.is_floating(flat.type)):
        raise wrong(f"holds {flat.type}, expected numbers, none missing")
    numbers = flat.to_numpy(zero_copy_only=False)
    if (np.diff(starts) < 1).any():
        raise wrong("has sequences without steps")
    if channels is None and numbers.dtype.kind in "iu":
        if int(numbers.min()) < 0 or int(numbers.max()) >= TOKENS:
            said = f"has tokens from {numbers.min()} to {numbers.max()}"
            raise wrong(f"{said}, expected 0 to {TOKENS - 1}")
        return Column(numbers, starts)
    # NaN is not below the largest number.
    if not (np.abs(numbers.astype(np.float64)) <= _LARGEST).all():
        raise wrong("has values that are NaN, infinite or beyond single precision")
    return Column(numbers.reshape(-1, channels or 1), starts)


def _encoded(values: Any) -> Any:
    """Return the bytes of encoded images, also in structs as of `datasets`; None for others."""
    if pa.types.is_struct(values.type) and values.type.get_field_index("bytes") >= 0:
        values = values.field("bytes")
    binary = pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)
    return values if binary else None


def _starts(sizes: Any) -> IntArray:
    """Return where sequences of these sizes begin and the last one ends, (N + 1,)."""
    ends = np.cumsum(sizes.to_numpy(zero_copy_only=False))
    return np.concatenate([[0], ends]).astype(np.int64)


def _is_list(kind: Any) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def lengths_of(values: Column) -> IntArray:
    """Return the steps of each sequence (N,)."""
    return np.maximum(np.diff(values.starts), 1)


def padded(values: Column, index: IntArray, length: int) -> tuple[Array, IntArray]:
    """Return the sequences of these rows, cut and padded to `length`, and their lengths."""
    ends = values.starts[1:]
    if values.text:
        content = values.values.tobytes()
        bounds = zip(values.starts[index].tolist(), ends[index].tolist(), strict=True)
        return byte_tokens([content[a:b] for a, b in bounds], length)
    if values.image is not None:
        whole = values.values.reshape(len(ends), -1, values.channels)[index, :length]
        return whole.astype(np.float32) / np.float32(255.0), np.full(len(index), whole.shape[1])
    lengths = np.minimum(ends - values.starts[:-1], length)[index]
    # Places of the values that stay: each sequence's first, and the steps since.
    steps = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    places = np.repeat(values.starts[index], lengths) + steps
    dtype = np.int64 if values.tokens else np.float32
    return ragged(values.values[places], lengths, length, dtype), lengths


def names_of(source: Source, name: str, chunked: Any) -> tuple[IntArray, list[str]]:
    """Return labels (N,) from 0, and the names of the classes; raises RejectedInputError."""
    if chunked.null_count:
        raise source.rejected(f"column {name!r} lacks {chunked.null_count} labels")
    if pa.types.is_integer(chunked.type):
        labels = chunked.to_numpy().astype(np.int64)
        if labels.min() < 0 or labels.max() >= CLASSES:
            raise source.rejected(f"column {name!r}: expected labels 0, 1, ... below {CLASSES}")
        return labels, [str(number) for number in range(int(labels.max()) + 1)]
    if chunked.type not in _TEXTS:
        raise source.rejected(f"column {name!r} is of {chunked.type}, expected integers or names")
    names, labels = np.unique(np.array(chunked.to_pylist(), dtype=object), return_inverse=True)
    return labels.astype(np.int64), [str(one) for one in names]
