"""MNIST and Fashion-MNIST from the IDX files, pixels in sequence.

Images of 28 x 28 pixels are read row by row, values in [0, 1]. A tenth of the 60,000 training
images, those that state-spaces/s4 holds out, are for validation. sample_id: 0 to 59,999 in the
order of the training file, 60,000 to 69,999 in that of the test file.

Source: LeCun, Cortes and Burges, The MNIST database, "File formats for the MNIST database"; Xiao
et al., Fashion-MNIST (arXiv 1708.07747).
"""

import gzip
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from robustssm.storage.opening import opened
from robustssm.tasks.base import Split, Task, spec_of
from robustssm.tasks.reading import Source, check_flag, check_limit, check_room, published_splits
from robustssm.typing import IntArray

_SIDE = 28
_COUNTS = {"train": 60_000, "t10k": 10_000}
_UNSIGNED_BYTES = 8


def mnist(folder: Path, limit: int = 0, partial: int = 0) -> Task:
    """Return handwritten digits; inputs (N, 784, 1), ten classes.

    folder: holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
    t10k-labels-idx1-ubyte, plain or .gz; limit: the first samples of each split, 0 for all;
    partial: 1 allows fewer than the published 60,000 and 10,000. Raises RejectedInputError.
    """
    return _task("mnist", "MNIST", folder, limit, partial)


def fashion_mnist(folder: Path, limit: int = 0, partial: int = 0) -> Task:
    """Return articles of clothing; parameters, shapes and errors are those of `mnist`."""
    return _task("fashion-mnist", "FashionMNIST", folder, limit, partial)


def _task(who: str, name: str, folder: Path, limit: int, partial: int) -> Task:
    part, kept = check_flag(who, "partial", partial), check_limit(who, limit)
    place = Source(who, folder).folder(name).folder("raw")
    files = [_pair(place, split, part) for split in _COUNTS]
    counts = [len(pixels) for pixels, _ in files]
    check_room(who, (sum(counts), _SIDE**2), 4, "use a machine with more memory")
    splits = {}
    for split, file, index in published_splits(counts[0], counts[1], kept):
        pixels, labels = files[file]
        inputs = pixels[index].reshape(len(index), -1, 1).astype(np.float32) / np.float32(255.0)
        splits[split] = Split(inputs, labels[index], file * _COUNTS["train"] + index)
    given = {"folder": folder, "limit": limit, "partial": partial}
    return Task(spec_of(who, given, mnist), 10, splits, image=(_SIDE, _SIDE))


def _pair(place: Source, split: str, partial: bool) -> tuple[npt.NDArray[np.uint8], IntArray]:
    """Return the pixels (N, 28, 28) and labels (N,) of a split."""
    arrays = []
    for what, size in (("images", (_SIDE, _SIDE)), ("labels", ())):
        stem = f"{split}-{what}"
        ending = f"idx{1 + len(size)}-ubyte"
        source = place.find(
            *(f"{stem}{dot}{ending}{gz}" for gz in ("", ".gz") for dot in ("-", "."))
        )
        arrays.append(read_idx(source, size, _COUNTS[split]))
        count = len(arrays[-1])
        if count != len(arrays[0]):
            raise source.rejected(f"{count} labels for {len(arrays[0])} images")
        if count != _COUNTS[split] and not partial:
            raise source.rejected(
                f"{count} samples, expected {_COUNTS[split]}; partial=1 takes fewer"
            )
    return arrays[0], source.labels(arrays[1], 10)


def read_idx(source: Source, size: tuple[int, ...], most: int) -> npt.NDArray[np.uint8]:
    """Return the array (N, *size) of unsigned bytes of an IDX file, N at most `most`.

    A name that ends in .gz is decompressed on the way, no further than the header's sizes.
    Raises RejectedInputError.
    """
    path = source.path
    zipped = path.suffix == ".gz"
    try:
        with opened(path) as binary, gzip.open(binary) if zipped else binary as file:
            head = file.read(4 + 4 * (1 + len(size)))
            if len(head) < 4 + 4 * (1 + len(size)):
                raise source.rejected("its header is cut short; fetch it again")
            magic = bytes((0, 0, _UNSIGNED_BYTES, 1 + len(size)))
            if head[:4] != magic:
                raise source.rejected(f"starts with {head[:4].hex()}, expected {magic.hex()}")
            sizes = tuple(np.frombuffer(head[4:], ">u4").tolist())
            if sizes[1:] != size or not 0 < sizes[0] <= most:
                raise source.rejected(f"has sizes {sizes}, expected ({most}, *{size})")
            expected = int(np.prod(sizes))
            content = file.read(expected + 1)
    except FileNotFoundError:
        raise source.rejected("no such file; fetch the published files again") from None
    except (OSError, EOFError, zlib.error) as error:
        raise source.rejected(f"cannot be read ({error}); fetch it again") from None
    if len(content) != expected:
        more = "more than" if len(content) > expected else f"{len(content)} of"
        raise source.rejected(f"holds {more} the {expected} bytes of its header; fetch it again")
    return np.frombuffer(content, np.uint8).reshape(sizes)
