"""CIFAR-10 from the published python batches, pixels in sequence.

Images of 32 x 32 pixels are read row by row, values in [0, 1]; three channels, or grey. A tenth
of the 50,000 training images, those that state-spaces/s4 holds out, are for validation.
sample_id: 0 to 49,999 in the order of the training batches, 50,000 to 59,999 of the test batch.

The batches are pickles of Python 2, read as data: nothing in them is executed.

Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009), section 3;
CPython, Lib/pickle.py; NumPy, ndarray.__reduce__ and ndarray.__setstate__.
"""

import hashlib
import math
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt

from robustssm.file_formats.contents import ContentsError, Limits
from robustssm.file_formats.pickle_globals import Made
from robustssm.file_formats.restricted_pickle import Machine
from robustssm.tasks.base import Split, Task, spec_of
from robustssm.tasks.pictures import Bytes
from robustssm.tasks.reading import Source, check_flag, check_limit, check_room, published_splits
from robustssm.typing import IntArray

_WHO = "cifar10"
_FOLDER = "cifar-10-batches-py"
_TEST = "test_batch"
# The published files and their MD5 sums.
MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    _TEST: "40351d587109b95175f43aff81a1287e",
}
_ROWS = 10_000
_SIDE = 32
_FILE_BYTES = 128 << 20
# As many as an array of NumPy may have.
_DIMENSIONS = 64
# Weights of red, green and blue in grey, times 2^16: ITU-R 601-2, as Pillow and torchvision have.
_GREY = (19595, 38470, 7471)


def cifar10(folder: Path, gray: int = 0, limit: int = 0, partial: int = 0) -> Task:
    """Return the task; inputs (N, 1024, 3), or (N, 1024, 1) if `gray` is 1; ten classes.

    folder: cifar-10-batches-py, or the folder that holds it; limit: the first samples of each
    split, 0 for all; partial: 1 allows batches of fewer than 10,000 images. The files are never
    executed. Files that differ from the published ones by their sums are told by a warning.
    Raises RejectedInputError.
    """
    grey, part = check_flag(_WHO, "gray", gray), check_flag(_WHO, "partial", partial)
    kept = check_limit(_WHO, limit)
    place = Source(_WHO, folder).folder(_FOLDER)
    batches = {name: _batch(place.find(name), part) for name in MD5}
    test = batches.pop(_TEST)
    train = tuple(np.concatenate(arrays) for arrays in zip(*batches.values(), strict=True))
    published = len(batches) * _ROWS
    del batches
    places = published_splits(len(train[0]), len(test[0]), kept)
    count, channels = sum(len(index) for _, _, index in places), 1 if grey else 3
    check_room(_WHO, (count, _SIDE**2, channels), 4, "give limit=1000 or gray=1")
    splits = {}
    for split, file, index in places:
        pixels, labels = (train, test)[file]
        ids = file * published + index
        splits[split] = Split(_sequences(pixels[index], grey), labels[index], ids)
    given = {"folder": folder, "gray": gray, "limit": limit, "partial": partial}
    return Task(spec_of(_WHO, given, cifar10), 10, splits, image=(_SIDE, _SIDE))


def _batch(source: Source, partial: bool) -> tuple[Bytes, IntArray]:
    """Return the pixels (N, 3072), the channels one after another, and labels (N,) of a file."""
    content = source.content(_FILE_BYTES)
    try:
        table = read_table(content)
        pixels = array(table.get("data"))
    except ContentsError as error:
        problem = str(error).partition("; save")[0]
        raise source.rejected(f"{problem}; fetch the published file again") from None
    listed = table.get("labels")
    if not isinstance(listed, list) or not all(type(label) is int for label in listed):
        raise source.rejected("its labels are no list of integers; fetch it again")
    expected = f"expected {_ROWS} x {3 * _SIDE**2} pixels and {_ROWS} labels"
    if pixels.ndim != 2 or pixels.shape[1] != 3 * _SIDE**2 or len(pixels) != len(listed):
        raise source.rejected(f"pixels {pixels.shape}, {len(listed)} labels; {expected}")
    if len(pixels) > _ROWS or (len(pixels) < _ROWS and not partial):
        raise source.rejected(f"{len(pixels)} images, {expected}; partial=1 takes fewer of them")
    labels = source.labels(listed, 10)
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if not partial and digest != MD5[source.path.name]:
        problem = "its MD5 sum is not that of the published file"
        warnings.warn(f"{_WHO} {source.path}: {problem}", stacklevel=4)
    return pixels, labels


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


def array(value: object) -> Bytes:
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


def _sequences(pixels: Bytes, grey: bool) -> npt.NDArray[np.float32]:
    """Return (N, 1024, channels) in [0, 1] of pixels (N, 3072)."""
    planes = pixels.reshape(len(pixels), 3, _SIDE**2)
    if grey:
        total = np.full(planes[:, 0].shape, 1 << 15, dtype=np.uint32)  # rounds to nearest
        for number, weight in enumerate(_GREY):
            total += planes[:, number] * np.uint32(weight)
        planes = (total >> 16).astype(np.uint8)[:, None]
    out = np.empty((len(pixels), _SIDE**2, planes.shape[1]), dtype=np.float32)
    out[...] = planes.transpose(0, 2, 1)
    out /= np.float32(255.0)
    return out
