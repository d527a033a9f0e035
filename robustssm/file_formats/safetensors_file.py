"""Safetensors files: a JSON header of names, dtypes, shapes and offsets, then the numbers."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import safetensors
from torch import Tensor

from robustssm.file_formats.contents import Contents, ContentsError, Limits, require, shown
from robustssm.file_formats.flat_names import is_name

_AXES = 16
_LONGEST = 1 << 50


@dataclass(frozen=True)
class Header:
    """What a file says of its tensors before any is read: their shapes, and texts by name."""

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


def read_header(file: BinaryIO, size: int, limits: Limits = Limits()) -> Header:  # noqa: B008
    """Return the header of a file of `size` bytes; raises ContentsError if it is none.

    Offsets are not looked at: the library checks them when it reads the tensors.
    """
    file.seek(0)
    prefix = file.read(8)
    length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
    require(
        2 <= length <= min(limits.header_bytes, size - 8),
        f"its safetensors header claims {length} bytes, allowed are {limits.header_bytes} in "
        f"a file of {size}; fetch the file again",
    )
    try:
        content = json.loads(file.read(length))
        texts = content.pop("__metadata__", {})
        plain = isinstance(texts, dict) and all(isinstance(t, str) for t in texts.values())
        require(plain, "its safetensors header holds metadata that are no texts")
        return Header({name: _shape(entry) for name, entry in content.items()}, texts)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ContentsError(
            f"its safetensors header is no table of tensors ({shown(str(error))}); fetch it again"
        ) from error


def _shape(entry: object) -> tuple[int, ...]:
    """Return the shape of an entry of the header; ValueError if it is none."""
    shape = entry["shape"] if isinstance(entry, dict) else None
    if not isinstance(shape, list) or len(shape) > _AXES:
        raise ValueError("a tensor without a shape")
    if not all(type(axis) is int and 0 <= axis < _LONGEST for axis in shape):
        raise ValueError("a tensor with an odd shape")
    return tuple(shape)


def read_safetensors(path: Path, file: BinaryIO, size: int, limits: Limits) -> Contents:
    """Return what a safetensors file holds; raises ContentsError if it is damaged.

    The library checks that offsets cover the file without gap or overlap.
    """
    header = read_header(file, size, limits)
    problem = f"holds {len(header.shapes)} tensors, allowed are {limits.tensors}"
    require(len(header.shapes) <= limits.tensors, problem)
    # The library opens names only: that of the file which is open, where the system has such names.
    place = f"/dev/fd/{file.fileno()}" if Path("/dev/fd").exists() else str(path)
    tensors: dict[str, Tensor] = {}
    try:
        with safetensors.safe_open(place, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118
                problem = f"a tensor is named {shown(name)}, expected a printable name"
                require(is_name(name), problem)
                tensors[name] = opened.get_tensor(name).clone()
    except (safetensors.SafetensorError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise ContentsError(
            f"no safetensors file that can be read ({error}); fetch it again"
        ) from error
    extra: dict[str, object] = {"metadata": dict(header.metadata)} if header.metadata else {}
    return Contents("safetensors", tensors, {}, extra, path)
