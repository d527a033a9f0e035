"""Pickles as data: the opcodes that torch.save writes, on a stack of values that only hold.

pickle.Unpickler is not used: even where it may find no global, it calls methods of what it built,
takes memory for sizes that a pickle merely claims (memo indices, byte arrays), and follows nested
keys until the process ends. Here pickletools decodes the opcodes, and each does what the pickle
protocol says, of lists, dictionaries, tuples and scalars, with a count of what it made.

Reference: CPython, Lib/pickle.py (class _Unpickler) and Lib/pickletools.py.
"""

import io
import pickletools
from collections.abc import Callable

from robustssm.file_formats.contents import ContentsError, Limits, shown
from robustssm.file_formats.pickle_globals import Global, Globals, Made, hashable
from robustssm.file_formats.storages import StorageView, TensorView, storage_view

# The magic number of torch's files has 80 bits.
_BITS = 128
_PROTOCOL = 5
_DAMAGED = "its pickle is damaged or cut short; fetch or save the file again"
_CONSTANTS = frozenset(
    (
        *("FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    )
)
_INTEGERS = frozenset(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"))
_LITERALS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_PUTS = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
_GETS = frozenset(("GET", "BINGET", "LONG_BINGET"))
# A set is only ever held, never asked: a list says the same.
_ALIKE = {
    "EMPTY_SET": "EMPTY_LIST",
    "FROZENSET": "LIST",
    "ADDITEMS": "APPENDS",
    "NEWOBJ": "REDUCE",
}


class Machine:
    """Runs one pickle after another of a stream; the storages they name are `storages`.

    A value is None, a scalar, str, bytes, list, tuple, dict, or what stands for a global, an
    object, a storage or a tensor.
    """

    def __init__(self, stream: io.BytesIO, limits: Limits) -> None:
        self._stream, self._limits = stream, limits
        self._left = limits.operations
        self._globals = Globals(limits, self._spend)
        self.storages: dict[str, StorageView] = {}
        self._done: dict[str, Callable[[object], None]] = {
            name[4:]: getattr(self, name) for name in dir(self) if name.startswith("_op_")
        }
        self._done |= {name: self._done[same] for name, same in _ALIKE.items()}

    def load(self) -> object:
        """Return what the next pickle holds; raises ContentsError where it is more than data."""
        self._stack: list[object] = []
        self._marked: list[list[object]] = []
        self._memo: dict[int, object] = {}
        try:
            for opcode, argument, _ in pickletools.genops(self._stream):
                self._spend(1)
                name = opcode.name
                if name == "STOP":
                    return self._stack.pop()
                self._step(name, argument)
        except (ValueError, LookupError, OverflowError, ArithmeticError) as error:
            raise ContentsError(_DAMAGED) from error
        raise ContentsError(_DAMAGED)

    def _step(self, name: str, argument: object) -> None:
        if name in _CONSTANTS:
            self._stack.append(argument)
        elif name in _INTEGERS:
            if not isinstance(argument, int) or argument.bit_length() > _BITS:
                raise ContentsError(f"its pickle holds an integer of more than {_BITS} bits")
            self._stack.append(argument)
        elif name in _LITERALS:
            self._stack.append(_LITERALS[name])
        elif name in _PUTS:
            self._memo[argument] = self._stack[-1]  # type: ignore[index]
        elif name in _GETS:
            self._stack.append(self._memo[argument])  # type: ignore[index]
        elif name in self._done:
            self._done[name](argument)
        else:
            raise ContentsError(
                f"its pickle has the opcode {name}, which torch.save does not write"
            )

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise ContentsError(
                f"its pickle takes more than {self._limits.operations} operations; save the "
                "state_dict alone, as in torch.save(model.state_dict(), path)"
            )

    def _since_mark(self) -> list[object]:
        values, self._stack = self._stack, self._marked.pop()
        return values

    def _op_PROTO(self, version: object) -> None:
        if not isinstance(version, int) or version > _PROTOCOL:
            raise ContentsError(f"its pickle has protocol {version}, expected at most {_PROTOCOL}")

    def _op_FRAME(self, size: object) -> None:
        """Frames only help reading; the opcodes are the same without them."""

    def _op_MEMOIZE(self, _: object) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _op_MARK(self, _: object) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _op_POP(self, _: object) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def _op_POP_MARK(self, _: object) -> None:
        self._since_mark()

    def _op_DUP(self, _: object) -> None:
        self._stack.append(self._stack[-1])

    def _op_EMPTY_LIST(self, _: object) -> None:
        self._stack.append([])

    def _op_EMPTY_DICT(self, _: object) -> None:
        self._stack.append({})

    def _op_EMPTY_TUPLE(self, _: object) -> None:
        self._stack.append(())

    def _op_TUPLE(self, _: object) -> None:
        values = tuple(self._since_mark())
        self._stack.append(values)

    def _op_LIST(self, _: object) -> None:
        values = self._since_mark()
        self._stack.append(values)

    def _op_DICT(self, _: object) -> None:
        values = self._since_mark()
        self._stack.append({})
        self._set(values)

    def _op_TUPLE1(self, _: object) -> None:
        self._tuple(1)

    def _op_TUPLE2(self, _: object) -> None:
        self._tuple(2)

    def _op_TUPLE3(self, _: object) -> None:
        self._tuple(3)

    def _tuple(self, count: int) -> None:
        self._stack.append(tuple([self._stack.pop() for _ in range(count)][::-1]))

    def _op_APPEND(self, _: object) -> None:
        self._extend([self._stack.pop()])

    def _op_APPENDS(self, _: object) -> None:
        self._extend(self._since_mark())

    def _extend(self, values: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise ContentsError(_DAMAGED)
        target.extend(values)

    def _op_SETITEM(self, _: object) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def _op_SETITEMS(self, _: object) -> None:
        self._set(self._since_mark())

    def _set(self, values: list[object]) -> None:
        target = self._stack[-1]
        items = target.items if isinstance(target, Made) else target
        if not isinstance(items, dict) or len(values) % 2:
            raise ContentsError(_DAMAGED)
        for key in values[::2]:
            if not hashable(key):
                raise ContentsError(
                    "its pickle has a table with keys that are neither names nor numbers"
                )
        items.update(zip(values[::2], values[1::2], strict=True))

    def _op_GLOBAL(self, argument: object) -> None:
        module, _, name = str(argument).partition(" ")
        self._stack.append(self._globals.find(module, name))

    def _op_STACK_GLOBAL(self, _: object) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(self._globals.find(module, name))

    def _op_REDUCE(self, _: object) -> None:
        given, function = self._stack.pop(), self._stack.pop()
        self._call(function, given)

    def _op_NEWOBJ_EX(self, _: object) -> None:
        named, given, function = self._stack.pop(), self._stack.pop(), self._stack.pop()
        if named != {}:
            raise ContentsError(_DAMAGED)
        self._call(function, given)

    def _call(self, function: object, given: object) -> None:
        if not isinstance(function, Global) or not isinstance(given, tuple):
            raise ContentsError(_DAMAGED)
        if function.build is None:
            raise ContentsError(
                f"makes a {shown(function.name)}, which is not plain data; save the state_dict "
                "alone, as in torch.save(model.state_dict(), path)"
            )
        self._stack.append(function.build(given))

    def _op_BUILD(self, _: object) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if isinstance(target, dict | TensorView):
            return  # attributes of an OrderedDict, such as _metadata of a state_dict
        if not isinstance(target, Made):
            raise ContentsError(_DAMAGED)
        if target.name == "numpy.dtype" and isinstance(state, tuple) and len(state) > 1:
            target.state["order"] = state[1]
            return
        for part in state if isinstance(state, tuple) else (state,):
            if part is None:
                continue
            if not isinstance(part, dict):
                raise ContentsError(_DAMAGED)
            self._spend(len(part))
            target.state.update(part)

    def _op_BINPERSID(self, _: object) -> None:
        storage = storage_view(self._stack.pop())
        known = self.storages.setdefault(storage.key, storage)
        if (known.dtype, known.numel) != (storage.dtype, storage.numel):
            raise ContentsError("one storage has two types or sizes; the file is damaged")
        self._stack.append(known)
