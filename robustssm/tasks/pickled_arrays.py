"""Arrays of unsigned bytes in pickles of Python 2 and 3, read as data; nothing is executed.

Reference: CPython, Lib/pickle.py; NumPy, ndarray.__reduce__ and ndarray.__setstate__.
"""

import io

import numpy as np
import numpy.typing as npt

from robustssm.file_formats.contents import ContentsError, Limits
from robustssm.file_formats.pickle_globals import Global, Globals, Made
from robustssm.file_formats.restricted_pickle import Machine

_LIMITS = Limits(operations=4_000_000)
_ARRAY = "numpy.ndarray"
_DAMAGED = "its pickle is damaged, cut short, or holds more than arrays of bytes and lists"


class _Globals(Globals):
    """The globals of a checkpoint, and those that make an array.

    characters: the bytes that may be made of text, each of which is in the file.
    """

    def __init__(self, machine: "_Machine", characters: int) -> None:
        super().__init__(_LIMITS, machine._spend)
        self._left = characters
        for package in ("numpy.core", "numpy._core"):
            name = f"{package}.multiarray._reconstruct"
            self._table[name] = Global(name, lambda given: Made(_ARRAY))
        self._table[_ARRAY] = Global(_ARRAY)
        self._table["_codecs.encode"] = Global("_codecs.encode", self._bytes)

    def _bytes(self, given: tuple[object, ...]) -> bytes:
        if len(given) != 2 or not isinstance(given[0], str) or given[1] != "latin1":
            raise ContentsError(_DAMAGED)
        self._left -= len(given[0])
        if self._left < 0:
            raise ContentsError(_DAMAGED)
        return given[0].encode("latin-1")


class _Machine(Machine):
    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), _LIMITS)
        self._globals = _Globals(self, len(content))

    def _op_BUILD(self, state: object) -> None:
        target = self._stack[-2]
        if isinstance(target, Made) and target.name == _ARRAY:
            target.state["array"] = self._stack.pop()
        else:
            super()._op_BUILD(state)


def read_table(content: bytes) -> dict[str, object]:
    """Return the table that a pickle holds, by names; raises ContentsError.

    Values are what the pickle says, arrays as `array` reads them; texts of Python 2 are str.
    """
    try:
        table = _Machine(content).load()
    except UnicodeError:
        raise ContentsError(_DAMAGED) from None
    if not isinstance(table, dict):
        raise ContentsError("its pickle holds no table")
    return {
        key.decode("latin-1") if isinstance(key, bytes) else str(key): value
        for key, value in table.items()
    }


def array(value: object) -> npt.NDArray[np.uint8]:
    """Return an array of unsigned bytes that `read_table` found; raises ContentsError."""
    state = value.state.get("array") if isinstance(value, Made) else None
    if not isinstance(state, tuple) or len(state) != 5:
        raise ContentsError("expected an array of unsigned bytes")
    _, shape, kind, by_columns, data = state
    if isinstance(data, str):
        try:
            data = data.encode("latin-1")
        except UnicodeError:
            raise ContentsError(_DAMAGED) from None
    if (
        not isinstance(kind, Made)
        or kind.state.get("code") not in ("u1", "|u1")
        or by_columns
        or not isinstance(shape, tuple)
        or not all(isinstance(size, int) and size >= 0 for size in shape)
        or not isinstance(data, bytes)
    ):
        raise ContentsError("expected an array of unsigned bytes, row by row")
    count = 1
    for size in shape:
        count *= size
    if count != len(data):
        raise ContentsError(f"an array of shape {shape} has {len(data)} bytes")
    return np.frombuffer(data, np.uint8).reshape(shape)
