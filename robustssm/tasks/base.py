"""What a task is: sequences with labels in three fixed splits, and who is who among them."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from robustssm.typing import FloatArray, IntArray

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """inputs (N, L, channels) float32, labels (N,), sample_id (N,) fixed for ever."""

    inputs: npt.NDArray[np.float32]
    labels: IntArray
    sample_id: IntArray

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, part: slice) -> "Split":
        """Return a part of the samples."""
        return Split(self.inputs[part], self.labels[part], self.sample_id[part])

    def first(self, limit: int | None) -> "Split":
        """Return the first `limit` samples (all where None)."""
        return self.rows(slice(limit))


@dataclass(frozen=True)
class Task:
    """A classification task. `spec` is the name that makes it again, as in `digits:side=16`.

    image: (rows, columns) where a sequence is an image read row by row; rate: samples per second.
    """

    spec: str
    classes: int
    splits: dict[str, Split]
    image: tuple[int, int] | None = None
    rate: float | None = None

    @property
    def length(self) -> int:
        """Sequence length L, samples."""
        return int(self.splits["train"].inputs.shape[1])

    @property
    def channels(self) -> int:
        """Input channels."""
        return int(self.splits["train"].inputs.shape[2])

    @property
    def chance(self) -> float:
        """Accuracy of the best constant answer on the test split."""
        labels = self.splits["test"].labels
        return float(np.bincount(labels, minlength=self.classes).max() / len(labels))

    @cached_property
    def mean(self) -> FloatArray:
        """Mean of the training inputs per channel, (channels,)."""
        return self.splits["train"].inputs.mean((0, 1), dtype=np.float64)

    @cached_property
    def std(self) -> FloatArray:
        """Standard deviation of the training inputs per channel, (channels,)."""
        return self.splits["train"].inputs.std((0, 1), dtype=np.float64)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over every split's name, shape, inputs, labels and sample ids."""
        digest = hashlib.sha256()
        for name in SPLITS:
            split = self.splits[name]
            digest.update(f"{name}{split.inputs.shape}".encode())
            for array in (split.inputs, split.labels, split.sample_id):
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()
