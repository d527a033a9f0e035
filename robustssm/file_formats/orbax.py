"""Orbax checkpoints: a folder whose _METADATA names the arrays, kept by tensorstore.

Only tensorstore is needed, not orbax or jax: arrays are zarr in one ocdbt store, or in a folder
each. Reference: google/orbax, orbax/checkpoint/_src/metadata/tree.py and
_src/serialization/tensorstore_utils.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from robustssm.file_formats.contents import Contents, ContentsError, Limits, require, shown
from robustssm.file_formats.flat_names import is_name, put
from robustssm.file_formats.flax_trees import DTYPES, needed, variables
from robustssm.file_formats.plain_values import read_json
from robustssm.file_formats.storages import tensor_of

METADATA = "_METADATA"
# Compressed chunks may unpack to this many times the folder's bytes: zeros of a new network do.
_RATIO, _SLACK = 64, 64 << 20


@dataclass(frozen=True)
class _Stored:
    """An array that the metadata names."""

    name: str


class _Store:
    """The arrays of an orbax folder, of which only local files are read.

    size: the folder's bytes, which bound what its arrays may take.
    """

    def __init__(
        self, folder: Path, metadata: Mapping[str, object], size: int, limits: Limits
    ) -> None:
        self._tensorstore = needed("tensorstore", "an orbax")
        self._folder, self._limits = str(folder.resolve()) + "/", limits
        self._ocdbt = metadata.get("use_ocdbt") is not False
        self._driver = "zarr3" if metadata.get("use_zarr3") is True else "zarr"
        # Chunks of zeros are only left out where the writer was allowed to.
        self._whole = metadata.get("store_array_data_equal_to_fill_value") is True
        self._most = min(limits.file_bytes, _RATIO * size + _SLACK)
        self._left = self._most

    def __call__(self, node: object) -> Tensor | None:
        """Return a stored array; None if the node is none."""
        if not isinstance(node, _Stored):
            return None
        try:
            opened = self._tensorstore.open(self._spec(node.name), open=True, read=True).result()
            kind = DTYPES.get(opened.dtype.name)
            if kind is None:
                raise ContentsError(
                    f"{node.name} has dtype {opened.dtype.name}, expected one of "
                    f"{', '.join(DTYPES)}"
                )
            shape = [int(n) for n in opened.shape]
            chunk = [int(n) for n in opened.chunk_layout.read_chunk.shape or shape]
            self._check(node.name, shape, chunk, kind)
            data = bytearray(opened.read().result().tobytes())
        except (ValueError, RuntimeError, TypeError, OverflowError, KeyError) as error:
            said = shown(" ".join(str(error).split()))
            raise ContentsError(
                f"{node.name} cannot be read ({said}); copy the whole folder"
            ) from error
        return tensor_of(data, kind, shape)

    def _check(self, name: str, shape: list[int], chunk: list[int], kind: torch.dtype) -> None:
        numel, piece = math.prod(shape), math.prod(chunk)
        self._left -= numel * kind.itemsize
        fits = numel <= self._limits.elements and piece * kind.itemsize <= self._most
        problem = f"{name} has shape {shape} in chunks of {chunk}, more than its files can back"
        require(fits and self._left >= 0, f"{problem}; copy the whole folder")

    def _spec(self, name: str) -> dict[str, object]:
        base = {"driver": "file", "path": self._folder}
        kvstore: dict[str, object] = {**base, "path": f"{self._folder}{name}/"}
        if self._ocdbt:
            kvstore = {"driver": "ocdbt", "base": base, "path": f"{name}/"}
        spec: dict[str, object] = {"driver": self._driver, "kvstore": kvstore}
        return spec | ({"fill_missing_data_reads": False} if self._whole else {})


def read_orbax(folder: Path, size: int, limits: Limits) -> Contents:
    """Return an orbax folder's arrays; ContentsError if damaged, UsageError without tensorstore."""
    metadata = read_json(folder / METADATA, limits)
    table = metadata.get("tree_metadata")
    if not isinstance(table, dict):
        raise ContentsError(f"{METADATA} has no tree_metadata, expected a tree of arrays")
    problem = f"{METADATA} names {len(table)} values, allowed are {limits.values}"
    require(len(table) <= limits.values, problem)
    tree: dict[object, object] = {}
    for entry in table.values():
        path = _path(entry)
        if path[0] != "opt_state":
            put(tree, path, _Stored(".".join(path)))
    store = _Store(folder, metadata, size, limits)
    tensors, extra = variables(tree, store, limits)
    return Contents("orbax", tensors, {}, extra, folder)


def _path(entry: object) -> list[str]:
    keys = entry.get("key_metadata") if isinstance(entry, dict) else None
    if not isinstance(keys, list) or not keys:
        raise ContentsError(f"{METADATA} names a value without key_metadata; copy the whole folder")
    path = [str(key.get("key")) if isinstance(key, dict) else "" for key in keys]
    for name in path:
        if not is_name(name) or "/" in name or "\\" in name or name in ("", ".", ".."):
            raise ContentsError(f"{METADATA} names {shown(name)}, expected the name of an array")
    return path
