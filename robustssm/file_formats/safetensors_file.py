"""Safetensors files: a JSON header of names, dtypes, shapes and offsets, then the numbers."""

import struct
from pathlib import Path

import safetensors
from torch import Tensor

from robustssm.file_formats.contents import Contents, ContentsError, Limits, require, shown
from robustssm.file_formats.flat_names import is_name


def read_safetensors(path: Path, size: int, limits: Limits) -> Contents:
    """Return what a safetensors file holds; raises ContentsError if it is damaged.

    The library checks that offsets cover the file without gap or overlap.
    """
    with path.open("rb") as file:
        prefix = file.read(8)
    length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
    require(
        2 <= length <= min(limits.header_bytes, size - 8),
        f"its safetensors header claims {length} bytes, allowed are {limits.header_bytes} in "
        f"a file of {size}; fetch the file again",
    )
    tensors: dict[str, Tensor] = {}
    try:
        with safetensors.safe_open(str(path), framework="pt") as opened:
            names = list(opened.keys())
            problem = f"holds {len(names)} tensors, allowed are {limits.tensors}"
            require(len(names) <= limits.tensors, problem)
            metadata = opened.metadata() or {}
            for name in names:
                problem = f"a tensor is named {shown(name)}, expected a printable name"
                require(is_name(name), problem)
                tensors[name] = opened.get_tensor(name).clone()
    except (safetensors.SafetensorError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise ContentsError(
            f"no safetensors file that can be read ({error}); fetch it again"
        ) from error
    extra: dict[str, object] = {"metadata": dict(metadata)} if metadata else {}
    return Contents("safetensors", tensors, {}, extra, path)
