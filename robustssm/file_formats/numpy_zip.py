"""Arrays that numpy.savez wrote: each is a tensor by its name."""

from pathlib import Path
from typing import BinaryIO, cast

import torch

from robustssm.file_formats.contents import Contents, ContentsError, Limits, require, shown
from robustssm.file_formats.flat_names import is_name
from robustssm.file_formats.torch_zip import Guarded
from robustssm.storage.numpy_files import DAMAGED, Arrays

# What parameters stand under if a file holds other arrays too.
_ROOT = "params/"


def is_npz(head: bytes) -> bool:
    """Return whether a zip file that begins so has an array for its first entry."""
    return head[30 : 30 + int.from_bytes(head[26:28], "little")].endswith(b".npy")


def read_npz(path: Path, file: BinaryIO, size: int, limits: Limits) -> Contents:
    """Return the arrays of an .npz file; of those under `params/` alone if there are some.

    Raises ContentsError if the file is damaged, or an array is none of numbers.
    """
    try:
        guarded = cast(BinaryIO, Guarded(file, limits.directory_bytes))
        arrays = Arrays(guarded, size, limits.tensor_bytes(size))
        count = len(arrays.names)
        require(count <= limits.tensors, f"holds {count} arrays, allowed are {limits.tensors}")
        names = [name for name in arrays.names if name.startswith(_ROOT)] or arrays.names
        tensors = {}
        for name in names:
            require(is_name(name), f"an array is named {shown(name)}, expected a printable name")
            value = arrays[name]
            tensors[name] = torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))
    except DAMAGED as error:
        raise ContentsError(
            f"no .npz file of numbers that can be read ({shown(str(error))}); save the parameters "
            "by numpy.savez"
        ) from error
    left = [name for name in arrays.names if name not in tensors]
    notes = (f"beside {_ROOT}, left out: {', '.join(map(shown, left))}",) if left else ()
    return Contents("npz", tensors, {}, {}, path, notes)
