"""Arrays of unsigned bytes in pickles of Python 2 and 3, read as data; nothing is executed.

Reference: CPython, Lib/pickle.py; NumPy, ndarray.__reduce__ and ndarray.__setstate__.
"""

import math

import numpy as np
import numpy.typing as npt

from robustssm.file_formats.contents import ContentsError, Limits
from robustssm.file_formats.pickle_globals import Made
from robustssm.file_formats.restricted_pickle import Machine

# As many as an array of NumPy may have.
_DIMENSIONS = 64


def read_table(content: bytes) -> dict[str, object]:
    """Return the table that a pickle holds, by names; raises ContentsError.

    Values are what the pickle says, arrays as `array` reads them; texts of Python 2 are str.
    """
    table = Machine(content, Limits()).load()
    if not isinstance(table, dict):
        raise ContentsError("its pickle holds no table")
    return {
        key.decode("latin-1") if isinstance(key, bytes) else str(key): value
        for key, value in table.items()
    }


def array(value: object) -> npt.NDArray[np.uint8]:
    """Return an array of unsigned bytes that `read_table` returned; raises ContentsError."""
    state = value.state if isinstance(value, Made) else None
    if not isinstance(state, tuple) or len(state) != 5:
        raise ContentsError("expected an array of unsigned bytes")
    _, shape, dtype, by_columns, data = state
    if isinstance(data, str):
        try:
            data = data.encode("latin-1")
        except UnicodeError:
            raise ContentsError("its pickle is damaged") from None
    if (
        not isinstance(dtype, Made)
        or dtype.arguments[:1] not in (("u1",), ("|u1",))
        or by_columns
        or not isinstance(shape, tuple)
        or len(shape) > _DIMENSIONS
        or not all(isinstance(size, int) and size >= 0 for size in shape)
        or not isinstance(data, bytes)
    ):
        raise ContentsError("expected an array of unsigned bytes, row by row")
    if math.prod(shape) != len(data):
        raise ContentsError(f"an array of shape {shape} has {len(data)} bytes")
    return np.frombuffer(data, np.uint8).reshape(shape)
