"""Handwritten digits as sequences: the 1,797 images of 8 x 8 pixels that scikit-learn bundles.

Images are interpolated bilinearly to side x side, read row by row, pixel values in [0, 1]; for
side 8, 16 and 32 every interpolated value is exact in float32, so the content hash is the same
on every machine. Classes are split 60 / 10 / 30 % by a hash of the sample's number.

Source: UCI ML repository, Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998).
"""

import hashlib

import numpy as np

from robustssm.tasks.base import Split, Task
from robustssm.tasks.generated import check
from robustssm.tasks.reading import packaged
from robustssm.typing import FloatArray, IntArray

_SHARES = {"test": 0.3, "validation": 0.1}


def interpolation(source: int, target: int) -> FloatArray:
    """Return W (target, source): linear interpolation at pixel centres, edges repeated."""
    position = (np.arange(target) + 0.5) * source / target - 0.5
    units = np.eye(source)
    return np.stack([np.interp(position, np.arange(source), unit) for unit in units], axis=1)


def _bundled() -> FloatArray:
    """Return scikit-learn's table: 64 pixels and the label of each image, one a row.

    Its file is read where it lies: importing scikit-learn takes each process half a second.
    """
    folder = next(packaged("sklearn"), None)
    if folder is None:
        raise ModuleNotFoundError("digits: scikit-learn, which brings the images, is not installed")
    return np.loadtxt(folder / "datasets" / "data" / "digits.csv.gz", delimiter=",")


def digits(side: int = 16) -> Task:
    """Return the task; sequences have length side^2, one channel. side: 8 to 64."""
    check("digits", "side", side, 8, 64)
    bundled = _bundled()
    W = interpolation(8, side)
    images = W @ (bundled[:, :-1].reshape(-1, 8, 8) / 16.0) @ W.T
    inputs = images.reshape(len(images), side * side, 1).astype(np.float32)
    labels = bundled[:, -1].astype(np.int64)
    rank = np.array([hashlib.sha256(f"digits {i}".encode()).digest() for i in range(len(labels))])
    chosen: dict[str, list[IntArray]] = {"train": [], "validation": [], "test": []}
    for label in range(10):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(rank[members], kind="stable")]
        ends = np.cumsum([round(share * len(members)) for share in _SHARES.values()])
        for name, part in zip((*_SHARES, "train"), np.split(members, ends), strict=True):
            chosen[name].append(part)
    splits = {}
    for name, parts in chosen.items():
        index = np.sort(np.concatenate(parts))
        splits[name] = Split(inputs[index], labels[index], index)
    return Task(f"digits:side={side}", 10, splits, image=(side, side))
