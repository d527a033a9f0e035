"""Checkpoints in one file, whose kind its first bytes tell."""

import struct
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path

from robustssm.file_formats.contents import Contents, ContentsError, Limits, require
from robustssm.file_formats.flax_msgpack import read_msgpack
from robustssm.file_formats.numpy_zip import is_npz, read_npz
from robustssm.file_formats.safetensors_file import read_safetensors
from robustssm.file_formats.torch_legacy import START, read_legacy
from robustssm.file_formats.torch_zip import read_zip
from robustssm.storage.opening import opened, size_of

_HEAD = 1024


def read_file(path: Path, limits: Limits) -> Contents:
    """Return what one file holds; raises ContentsError, or OSError, if it cannot be read."""
    require(path.exists(), "no such file; check the path")
    with opened(path) as file:
        size = size_of(file)
        require(size <= limits.file_bytes, f"has {size} bytes, allowed are {limits.file_bytes}")
        head = file.read(_HEAD)
        file.seek(0)
        return _reader(head, limits)(path, file, size, limits)


def _reader(head: bytes, limits: Limits) -> Callable[[Path, BufferedReader, int, Limits], Contents]:
    """Return what reads a file that begins so; ContentsError if nothing does."""
    require(bool(head), "is empty; fetch or save it again")
    if head.startswith(b"PK"):
        return read_npz if is_npz(head) else read_zip
    if head[:1] == b"\x80" and START in head:
        return read_legacy
    header = struct.unpack("<Q", head[:8])[0] if len(head) > 8 else 0
    table = head[8:9] == b"{"
    if table and header <= limits.header_bytes:
        return read_safetensors
    if 0x81 <= head[0] <= 0x8F or head[0] in (0xDE, 0xDF):
        return read_msgpack
    if table:
        return read_safetensors
    problem = "a pickle that torch.save did not write; save the state_dict by torch.save"
    require(head[0] != 0x80, problem)
    raise ContentsError(
        "of no known format (torch, safetensors, npz, flax msgpack; folders of orbax or Hugging "
        "Face); save model.state_dict() by torch.save"
    )
