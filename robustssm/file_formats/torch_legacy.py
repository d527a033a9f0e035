"""Torch files from before version 1.6: five pickles, then the storages one after another.

Reference: pytorch, torch/serialization.py (_legacy_save, _legacy_load).
"""

import struct
from io import BufferedReader
from pathlib import Path

from robustssm.file_formats.contents import Contents, ContentsError, Limits
from robustssm.file_formats.restricted_pickle import Machine
from robustssm.file_formats.state_dicts import contents
from robustssm.file_formats.storages import Materialiser, StorageView

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
# The first pickle, without its protocol and frame: what stands at the start of every such file.
START = b"\x8a\x0a" + _MAGIC.to_bytes(10, "little") + b"."
_CUT = "it ends within a tensor; fetch or save the file again"


def read_legacy(path: Path, file: BufferedReader, size: int, limits: Limits) -> Contents:
    """Return what such a file holds; raises ContentsError if it is damaged."""
    machine = Machine(file.read(limits.pickle_bytes), limits)
    if machine.load() != _MAGIC or machine.load() != _PROTOCOL:
        raise ContentsError(f"a torch file of another version than {_PROTOCOL}; save it again")
    system = machine.load()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ContentsError("its numbers are not little-endian; save it again on a usual machine")
    value = machine.load()
    keys = machine.load()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ContentsError("its list of storages is damaged; fetch or save the file again")
    if set(keys) != set(machine.storages) or len(set(keys)) != len(keys):
        raise ContentsError("its list of storages is not that of its tensors; fetch the file again")
    places = _places(file, machine.stream.tell(), size, [machine.storages[key] for key in keys])

    def storage(view: StorageView) -> bytearray:
        file.seek(places[view.key])
        data = bytearray(view.nbytes)
        if file.readinto(data) != len(data):
            raise ContentsError(_CUT)
        return data

    return contents(path, value, Materialiser(storage, size, limits), limits)


def _places(
    file: BufferedReader, at: int, size: int, storages: list[StorageView]
) -> dict[str, int]:
    """Return where each storage's numbers start: after their count, 8 bytes."""
    places = {}
    for storage in storages:
        file.seek(at)
        prefix = file.read(8)
        if len(prefix) < 8 or at + 8 + storage.nbytes > size:
            raise ContentsError(_CUT)
        if struct.unpack("<q", prefix)[0] != storage.numel:
            raise ContentsError("a storage differs from its pickle in size; fetch the file again")
        places[storage.key] = at + 8
        at += 8 + storage.nbytes
    if at != size:
        raise ContentsError(f"{size - at} bytes follow its last tensor; fetch the file again")
    return places
