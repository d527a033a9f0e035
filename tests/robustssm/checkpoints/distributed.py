"""Folders of torch.distributed.checkpoint, written with torch's own classes, in any pieces."""

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

# A tensor under the path to it in the saved tables, and where its rows are cut.
Held = dict[tuple[str, ...], Tensor]


def write(folder: Path, held: Held, cuts: int = 2, **changed: Any) -> Path:
    """Write tensors, each in up to `cuts` pieces along its rows, in two files by turns.

    changed: fields of the metadata in the place of what is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, bytes] = {"__0_0.distcp": b"", "__1_0.distcp": b""}
    entries: dict[str, Any] = {"epoch": BytesStorageMetadata()}
    places: dict[MetadataIndex, _StorageInfo] = {}
    for path, value in held.items():
        name = ".".join(path)
        pieces = list(value.tensor_split(max(1, min(cuts, len(value))))) if value.ndim else [value]
        start, chunks = 0, []
        for number, piece in enumerate(pieces):
            at = torch.Size([start, *[0] * (value.ndim - 1)][: value.ndim])
            start += len(piece) if value.ndim else 0
            chunks.append(ChunkStorageMetadata(at, piece.shape))
            stream = io.BytesIO()
            torch.save(piece.clone(), stream)
            file = list(files)[number % 2]
            where = _StorageInfo(file, len(files[file]), len(stream.getvalue()))
            places[MetadataIndex(name, at, number)] = where
            files[file] += stream.getvalue()
        kind = TensorProperties(dtype=value.dtype)
        entries[name] = TensorStorageMetadata(kind, value.shape, chunks)
    paths: Any = {".".join(path): path for path in held} | {"epoch": ("epoch",)}
    metadata = Metadata(entries, paths, places)
    for key, value in changed.items():
        setattr(metadata, key, value)
    for file, data in files.items():
        (folder / file).write_bytes(data)
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    return folder


def under(key: str, tensors: dict[str, Tensor]) -> Held:
    return {(key, name): value for name, value in tensors.items()}
