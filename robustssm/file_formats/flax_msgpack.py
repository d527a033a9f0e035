"""Flax checkpoints in one file: msgpack of nested tables whose leaves are arrays.

Reference: google/flax, flax/serialization.py (_MsgpackExtType, _ndarray_from_bytes, _unchunk).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from robustssm.file_formats.contents import Contents, ContentsError, Limits, require, shown
from robustssm.file_formats.flax_trees import array, needed, variables

_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3
_CHUNKED = "__msgpack_chunked_array__"
_ENTRIES = 1024
_PIECES = "an array in pieces is damaged; fetch or save the file again"


@dataclass(frozen=True, eq=False)
class _Packed:
    """A msgpack extension, not yet unpacked."""

    code: int
    data: bytes


def read_msgpack(path: Path, file: BinaryIO, size: int, limits: Limits) -> Contents:
    """Return a flax file's variables; ContentsError if damaged, UsageError without msgpack."""
    value = _unpack(file.read(size), _Packed)
    if not isinstance(value, dict):
        raise ContentsError(
            f"holds {shown(value)}, expected the tables params and, if any, batch_stats"
        )

    def leaf(node: object) -> Tensor | None:
        if isinstance(node, dict) and node.get(_CHUNKED) is True:
            return _chunked(node, limits)
        return _unpacked(node, limits) if isinstance(node, _Packed) else None

    tensors, extra = variables(value, leaf, limits)
    return Contents("flax-msgpack", tensors, {}, extra, path)


def _unpack(data: bytes, extension: Callable[[int, bytes], object]) -> object:
    """Return what bytes of msgpack hold; extension: returns what stands for one of these."""
    msgpack = needed("msgpack", "a flax")
    limit = max(len(data), 1)
    limits = {f"max_{kind}_len": limit for kind in ("str", "bin", "ext", "map")}
    limits["max_array_len"] = min(limit, _ENTRIES)
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=True, ext_hook=extension, **limits)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as e:
        raise ContentsError(
            f"no msgpack that can be read ({e}); fetch or save the file again"
        ) from e


def _refused(code: int, data: bytes) -> object:
    raise ValueError(f"extension {code} within an array")


def _unpacked(node: _Packed, limits: Limits) -> Tensor:
    value = _unpack(node.data, _refused)
    if node.code == _COMPLEX:
        if isinstance(value, list) and len(value) == 2 and all(map(_number, value)):
            return torch.tensor(complex(*value), dtype=torch.complex128)
    elif node.code in (_ARRAY, _SCALAR) and isinstance(value, list) and len(value) == 3:
        shape, name, data = value
        if isinstance(shape, list) and isinstance(name, str) and isinstance(data, bytes):
            return array(shape, name, data, limits)
    raise ContentsError(
        f"an array is packed in an unknown way (extension {node.code}); save it by flax"
    )


def _number(value: object) -> bool:
    return isinstance(value, int | float)


def _chunked(node: Mapping[object, object], limits: Limits) -> Tensor:
    """Return an array of more than 1 GiB, which flax writes in flat pieces."""
    shape, chunks = _row(node.get("shape")), _row(node.get("chunks"))
    pieces = [_unpacked(one, limits) for one in chunks if isinstance(one, _Packed)]
    flat = bool(pieces) and all(one.ndim == 1 for one in pieces)
    require(flat and len(pieces) == len(chunks), _PIECES)
    one_type = len({one.dtype for one in pieces}) == 1
    require(one_type, "an array in pieces has pieces of two types; fetch the file again")
    whole = torch.cat(pieces)
    sizes = [n for n in shape if type(n) is int and 0 <= n <= limits.elements]
    product = 1
    for n in sizes:
        product = min(product * n, limits.elements + 1)
    fits = len(sizes) == len(shape) and product == whole.numel()
    require(fits, f"an array in pieces has {whole.numel()} entries, expected {sizes}")
    return whole.reshape(sizes)


def _row(table: object) -> list[object]:
    """Return the values of a table whose names count from 0, as flax writes tuples."""
    if not isinstance(table, dict) or set(table) != {str(i) for i in range(len(table))}:
        raise ContentsError(_PIECES)
    return [table[str(i)] for i in range(len(table))]
