"""Flax variables: nested tables whose leaves are arrays, named by the path joined with "/"."""

import math
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from robustssm.errors import UsageError
from robustssm.file_formats.contents import ContentsError, Limits, require, shown
from robustssm.file_formats.flat_names import Flat
from robustssm.file_formats.storages import tensor_of

DTYPES = {
    name: getattr(torch, name)
    for name in (
        *("float16", "bfloat16", "float32", "float64", "complex64", "complex128", "bool"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    )
}
# Collections of flax variables that a network is made of.
_COLLECTIONS = ("params", "batch_stats")


def needed(module: str, what: str) -> Any:
    """Return a module that reading a kind of checkpoint takes; UsageError if not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(
            f"reading {what} checkpoint needs {module}, which is not installed; "
            "pip install 'robustssm[jax-ckpt]'"
        ) from error


def array(shape: Sequence[object], dtype: str, data: bytes, limits: Limits) -> Tensor:
    """Return an array of little-endian bytes in C order, exactly as many as its shape needs."""
    kind = DTYPES.get(dtype)
    if kind is None:
        raise ContentsError(
            f"an array has dtype {shown(dtype)}, expected one of {', '.join(DTYPES)}"
        )
    sizes = [n for n in shape if type(n) is int and 0 <= n <= limits.elements]
    fits = len(sizes) == len(shape) <= 64
    require(fits, "an array has a shape that is negative or too large; the file is damaged")
    expected = math.prod(sizes) * kind.itemsize
    require(
        len(data) == expected,
        f"an array of shape {sizes} and dtype {dtype} has {len(data)} bytes, expected {expected}; "
        "the file is damaged",
    )
    return tensor_of(bytearray(data), kind, sizes)


def variables(
    value: Mapping[object, object], leaf: Callable[[object], Tensor | None], limits: Limits
) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Return params/... and batch_stats/... of a TrainState, and the other scalars at its top.

    leaf: returns the array that a node is, None if it is none. opt_state is left out.
    """
    keys = ", ".join(shown(key) for key in list(value)[:6]) or "nothing"
    problem = f"holds {keys}, expected params and, if any, batch_stats and step"
    require(isinstance(value.get("params"), dict), problem)
    flat = Flat("/", leaf, limits, "expected an array")
    for name in _COLLECTIONS:
        table = value.get(name)
        if isinstance(table, dict):
            flat.take(table, f"{name}/", 1)
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
    require(bool(flat.tensors), "its params hold no array; fetch or save the file again")
    return flat.tensors, extra
