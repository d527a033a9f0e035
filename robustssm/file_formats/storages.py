"""Tensors as a torch pickle describes them: views of storages, checked before they are made."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustssm.file_formats.contents import ContentsError, Limits

STORAGE_TYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}
_DIMENSIONS = 64


@dataclass(frozen=True, eq=False)
class StorageView:
    """A storage that a pickle names: `numel` entries of one dtype under a key."""

    key: str
    dtype: torch.dtype
    numel: int

    @property
    def nbytes(self) -> int:
        """Bytes that the file must hold for it."""
        return self.numel * self.dtype.itemsize


@dataclass(frozen=True, eq=False)
class TensorView:
    """A tensor that a pickle describes: offset, size and stride in entries of its storage."""

    storage: StorageView
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    conj: bool = False
    neg: bool = False

    @property
    def numel(self) -> int:
        """Entries of the tensor."""
        return math.prod(self.size)


def counts(value: object) -> bool:
    """Return whether `value` is a count: an int from 0 on that fits 63 bits."""
    return type(value) is int and 0 <= value < 1 << 63


def storage_view(identity: object) -> StorageView:
    """Return the storage that a persistent id names: ('storage', type, key, location, numel)."""
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
        raise ContentsError("its pickle refers to something else than a storage; save it again")
    _, kind, key, _, numel, *view = identity
    dtype = getattr(kind, "dtype", None)  # of a Global
    if not isinstance(dtype, torch.dtype) or not isinstance(key, str) or not counts(numel):
        raise ContentsError(
            "its pickle refers to a storage of no known type or size; save it again"
        )
    if view and view[0] is not None:
        raise ContentsError(
            "its storages are views of each other; load and save it with a newer torch"
        )
    return StorageView(key, dtype, numel)


def tensor_view(limits: Limits, arguments: tuple[object, ...]) -> TensorView:
    """Return the view of torch._utils._rebuild_tensor_v2's arguments, inside its storage.

    Source: torch/_utils.py: storage, offset, size, stride, requires_grad, hooks[, metadata].
    """
    if len(arguments) not in (6, 7):
        raise ContentsError(
            f"its pickle makes a tensor of {len(arguments)} arguments, expected 6 or 7"
        )
    storage, offset, size, stride, _, _, *rest = arguments
    if not isinstance(storage, StorageView) or not isinstance(size, tuple):
        raise ContentsError("its pickle makes a tensor of no storage or no shape; save it again")
    if not isinstance(stride, tuple) or len(stride) != len(size) or len(size) > _DIMENSIONS:
        raise ContentsError("its pickle makes a tensor whose shape and strides differ in length")
    if (
        not isinstance(offset, int)
        or not counts(offset)
        or not all(map(counts, size))
        or not all(map(counts, stride))
    ):
        raise ContentsError(
            "its pickle makes a tensor of negative offset, shape or stride; save it again"
        )
    metadata = rest[0] if rest else {}
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict) or not set(metadata) <= {"conj", "neg"}:
        raise ContentsError("its pickle makes a tensor with metadata other than conj and neg")
    if any(n > limits.elements for n in size) or math.prod(size) > limits.elements:
        raise ContentsError(
            f"a tensor has shape {list(size)}, allowed are {limits.elements} entries"
        )
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if math.prod(size) and last >= storage.numel:
        raise ContentsError(
            f"a tensor of shape {list(size)}, strides {list(stride)}, offset {offset} does not "
            f"fit its storage of {storage.numel} entries; the file is damaged"
        )
    conj, neg = (bool(metadata.get(key)) for key in ("conj", "neg"))
    if conj and not storage.dtype.is_complex:
        raise ContentsError("a real tensor is marked as conjugated; the file is damaged")
    return TensorView(storage, offset, size, stride, conj, neg)


def empty(size: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return a tensor without entries; raises ContentsError for sizes whose strides overflow."""
    try:
        return torch.empty(size, dtype=dtype)
    except RuntimeError as error:
        raise ContentsError(f"a tensor has shape {list(size)}; the file is damaged") from error


class Materialiser:
    """Makes tensors of views, each storage read once; copies stay within the limits.

    read: returns a storage's bytes, which it has checked to be `nbytes` of them;
    file_bytes: the size of the file.
    """

    def __init__(
        self, read: Callable[[StorageView], bytearray], file_bytes: int, limits: Limits
    ) -> None:
        self._read, self._left = read, limits.tensor_bytes(file_bytes)
        self._storages: dict[str, Tensor] = {}

    def __call__(self, view: TensorView) -> Tensor:
        """Return the tensor, contiguous; raises ContentsError where the file does not back it."""
        if not view.numel:
            return empty(view.size, view.storage.dtype)
        self._left -= view.numel * view.storage.dtype.itemsize
        if self._left < 0:
            raise ContentsError(
                "its tensors are views that would take far more memory than the file has bytes; "
                "save contiguous copies"
            )
        storage = self._storage(view.storage)
        # Strides along dimensions of one entry say nothing, and may be of any size.
        stride = [step if n > 1 else 1 for n, step in zip(view.size, view.stride, strict=True)]
        tensor = storage.as_strided(view.size, stride, view.offset)
        try:
            tensor = tensor.clone(memory_format=torch.contiguous_format)
        except RuntimeError as error:  # torch's word for it
            raise MemoryError from error
        if view.neg:
            tensor = -tensor
        return tensor.conj().resolve_conj() if view.conj else tensor

    def _storage(self, storage: StorageView) -> Tensor:
        if storage.key not in self._storages:
            data = self._read(storage)
            if storage.dtype == torch.bool and bytes(data).translate(None, b"\0\1"):
                raise ContentsError(
                    "a tensor of truth values holds other bytes; the file is damaged"
                )
            self._storages[storage.key] = torch.frombuffer(data, dtype=storage.dtype)
        return self._storages[storage.key]
