"""Torch files from before version 1.6: five pickles, then the storages one after another.

Reference: pytorch, torch/serialization.py (_legacy_save, _legacy_load).
"""

import struct
from io import BufferedReader
from pathlib import Path

from robustssm.file_formats.contents import Contents, ContentsError, Limits, require
from robustssm.file_formats.restricted_pickle import Machine
from robustssm.file_formats.state_dicts import BIG_ENDIAN, contents
from robustssm.file_formats.storages import Materialiser, StorageView

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
# The first pickle, without its protocol and frame: what stands at the start of every such file.
START = b"\x8a\x0a" + _MAGIC.to_bytes(10, "little") + b"."
_CUT = "it ends within a tensor; fetch or save the file again"


def read_legacy(path: Path, file: BufferedReader, size: int, limits: Limits) -> Contents:
    """Return what such a file holds; raises ContentsError if it is damaged."""
    machine = Machine(file.read(limits.pickle_bytes), limits)
    version = machine.load() == _MAGIC and machine.load() == _PROTOCOL
    require(version, f"a torch file of another version than {_PROTOCOL}; save it again")
    system = machine.load()
    little_endian = isinstance(system, dict) and system.get("little_endian") is True
    require(little_endian, BIG_ENDIAN)
    value = machine.load()
    keys = machine.load()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ContentsError("its list of storages is damaged; fetch or save the file again")
    whole = set(keys) == set(machine.storages) and len(set(keys)) == len(keys)
    require(whole, "its list of storages is not that of its tensors; fetch the file again")
    places = _places(file, machine.stream.tell(), size, [machine.storages[key] for key in keys])

    def storage(view: StorageView) -> bytearray:
        file.seek(places[view.key])
        data = bytearray(view.nbytes)
        require(file.readinto(data) == len(data), _CUT)
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
        require(len(prefix) == 8 and at + 8 + storage.nbytes <= size, _CUT)
        same = struct.unpack("<q", prefix)[0] == storage.numel
        require(same, "a storage differs from its pickle in size; fetch the file again")
        places[storage.key] = at + 8
        at += 8 + storage.nbytes
    require(at == size, f"{size - at} bytes follow its last tensor; fetch the file again")
    return places
