"""A second device without a GPU: tensors that are there for torch, and whose numbers are here.

Inside `second_device()` the device SECOND can be named wherever torch takes a device. What a GPU
refuses is refused: arithmetic between devices, `.numpy()`, an index that is there for a tensor that
is here, a generator of another device, and operations without a repeatable form on a GPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

# A kind of device that this torch has no kernels for, and whose gradients it takes on the CPU.
SECOND = torch.device("lazy", 0)
_aten = torch.ops.aten
_COPIES = {_aten.copy_.default, _aten._to_copy.default}
# Their indices may be on the CPU.
_INDEXING = {_aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default}
_INDEXING |= {_aten._index_put_impl_.default, _aten._unsafe_index_put.default}
# What raises on a GPU under `torch.use_deterministic_algorithms`; sums of integers do not.
_UNREPEATABLE = {
    _aten.kthvalue.default,
    _aten.median.dim,
    _aten.nanmedian.dim,
    _aten.put_.default,
    _aten.histc.default,
    _aten.cumsum.default,
    _aten.cumsum_.default,
}
# Torch marks these in a flag of the tensor, which the numbers here do not share.
_WRITTEN_OUT = {_aten._conj.default: torch.conj_physical, _aten._neg_view.default: torch.neg}


class Elsewhere(Tensor):
    """A tensor on SECOND; `here` holds its numbers."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> "Elsewhere":
        made: Elsewhere = Tensor._make_wrapper_subclass(
            cls,
            here.size(),
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=SECOND,
        )
        made.here = here
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Elsewhere({self.here!r})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})


class _Dispatched(TorchDispatchMode):
    """Sees what makes tensors, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Called(TorchFunctionMode):
    """Does what torch does without dispatch: tensors of lists, and lists of tensors."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.tolist and isinstance(args[0], Elsewhere):
            return args[0].here.tolist()
        if func is Tensor.__float__ and isinstance(args[0], Elsewhere):
            return float(args[0].here)
        if func in (torch.tensor, torch.as_tensor) and "device" in kwargs:
            return func(*args, **kwargs | {"device": None}).to(kwargs["device"])
        return func(*args, **kwargs)


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    there = [value for value in tensors if isinstance(value, Elsewhere)]
    device, generator = kwargs.get("device"), kwargs.get("generator")
    asked = None if device is None else torch.device(device).type
    where = asked or (SECOND.type if there else "cpu")
    if generator is not None and generator.device.type != where:
        raise RuntimeError(f"{func}: a generator on {generator.device} for tensors on {where}")
    if there and func not in _COPIES:
        # Numbers without a shape may be on the CPU.
        here = [v for v in tensors if not isinstance(v, Elsewhere) and v.dim()]
        if func in _INDEXING and isinstance(args[0], Elsewhere):
            here = [v for v in here if v.dtype not in (torch.int64, torch.bool)]
        if here:
            raise RuntimeError(f"{func}: a tensor on the CPU among those on {SECOND}")
        if func in _UNREPEATABLE and there[0].dtype.is_floating_point:
            raise RuntimeError(f"{func}: has no repeatable form on a GPU")

    def bare(value: Any) -> Any:
        return value.here if isinstance(value, Elsewhere) else value

    keywords = tree_map(bare, kwargs)
    if asked == SECOND.type:
        keywords["device"] = torch.device("cpu")
    result = _WRITTEN_OUT.get(func, func)(*tree_map(bare, args), **keywords)
    if where != SECOND.type:
        return result
    # What wrote to its arguments returns them.
    held = {id(value.here): value for value in there}

    def sent(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return held[id(value)] if id(value) in held else Elsewhere(value)

    return tree_map(sent, result)


@contextmanager
def second_device() -> Iterator[torch.device]:
    """Let torch have the device SECOND in the body."""
    # Checkpoints of gradients look for a device's module.
    with patch.object(torch, SECOND.type, torch.cpu, create=True), _Called(), _Dispatched():
        yield SECOND
