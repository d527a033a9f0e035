"""Flax variables: nested tables whose leaves are arrays, named by the path joined with "/"."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from robustssm.file_formats.contents import ContentsError, Limits, shown
from robustssm.file_formats.storages import empty

DTYPES = {
    name: getattr(torch, name)
    for name in (
        *("float16", "bfloat16", "float32", "float64", "complex64", "complex128", "bool"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    )
}
# Collections of flax variables that a network is made of.
_COLLECTIONS = ("params", "batch_stats")
_NAME = 500


def array(shape: Sequence[object], dtype: str, data: bytes, limits: Limits) -> Tensor:
    """Return an array of little-endian bytes in C order, exactly as many as its shape needs."""
    kind = DTYPES.get(dtype)
    if kind is None:
        raise ContentsError(
            f"an array has dtype {shown(dtype)}, expected one of {', '.join(DTYPES)}"
        )
    sizes = [n for n in shape if type(n) is int and 0 <= n <= limits.elements]
    if len(sizes) != len(shape) or len(sizes) > 64:
        raise ContentsError(
            "an array has a shape that is negative or too large; the file is damaged"
        )
    numel = math.prod(sizes)
    if numel * kind.itemsize != len(data):
        raise ContentsError(
            f"an array of shape {sizes} and dtype {dtype} has {len(data)} bytes, expected "
            f"{numel * kind.itemsize}; the file is damaged"
        )
    if not numel:
        return empty(sizes, kind)
    if kind == torch.bool and data.translate(None, b"\0\1"):
        raise ContentsError("an array of truth values holds other bytes; the file is damaged")
    return torch.frombuffer(bytearray(data), dtype=kind).reshape(sizes)


class FlaxTree:
    """Reads a TrainState or a table of variables; opt_state is left out."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._left = limits, limits.values
        self._found: dict[str, Tensor] = {}

    def read(
        self, value: Mapping[object, object], leaf: Callable[[object], Tensor | None]
    ) -> tuple[dict[str, Tensor], dict[str, object]]:
        """Return params/... and batch_stats/..., and the other scalars at the top.

        leaf: returns the array that a node is, None where it is none.
        """
        if not isinstance(value.get("params"), dict):
            keys = ", ".join(shown(key) for key in list(value)[:6]) or "nothing"
            raise ContentsError(f"holds {keys}, expected params and, if any, batch_stats and step")
        for name in _COLLECTIONS:
            table = value.get(name)
            if isinstance(table, dict):
                self._take(table, name, leaf, 1)
            elif table is not None:
                raise ContentsError(f"{name} is {shown(table)}, expected a table")
        extra: dict[str, object] = {}
        for key, one in value.items():
            if not isinstance(key, str) or key in _COLLECTIONS or key == "opt_state":
                continue
            if isinstance(one, str | int | float | bool):
                extra[key] = one
                continue
            tensor = leaf(one)
            if tensor is not None and tensor.numel() == 1 and not tensor.is_complex():
                extra[key] = tensor.item()
        if not self._found:
            raise ContentsError("its params hold no array; fetch or save the file again")
        return self._found, extra

    def _take(
        self,
        table: Mapping[object, object],
        prefix: str,
        leaf: Callable[[object], Tensor | None],
        depth: int,
    ) -> None:
        if depth > self._limits.nesting:
            raise ContentsError(f"its tables are nested more than {self._limits.nesting} deep")
        for key, value in table.items():
            if not isinstance(key, str) or len(key) > _NAME or not key.isprintable() or not key:
                raise ContentsError(f"an array is named {shown(key)}, expected a printable name")
            name = f"{prefix}/{key}"
            tensor = leaf(value)
            if tensor is None and isinstance(value, dict):
                self._take(value, name, leaf, depth + 1)
            elif tensor is None:
                raise ContentsError(f"{shown(name)} is {shown(value)}, expected an array")
            else:
                self._add(name, tensor)

    def _add(self, name: str, tensor: Tensor) -> None:
        if name in self._found:
            raise ContentsError(f"two arrays are named {shown(name)}")
        if len(self._found) >= self._limits.tensors:
            raise ContentsError(f"holds more than {self._limits.tensors} arrays")
        self._found[name] = tensor
