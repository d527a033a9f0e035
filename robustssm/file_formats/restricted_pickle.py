"""Pickles as data: the opcodes that torch.save writes, on values that only hold.

torch.load(weights_only=True) does not bound what a hostile file costs, nor notice damage: a key of
nested tuples ends the process, a call of bytearray takes any memory, views of one storage are
copied without a limit, a changed bit and bytes behind the end are read; and it knows protocol 2
only. pickle.Unpickler takes memory for sizes that a pickle merely claims. So this is Python's own
unpickler in Python, whose memo is a dictionary, with the opcodes that are needed, each counted.

Reference: CPython, Lib/pickle.py (class _Unpickler).
"""

import io
import pickle
from collections.abc import Callable
from typing import Any

from robustssm.file_formats.contents import ContentsError, Limits, require, shown
from robustssm.file_formats.pickle_globals import ALONE, Global, Globals, Made, checked_key
from robustssm.file_formats.storages import StorageView, TensorView, storage_view

_DAMAGED = "its pickle is damaged, cut short or not of torch.save; fetch or save the file again"
# No call that is needed has more.
_ARGUMENTS = 64
# Opcodes that are done as Python does: none of them calls a value, or hashes one.
_PLAIN = (
    "PROTO FRAME STOP MARK POP POP_MARK DUP PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET "
    "NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT STRING BINSTRING "
    "SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES "
    "BINBYTES8 EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT "
    "GLOBAL STACK_GLOBAL BINPERSID"
)
# A set is only ever held, never asked: a list says the same.
_ALIKE = {"EMPTY_SET": "EMPTY_LIST", "FROZENSET": "LIST", "ADDITEMS": "APPENDS"}


class Machine(pickle._Unpickler):
    """Runs one pickle after another of `stream`; the storages they name are `storages`.

    A value is None, a scalar, str, bytes, list, tuple, dict, or what stands for a global, an
    object, a storage or a tensor. Only what stands for a global is ever called.
    """

    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, data: bytes | bytearray, limits: Limits) -> None:
        self.stream = io.BytesIO(data)
        super().__init__(self.stream, encoding="latin1")
        self.storages: dict[str, StorageView] = {}
        self._limits, self._left = limits, limits.operations
        self._globals = Globals(limits, self.spend, len(data))

    def load(self) -> Any:
        """Return what the next pickle holds; raises ContentsError if it is more than data."""
        self.memo: dict[int, object] = {}
        try:
            return super().load()
        except (ContentsError, MemoryError):
            raise
        except Exception as error:  # Python's unpickler raises many kinds for damaged files
            raise ContentsError(_DAMAGED) from error

    def spend(self, count: int) -> None:
        """Count operations; raises ContentsError if there are more than the limits allow."""
        self._left -= count
        if self._left < 0:
            most = f"its pickle takes more than {self._limits.operations} operations"
            raise ContentsError(f"{most}; {ALONE}")

    def find_class(self, module: str, name: str) -> Global:
        """Return what stands for a global."""
        return self._globals.find(module, name)

    def persistent_load(self, pid: object) -> StorageView:
        """Return the storage of a persistent id, the same each time."""
        storage = storage_view(pid)
        known = self.storages.setdefault(storage.key, storage)
        same = (known.dtype, known.numel) == (storage.dtype, storage.numel)
        require(same, "one storage has two types or sizes; the file is damaged")
        return known

    def _reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        few = isinstance(arguments, tuple) and len(arguments) <= _ARGUMENTS
        require(few and isinstance(function, Global), _DAMAGED)
        if function.build is None:
            raise ContentsError(f"makes a {shown(function.name)}, which is not plain data; {ALONE}")
        self.stack.append(function.build(*arguments))

    def _new_with_names(self) -> None:
        require(self.stack.pop() == {}, _DAMAGED)
        self._reduce()

    def _build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Made):
            target.state = state
        elif not isinstance(target, dict | TensorView):
            raise ContentsError(_DAMAGED)
        # Attributes of an OrderedDict, such as _metadata of a state_dict, are left out.

    def _set(self, entries: list[object]) -> None:
        target = self.stack[-1]
        table = target.items if isinstance(target, Made) else target
        if not isinstance(table, dict):
            raise ContentsError(_DAMAGED)
        for key, value in zip(entries[::2], entries[1::2], strict=True):
            table[checked_key(key)] = value

    def _set_one(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def _set_many(self) -> None:
        self._set(self.pop_mark())

    def _dict(self) -> None:
        entries = self.pop_mark()
        self.stack.append({})
        self._set(entries)


def _counted(step: Callable[[Any], None]) -> Callable[[Any], None]:
    def counted(machine: Machine) -> None:
        machine.spend(1)
        step(machine)

    return counted


def _steps() -> dict[int, Callable[[Any], None]]:
    """Return what each allowed opcode does; all others are damage."""
    python = pickle._Unpickler.dispatch
    steps = {name: python[getattr(pickle, name)[0]] for name in _PLAIN.split()}
    steps |= {name: steps[same] for name, same in _ALIKE.items()}
    own: dict[str, Callable[[Any], None]] = {
        "REDUCE": Machine._reduce,
        "NEWOBJ": Machine._reduce,
        "NEWOBJ_EX": Machine._new_with_names,
        "BUILD": Machine._build,
        "SETITEM": Machine._set_one,
        "SETITEMS": Machine._set_many,
        "DICT": Machine._dict,
    }
    return {getattr(pickle, name)[0]: _counted(step) for name, step in {**steps, **own}.items()}


Machine.dispatch = _steps()
