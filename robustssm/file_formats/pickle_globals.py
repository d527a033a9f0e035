"""The globals that a pickle may name, each replaced by something that only holds.

Nothing here is imported or called: a name stands for what is built in its place. torch.save,
Lightning and NumPy write these; a pickle that names anything else is refused.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch

from robustssm.file_formats.contents import ContentsError, Limits, shown
from robustssm.file_formats.storages import STORAGE_TYPES, TensorView, tensor_view

# Nodes of omegaconf, dictionaries of argparse and Lightning (hyper-parameters are made of these),
# data types and arrays of NumPy, and the metadata of distributed checkpoints.
_HELD = re.compile(
    r"torch\.distributed\.(checkpoint|_shard\.sharded_tensor)\.\w+\.\w+|torch\.serialization\."
    r"_get_layout|omegaconf\.\w+\.\w+|argparse\.Namespace|numpy\.dtype|numpy\._?core\.multiarray\._reconstruct|"
    r"(pytorch_lightning|lightning_fabric|lightning\.(pytorch|fabric))\.utilities"
    r"\.(parsing|data)\.AttributeDict"
)
# Names that stand for types, and the keys of callbacks in Lightning before 1.5.
_NAMES = re.compile(
    r"builtins\.(int|float|str|bool|tuple|complex)|typing\.Any|numpy\.ndarray|"
    r"torch\.(float(16|32|64)|bfloat16|complex(64|128)|int(8|16|32|64)|uint8|bool)|"
    r"(pytorch_lightning|lightning\.pytorch)\.callbacks\.\w+\.\w+"
)
_PY2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_PY2_NAMES = {"builtins.long": "builtins.int", "builtins.unicode": "builtins.str"}
# What to do about a file that holds more than is needed.
ALONE = "save the state_dict alone, as in torch.save(model.state_dict(), path)"
_NUMPY_SCALAR = re.compile(r"[<|=]?(f2|f4|f8|i1|i2|i4|i8|u1|u2|u4|u8|b1)")


@dataclass(eq=False, slots=True)
class Made:
    """What a pickle builds of a class: its name and arguments, items (of a dictionary), state."""

    name: str
    arguments: tuple[object, ...] = ()
    items: dict[object, object] = field(default_factory=dict)
    state: object = None

    @property
    def attributes(self) -> list[dict[object, object]]:
        """The tables of the state: of `__dict__`, and of `__slots__` if the class has some."""
        state = self.state[:2] if isinstance(self.state, tuple) else (self.state,)
        return [part for part in state if isinstance(part, dict)]


@dataclass(frozen=True, eq=False, slots=True)
class Global:
    """A name in a pickle; `build` returns what stands for a call of it, None if it is no call."""

    name: str
    build: Callable[..., object] | None = None
    dtype: torch.dtype | None = None


class Globals:
    """The allowed globals of one pickle.

    spend: is told how many entries a call copies, and raises ContentsError for too many;
    characters: how many may become bytes by `_codecs.encode`, which protocol 2 writes.
    """

    def __init__(self, limits: Limits, spend: Callable[[int], None], characters: int) -> None:
        self._spend, self._characters = spend, characters
        self._known: dict[str, Global] = {}
        kinds = ("PosixPath", "WindowsPath")
        paths = [f"pathlib{part}.{kind}" for part in ("", "._local") for kind in kinds]
        self._builds: dict[str, Callable[..., object]] = {
            **dict.fromkeys(paths, self._path),
            **dict.fromkeys(("builtins.list", "builtins.set", "collections.deque"), self._list),
            **{f"collections.{name}": self._dict for name in ("OrderedDict", "Counter")},
            "builtins.dict": self._dict,
            "collections.defaultdict": lambda kind=None, *entries: self._dict(*entries),
            **{f"numpy.{core}.multiarray.scalar": _numpy_scalar for core in ("core", "_core")},
            "torch._utils._rebuild_tensor_v2": partial(tensor_view, limits),
            "torch._utils._rebuild_parameter": partial(_first, TensorView, "parameter"),
            "torch._utils._rebuild_parameter_with_state": partial(_first, TensorView, "parameter"),
            "torch.Size": lambda sizes: _first(tuple, "torch.Size", sizes),
            "torch.device": partial(_first, str, "torch.device"),
            "_codecs.encode": self._encoded,
        }

    def find(self, module: str, name: str) -> Global:
        """Return what stands for a global; raises ContentsError, which names it, if not allowed."""
        full = f"{_PY2.get(module, module)}.{name}"
        full = _PY2_NAMES.get(full, full)
        if full not in self._known:
            build = self._builds.get(full)
            if build is None and _HELD.fullmatch(full):
                build = partial(_held, full)
            dtype = STORAGE_TYPES.get(name) if module in ("torch", "torch.storage") else None
            if build is None and dtype is None and not _NAMES.fullmatch(full):
                raise ContentsError(
                    f"holds {shown(full)}, which would run code when loaded; nothing was run; "
                    f"{ALONE}"
                )
            self._known[full] = Global(full, build, dtype)
        return self._known[full]

    def _list(self, entries: object = (), length: object = None) -> list[Any]:
        if not isinstance(entries, list | tuple):
            raise _odd("list")
        self._spend(len(entries))
        return list(entries)

    def _dict(self, entries: object = ()) -> dict[object, object]:
        if isinstance(entries, dict):
            self._spend(len(entries))
            return dict(entries)
        table: dict[object, object] = {}
        for key, value in self._list(entries):
            table[checked_key(key)] = value
        return table

    def _path(self, *parts: object) -> str:
        if not all(isinstance(part, str) for part in parts):
            raise _odd("path")
        self._spend(sum(len(str(part)) for part in parts))
        windows = any(":" in str(part) for part in parts[:1])
        return str((PureWindowsPath if windows else PurePosixPath)(*map(str, parts)))

    def _encoded(self, text: str, encoding: str) -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise _odd("byte string")
        self._characters -= len(text)
        if self._characters < 0:
            raise _odd("byte string")
        return text.encode("latin1")


def checked_key(key: object) -> object:
    """Return a key of a table: a scalar, a name, an object, or a short tuple of scalars.

    Raises ContentsError for others, above all nested tuples, whose hash follows them to any depth.
    """
    keys = key if isinstance(key, tuple) and len(key) <= 8 else (key,)
    for one in keys:
        allowed = one is None or isinstance(one, str | float | bytes | Global | Made)
        if not allowed and not (isinstance(one, int) and one.bit_length() < 64):
            raise ContentsError(
                "its pickle has a table with keys that are neither names nor numbers"
            )
    return key


def _odd(name: str) -> ContentsError:
    return ContentsError(
        f"its pickle makes a {name} in a way that torch.save does not; save it again"
    )


def _held(name: str, *arguments: object) -> Made:
    return Made(name, arguments)


def _first(kind: type, name: str, argument: object, *_: object) -> object:
    """Return the first argument of a call, which has to be of a kind; the others say no more."""
    if not isinstance(argument, kind):
        raise _odd(name)
    return argument


def _numpy_scalar(dtype: object, data: object) -> object:
    if isinstance(dtype, Made) and dtype.name == "numpy.dtype" and isinstance(data, bytes):
        name = dtype.arguments[0]
        code = _NUMPY_SCALAR.fullmatch(name) if isinstance(name, str) else None
        # The state is (version, byte order, ...).
        order = dtype.state[1] if isinstance(dtype.state, tuple) else "<"
        if code and order in ("<", "|", "=") and np.dtype(code[1]).itemsize == len(data):
            return np.frombuffer(data, f"<{code[1]}")[0].item()
    raise _odd("NumPy scalar")
