"""Folders of torch.distributed.checkpoint: `.metadata`, a pickle, and files of pieces of tensors.

A piece is a whole torch file inside a `.distcp` file. Reference: pytorch,
torch/distributed/checkpoint/metadata.py and filesystem.py.
"""

import io
import math
from pathlib import Path

import torch
from torch import Tensor

from robustssm.file_formats.contents import Contents, ContentsError, Limits, require, shown
from robustssm.file_formats.flat_names import put
from robustssm.file_formats.flax_trees import DTYPES
from robustssm.file_formats.pickle_globals import Global, Made
from robustssm.file_formats.restricted_pickle import Machine
from robustssm.file_formats.state_dicts import contents
from robustssm.file_formats.storages import Materialiser, StorageView, TensorView, tensor_view
from robustssm.file_formats.torch_zip import load_zip
from robustssm.storage.opening import opened, size_of

METADATA = ".metadata"
_DAMAGED = f"its {METADATA} is damaged or of another version; copy the whole folder"


def read_distributed(folder: Path, size: int, limits: Limits) -> Contents:
    """Return what such a folder of `size` bytes holds; ContentsError if it is damaged."""
    with opened(folder / METADATA) as file:
        length = size_of(file)
        problem = f"{METADATA} has {length} bytes, allowed are {limits.pickle_bytes}"
        require(length <= limits.pickle_bytes, problem)
        top = _fields(Machine(file.read(length), limits).load(), "Metadata")
    shapes, places = top.get("state_dict_metadata"), top.get("storage_data")
    paths = top.get("planner_data")
    paths = paths if isinstance(paths, dict) else {}
    if not isinstance(shapes, dict) or not isinstance(places, dict):
        raise ContentsError(_DAMAGED)
    store = _Store(folder, limits)
    for index, place in places.items():
        store.add(_fields(index, "MetadataIndex"), _fields(place, "_StorageInfo"))
    tree: dict[object, object] = {}
    for name, entry in shapes.items():
        if isinstance(entry, Made) and entry.name.endswith(".BytesStorageMetadata"):
            continue  # numbers and the like, each a pickle
        view = store.view(name, _fields(entry, "TensorStorageMetadata"))
        path = paths.get(name, (name,))
        if isinstance(path, tuple) and all(isinstance(one, str) for one in path) and path:
            put(tree, list(path), view)
    return contents(folder, tree, Materialiser(store.read, size, limits), limits)


def _fields(value: object, kind: str) -> dict[object, object]:
    """Return the fields of what the pickle makes of a class of this name."""
    if not isinstance(value, Made) or value.name.rpartition(".")[2] != kind or not value.attributes:
        raise ContentsError(_DAMAGED)
    return value.attributes[0]


class _Store:
    """The pieces of each tensor: where in it they belong, and where in the files they lie."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._pieces: dict[object, list[tuple[object, dict[object, object]]]] = {}
        self._sizes: dict[str, tuple[int, ...]] = {}

    def add(self, index: dict[object, object], place: dict[object, object]) -> None:
        """Add a piece, by its entry in the metadata."""
        name = index.get("fqn")
        require(isinstance(name, str), _DAMAGED)
        self._pieces.setdefault(name, []).append((index.get("offset"), place))

    def view(self, name: object, entry: dict[object, object]) -> TensorView:
        """Return a tensor as its entry describes it."""
        properties, size = entry.get("properties"), entry.get("size")
        state = properties.state if isinstance(properties, Made) else None
        kind = state[0] if isinstance(state, tuple) and state else None
        dtype = DTYPES.get(kind.name.removeprefix("torch.")) if isinstance(kind, Global) else None
        if not isinstance(name, str) or not isinstance(size, tuple) or dtype is None:
            raise ContentsError(_DAMAGED)
        require(all(type(n) is int and 0 <= n <= self._limits.elements for n in size), _DAMAGED)
        self._sizes[name] = size
        stride = tuple(math.prod(size[axis + 1 :]) for axis in range(len(size)))
        storage = StorageView(name, dtype, math.prod(size))
        return tensor_view(self._limits, storage, 0, size, stride, False, None)

    def read(self, storage: StorageView) -> bytearray:
        """Return a tensor's bytes, every entry from one piece."""
        size = self._sizes[storage.key]
        whole, taken = torch.empty(size, dtype=storage.dtype), torch.zeros(size, dtype=torch.bool)
        for offset, place in self._pieces.get(storage.key, []):
            piece = self._piece(place)
            at = offset if isinstance(offset, tuple) else (0,) * len(size)
            fits = len(at) == len(size) == piece.ndim and piece.dtype == storage.dtype
            require(fits and all(type(start) is int and start >= 0 for start in at), _DAMAGED)
            region = tuple(slice(a, a + n) for a, n in zip(at, piece.shape, strict=True))
            fits = taken[region].shape == piece.shape and not bool(taken[region].any())
            require(fits, f"pieces of {shown(storage.key)} overlap or do not fit; {_DAMAGED}")
            whole[region], taken[region] = piece, True
        problem = f"a piece of {shown(storage.key)} is missing; copy the whole folder"
        require(bool(taken.all()), problem)
        return bytearray(whole.reshape(-1).view(torch.uint8).numpy().tobytes())

    def _piece(self, place: dict[object, object]) -> Tensor:
        name, start, length = (place.get(key) for key in ("relative_path", "offset", "length"))
        if not isinstance(name, str) or Path(name).name != name or not name.isprintable():
            raise ContentsError(f"{METADATA} names {shown(name)}, expected a file of the folder")
        require(
            not place.get("transform_descriptors"), f"{shown(name)} is compressed; save it as is"
        )
        path = self._folder / name
        require(path.is_file(), f"{shown(name)} is missing; copy the whole folder")
        with opened(path) as file:
            size = size_of(file)
            if type(start) is not int or type(length) is not int or start < 0 or length < 0:
                raise ContentsError(_DAMAGED)
            require(start + length <= size, f"{shown(name)} is cut short; copy the whole folder")
            file.seek(start)
            data = io.BytesIO(file.read(length))
        value, tensor = load_zip(data, length, self._limits)
        if not isinstance(value, TensorView):
            raise ContentsError(_DAMAGED)
        return tensor(value)
