"""Folders of torch.distributed.checkpoint: `.metadata`, a pickle, and files of pieces of tensors.

A piece is a whole torch file inside a `.distcp` file. Reference: pytorch,
torch/distributed/checkpoint/metadata.py and filesystem.py.
"""

import io
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustssm.file_formats.contents import Contents, ContentsError, Limits, require, shown
from robustssm.file_formats.flat_names import put
from robustssm.file_formats.flax_trees import DTYPES
from robustssm.file_formats.pickle_globals import Made
from robustssm.file_formats.restricted_pickle import Machine
from robustssm.file_formats.state_dicts import contents
from robustssm.file_formats.storages import Materialiser, StorageView, counts, tensor_view
from robustssm.file_formats.torch_zip import load_zip
from robustssm.storage.opening import opened, read_bytes, size_of

METADATA = ".metadata"
# What reading other things than the metadata that torch writes comes to.
_WRONG = (AttributeError, LookupError, TypeError, ValueError, RuntimeError, OverflowError)
_COPY = "copy the whole folder"


def read_distributed(folder: Path, size: int, limits: Limits) -> Contents:
    """Return what such a folder of `size` bytes holds; ContentsError if it is damaged."""
    data = read_bytes(folder / METADATA, limits.pickle_bytes)
    try:
        top = _fields(Machine(data, limits).load(), "Metadata")
        store = _Store(folder, top, limits)
        tensor = Materialiser(store.read, size, limits)
        return contents(folder, store.tree, tensor, limits)
    except _WRONG as error:
        raise ContentsError(f"its {METADATA} is damaged or of another version; {_COPY}") from error


def _fields(value: Any, kind: str) -> dict[Any, Any]:
    """Return the fields of what the pickle makes of a class of this name."""
    if not isinstance(value, Made) or value.name.rpartition(".")[2] != kind:
        raise TypeError(f"no {kind}")
    return value.attributes[0]


class _Store:
    """The tensors as the metadata describe them, in tables, and the pieces to read them from."""

    def __init__(self, folder: Path, top: dict[Any, Any], limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._pieces: dict[str, list[tuple[Any, dict[Any, Any]]]] = defaultdict(list)
        for index, place in top["storage_data"].items():
            at = _fields(index, "MetadataIndex")
            self._pieces[at["fqn"]].append((at.get("offset"), _fields(place, "_StorageInfo")))
        self.tree: dict[object, object] = {}
        self._sizes: dict[str, tuple[int, ...]] = {}
        for name, entry in top["state_dict_metadata"].items():
            if not entry.name.endswith(".BytesStorageMetadata"):  # numbers, each a pickle
                fields = _fields(entry, "TensorStorageMetadata")
                dtype = DTYPES[fields["properties"].state[0].name.removeprefix("torch.")]
                size = self._sizes[name] = fields["size"]
                require(counts(*size), f"{shown(name)} has an odd shape; {_COPY}")
                stride = tuple(min(math.prod(size[i + 1 :]), 1 << 62) for i in range(len(size)))
                storage = StorageView(name, dtype, math.prod(size))
                view = tensor_view(limits, storage, 0, size, stride, False, None)
                path = (top.get("planner_data") or {}).get(name, [name])
                put(self.tree, list(map(str, path)), view)

    def read(self, storage: StorageView) -> bytearray:
        """Return a tensor's bytes, every entry from one piece."""
        name = shown(storage.key)
        whole = torch.empty(self._sizes[storage.key], dtype=storage.dtype)
        taken = torch.zeros(whole.shape, dtype=torch.bool)
        for offset, place in self._pieces[storage.key]:
            piece, start = self._piece(place), offset or (0,) * whole.ndim
            ends = zip(start, piece.shape, strict=True)
            region = tuple(slice(a, a + n) for a, n in ends)
            fits = counts(*start) and whole[region].shape == piece.shape
            fits = fits and piece.dtype == whole.dtype and not bool(taken[region].any())
            require(fits, f"pieces of {name} overlap or do not fit; {_COPY}")
            whole[region], taken[region] = piece, True
        require(bool(taken.all()), f"a piece of {name} is missing; {_COPY}")
        return bytearray(whole.reshape(-1).view(torch.uint8).numpy().tobytes())

    def _piece(self, place: dict[Any, Any]) -> Tensor:
        name, start, length = (place[key] for key in ("relative_path", "offset", "length"))
        inside = Path(name).name == name and name.isprintable()
        require(inside, f"{METADATA} names {shown(name)}, expected a file of the folder")
        require((self._folder / name).is_file(), f"{shown(name)} is missing; {_COPY}")
        packed = bool(place.get("transform_descriptors"))
        require(not packed, f"{shown(name)} is compressed; save it without")
        with opened(self._folder / name) as file:
            whole = counts(start, length) and start + length <= size_of(file)
            require(whole, f"{shown(name)} is cut short or damaged; {_COPY}")
            file.seek(start)
            data = io.BytesIO(file.read(length))
        value: Any
        value, tensor = load_zip(data, length, self._limits)
        return tensor(value)
