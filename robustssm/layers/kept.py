"""What was computed of a module and holds until the module changes: the one owner of it all.

Kernels and spectra of a layer, and programs of a network, cost more than a batch that goes through
them. They belong to one input length and to the module as it was.
"""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

T = TypeVar("T")

# module -> purpose -> (key, tensors, settings) and what was computed.
_values: WeakKeyDictionary[nn.Module, dict[Hashable, tuple[Any, Any]]] = WeakKeyDictionary()


def kept(module: nn.Module, purpose: Hashable, key: Hashable, make: Callable[[], T]) -> T:
    """Return make(), or what it returned before for the same key and an unchanged module.

    One value per module and purpose is kept. A module is unchanged if every parameter and buffer
    is the same to the last bit, which versions that autograd counts do not tell (they miss what is
    written to `.data`), and so are all plain settings (texts and numbers) of its parts.
    """
    values = _values.setdefault(module, {})
    parts = list(module.modules())
    tensors = [t for part in parts for t in (*part._parameters.values(), *part._buffers.values())]
    settings = [
        (name, value)
        for part in parts
        for name, value in vars(part).items()
        if isinstance(value, str | int | float) and name != "training"
    ]
    if purpose in values:
        (old_key, old_tensors, old_settings), value = values[purpose]
        if (old_key, old_settings) == (key, settings) and all(map(_same, tensors, old_tensors)):
            result: T = value
            return result
    copies = [None if tensor is None else tensor.detach().clone() for tensor in tensors]
    made = make()
    values[purpose] = (key, copies, settings), made
    return made


def forget(module: nn.Module) -> None:
    """Drop what is kept of a module and its parts."""
    for part in module.modules():
        _values.pop(part, None)


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
