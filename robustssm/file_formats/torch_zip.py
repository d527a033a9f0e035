"""Torch files of the zip format: `<name>/data.pkl` and one stored entry for each storage.

Reference: pytorch, torch/serialization.py (_save, _load), caffe2/serialize/inline_container.cc.
"""

import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from robustssm.file_formats.contents import Contents, ContentsError, Limits, require, shown
from robustssm.file_formats.restricted_pickle import Machine
from robustssm.file_formats.state_dicts import BIG_ENDIAN, contents
from robustssm.file_formats.storages import Materialiser, StorageView

# torch stores entries as they are; a file that was packed again may be deflated a little.
_RATIO, _SLACK = 8, 4096
_CHUNK = 1 << 20
_ENCRYPTED = 1
_DAMAGED = "the zip file is damaged or cut short; fetch or save it again"


class Guarded:
    """A file that refuses to read much at once: zipfile reads its directory in one piece."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._read, self._most = file.read, most
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes; raises ContentsError if they are too many."""
        most = self._most + 1
        data = self._read(most if size is None or size < 0 else min(size, most))
        if len(data) > self._most:
            raise ContentsError(f"its zip directory takes more than {self._most} bytes")
        return data


class _Archive:
    """The entries of a zip file, each checked before it is read."""

    def __init__(self, file: BinaryIO, size: int, limits: Limits) -> None:
        guarded = Guarded(file, max(limits.directory_bytes, _CHUNK))
        try:
            self._zip = zipfile.ZipFile(guarded)
        except (ContentsError, OSError):
            raise
        except Exception as error:
            raise ContentsError(_DAMAGED) from error
        entries = self._zip.infolist()
        self._entries = {one.filename: one for one in entries}
        twice = len(self._entries) < len(entries)
        require(not twice, "two entries of the zip file have one name; fetch it again")
        for one in entries:
            encrypted = bool(one.flag_bits & _ENCRYPTED)
            require(not encrypted, "the zip file is encrypted; save it without a password")
            usual = one.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
            require(usual, "the zip file is compressed; save it by torch.save")
            if one.file_size > _RATIO * one.compress_size + _SLACK:
                raise ContentsError(
                    f"entry {shown(one.filename)} unpacks to {one.file_size} bytes from "
                    f"{one.compress_size}, allowed is {_RATIO} times; save it by torch.save"
                )
        apart = sum(one.compress_size for one in entries) <= size
        require(apart, "entries of the zip file overlap; fetch it again")
        self.names = list(self._entries)

    def size(self, name: str) -> int:
        """Return an entry's bytes; raises ContentsError if there is no such entry."""
        problem = f"its zip entry {shown(name)} is missing; fetch or save the file again"
        require(name in self._entries, problem)
        return self._entries[name].file_size

    def read(self, name: str, expected: int) -> bytearray:
        """Return an entry of exactly `expected` bytes."""
        size = self.size(name)
        problem = f"entry {shown(name)} has {size} bytes, expected {expected}; the file is damaged"
        require(size == expected, problem)
        data = bytearray(size)
        view, at = memoryview(data), 0
        try:
            with self._zip.open(self._entries[name]) as entry:
                while piece := entry.read(_CHUNK):
                    view[at : at + len(piece)] = piece
                    at += len(piece)
        except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError) as error:
            raise ContentsError(_DAMAGED) from error
        require(at == size, _DAMAGED)
        return data


def read_zip(path: Path, file: BinaryIO, size: int, limits: Limits) -> Contents:
    """Return what a torch zip file holds; raises ContentsError if it is none, or is damaged."""
    return contents(path, *load_zip(file, size, limits), limits)


def load_zip(file: BinaryIO, size: int, limits: Limits) -> tuple[object, Materialiser]:
    """Return what was saved, and what makes tensors of its views; raises as `read_zip`."""
    archive = _Archive(file, size, limits)
    pickles = [name for name in archive.names if name.split("/")[1:] == ["data.pkl"]]
    kind = "arrays of NumPy" if any(n.endswith(".npy") for n in archive.names) else "no torch"
    require(
        len(pickles) == 1,
        f"a zip file with {kind} ({len(pickles)} entries NAME/data.pkl, expected 1); give a file "
        "that torch.save wrote",
    )
    root = pickles[0].removesuffix("data.pkl")
    problem = "a TorchScript program, which is code; save model.state_dict() by torch.save"
    require(f"{root}constants.pkl" not in archive.names, problem)
    order = f"{root}byteorder"
    stated = archive.read(order, archive.size(order)) if order in archive.names else b"little"
    require(stated == b"little", BIG_ENDIAN)
    length = archive.size(pickles[0])
    problem = f"its pickle has {length} bytes, allowed are {limits.pickle_bytes}"
    require(length <= limits.pickle_bytes, problem)
    value = Machine(archive.read(pickles[0], length), limits).load()

    def storage(view: StorageView) -> bytearray:
        return archive.read(f"{root}data/{view.key}", view.nbytes)

    return value, Materialiser(storage, size, limits)
