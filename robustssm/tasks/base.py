"""What a task is: sequences with targets in three fixed splits, and who is who among them."""

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from robustssm.errors import UsageError
from robustssm.targets import CLASSES, Kind
from robustssm.typing import Array, FloatArray, IntArray

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """The samples of one split.

    Parameters
    ----------
    inputs : ndarray
        Values (N, L, channels), float32, or tokens (N, L), int64.
    labels : ndarray
        Classes (N,) or tokens (N, L), int64; or values (N, outputs) or (N, L, outputs), float64.
    sample_id : ndarray of int64, shape (N,)
        The numbers of the samples, fixed for ever.
    lengths : ndarray of int64, shape (N,), optional
        Valid steps of each sample; None if all are.
    """

    inputs: Array
    labels: Array
    sample_id: IntArray
    lengths: IntArray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, part: slice | IntArray) -> "Split":
        """Return a part of the samples, or those at these places, (k,), in their order."""
        lengths = None if self.lengths is None else self.lengths[part]
        return Split(self.inputs[part], self.labels[part], self.sample_id[part], lengths)

    def first(self, limit: int | None) -> "Split":
        """Return the first `limit` samples (all if None)."""
        return self.rows(slice(limit))


@dataclass(frozen=True)
class Task:
    """A task: sequences with targets, in three fixed splits.

    Parameters
    ----------
    spec : str
        The name that makes the task again, as in ``digits:side=16``.
    classes : int
        Number of classes, or of the outputs that a network has for other targets.
    splits : dict of str to Split
        ``train``, ``validation`` and ``test``.
    image : tuple of int, optional
        Rows and columns, if a sequence is an image that is read row by row.
    rate : float, optional
        Samples per second.
    tokens : int, optional
        One more than the largest token, if inputs are tokens, which a model embeds.
    names : tuple of str
        Names of the classes, or of the outputs, empty if they have none.
    scaler : ndarray, optional
        Of forecasts, as `Values.samples` takes it.
    kind : Kind
        What the targets are; UsageError for values that are not finite, or constant.
    """

    spec: str
    classes: int
    splits: dict[str, Split]
    image: tuple[int, int] | None = None
    rate: float | None = None
    tokens: int | None = None
    names: tuple[str, ...] = ()
    scaler: FloatArray | None = None
    kind: Kind = CLASSES

    def __post_init__(self) -> None:
        labels = (self.splits[name].labels for name in SPLITS)
        self.kind.check_targets(self.spec, self.classes, *labels)

    def of_classes(self, who: str) -> None:
        """Raise UsageError unless the targets are classes."""
        if self.kind is not CLASSES:
            raise UsageError(f"{who}: {self.spec} has {self.kind.name}, expected a task of classes")

    def values(self, who: str) -> None:
        """Raise UsageError if inputs are tokens."""
        if self.tokens is not None:
            raise UsageError(f"{who}: {self.spec} has tokens, expected a task of values")

    def one_length(self, who: str) -> None:
        """Raise UsageError if samples end early."""
        if any(split.lengths is not None for split in self.splits.values()):
            raise UsageError(
                f"{who}: samples of {self.spec} have lengths of their own, expected one length"
            )

    @property
    def length(self) -> int:
        """Sequence length L, samples."""
        return int(self.splits["train"].inputs.shape[1])

    @property
    def channels(self) -> int:
        """Input channels; 1 if inputs are tokens."""
        if self.tokens is not None:
            return 1
        return int(self.splits["train"].inputs.shape[2])

    @property
    def chance(self) -> float:
        """Score of the best constant answer on the test split: accuracy, or mean squared error."""
        return self.kind.constant(self.splits["test"].labels)

    @cached_property
    def centre(self) -> FloatArray:
        """The mean target of the test split, (outputs,); that of classes says nothing."""
        labels = self.splits["test"].labels
        return labels.reshape(-1, labels.shape[-1] if labels.ndim > 1 else 1).mean(0)

    @cached_property
    def mean(self) -> FloatArray:
        """Mean of the valid steps of the training inputs, (channels,); 0 for tokens."""
        if self.tokens is not None:
            return np.zeros(1)
        return self._steps().mean(0, dtype=np.float64)

    @cached_property
    def std(self) -> FloatArray:
        """Standard deviation of the same steps, (channels,); 1 for tokens, 0 if constant."""
        if self.tokens is not None:
            return np.ones(1)
        steps = self._steps()
        # The mean of equal numbers may be off by an ulp, which is no deviation.
        return np.where((steps == steps[:1]).all(0), 0.0, steps.std(0, dtype=np.float64))

    def _steps(self) -> Array:
        """Return all valid steps of the training inputs, (steps, channels)."""
        split = self.splits["train"]
        if split.lengths is None:
            return split.inputs.reshape(-1, split.inputs.shape[2])
        return split.inputs[np.arange(self.length) < split.lengths[:, None]]

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the kind, and every split's name, shape, inputs, labels and sample ids."""
        digest = hashlib.sha256(self.kind.name.encode())
        for name in SPLITS:
            split = self.splits[name]
            digest.update(f"{name}{split.inputs.shape}".encode())
            for array in (split.inputs, split.labels, split.sample_id, split.lengths):
                if array is not None:
                    digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def spec_of(
    who: str, values: Mapping[str, object], maker: Callable[..., Task], always: str = ""
) -> str:
    """Return the name that makes a task again: the parameters that are not the maker's defaults.

    values: by parameter, in the order of the name, paths in full; always: one that is never left
    out.
    """
    parameters = inspect.signature(maker).parameters
    spec = who
    for key, value in values.items():
        if key == always or value != parameters[key].default:
            spec += f":{key}={value.resolve() if isinstance(value, Path) else value}"
    return spec
