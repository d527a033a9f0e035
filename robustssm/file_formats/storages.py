"""Tensors as a torch pickle describes them: views of storages, checked before they are made."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustssm.file_formats.contents import ContentsError, Limits, require

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


def counts(*values: object) -> bool:
    """Return whether values are counts: integers from 0 on that fit 63 bits."""
    return all(type(value) is int and 0 <= value < 1 << 63 for value in values)


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
    whole = not view or view[0] is None
    require(whole, "its storages are views of each other; load and save it with a newer torch")
    return StorageView(key, dtype, numel)


def tensor_view(
    limits: Limits,
    storage: object,
    offset: object,
    size: object,
    stride: object,
    requires_grad: object,
    hooks: object,
    metadata: object = None,
) -> TensorView:
    """Return the view of torch._utils._rebuild_tensor_v2's arguments, inside its storage."""
    if not isinstance(storage, StorageView) or not isinstance(size, tuple):
        raise ContentsError("its pickle makes a tensor of no storage or no shape; save it again")
    if not isinstance(stride, tuple) or len(stride) != len(size) or len(size) > _DIMENSIONS:
        raise ContentsError("its pickle makes a tensor whose shape and strides differ in length")
    if not isinstance(offset, int) or not counts(offset, *size, *stride):
        raise ContentsError(
            "its pickle makes a tensor of negative offset, shape or stride; save it again"
        )
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict) or not set(metadata) <= {"conj", "neg"}:
        raise ContentsError("its pickle makes a tensor with metadata other than conj and neg")
    fits = max(*size, math.prod(size)) <= limits.elements if size else True
    require(fits, f"a tensor has shape {list(size)}, allowed are {limits.elements} entries")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    require(
        not math.prod(size) or last < storage.numel,
        f"a tensor of shape {list(size)}, strides {list(stride)}, offset {offset} does not "
        f"fit its storage of {storage.numel} entries; the file is damaged",
    )
    conj, neg = (bool(metadata.get(key)) for key in ("conj", "neg"))
    fits = not conj or storage.dtype.is_complex
    require(fits, "a real tensor is marked as conjugated; the file is damaged")
    return TensorView(storage, offset, size, stride, conj, neg)


def tensor_of(data: bytearray, dtype: torch.dtype, size: Sequence[int]) -> Tensor:
    """Return the tensor of these bytes, which it shares; there are as many as its size needs.

    Raises ContentsError for truth values that are neither 0 nor 1, and for sizes of no entries
    whose strides overflow.
    """
    if dtype == torch.bool and data.translate(None, b"\0\1"):
        raise ContentsError("a tensor of truth values holds other bytes; the file is damaged")
    try:
        if not data:
            return torch.empty(size, dtype=dtype)
        return torch.frombuffer(data, dtype=dtype).reshape(size)
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
        """Return the tensor, contiguous; raises ContentsError if the file does not back it."""
        storage = view.storage
        if not view.numel:
            return tensor_of(bytearray(), storage.dtype, view.size)
        self._left -= view.numel * storage.dtype.itemsize
        problem = "its tensors are views that would take far more memory than the file has bytes"
        require(self._left >= 0, f"{problem}; save contiguous copies")
        if storage.key not in self._storages:
            data = self._read(storage)
            self._storages[storage.key] = tensor_of(data, storage.dtype, [storage.numel])
        # Strides along dimensions of one entry say nothing, and may be of any size.
        stride = [step if n > 1 else 1 for n, step in zip(view.size, view.stride, strict=True)]
        tensor = self._storages[storage.key].as_strided(view.size, stride, view.offset)
        try:
            tensor = tensor.clone(memory_format=torch.contiguous_format)
        except RuntimeError as error:  # torch's word for it
            raise MemoryError from error
        if view.neg:
            tensor = -tensor
        return tensor.conj().resolve_conj() if view.conj else tensor
