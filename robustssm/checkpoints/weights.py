"""The tensors of a checkpoint, each taken exactly once, its shape checked."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from robustssm.errors import RejectedInputError

# Names of left-over tensors that a message shows.
_SHOWN = 5


class Weights:
    """Tensors under a prefix; every scope of one file shares the record of what was taken.

    path: the file, for messages. Each tensor is checked when it is taken: there, of the expected
    shape, finite. `finish` says that none is left over.
    """

    def __init__(self, tensors: Mapping[str, Tensor], path: object, prefix: str = "") -> None:
        self._tensors, self._path, self.prefix = tensors, path, prefix
        self._left: set[str] = set(tensors)

    def scope(self, prefix: str) -> "Weights":
        """Return the tensors whose names go on with `prefix`."""
        inner = Weights(self._tensors, self._path, self.prefix + prefix)
        inner._left = self._left
        return inner

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self._tensors

    def names(self) -> list[str]:
        """Return the names under the prefix, without it."""
        cut = len(self.prefix)
        return [name[cut:] for name in self._tensors if name.startswith(self.prefix)]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape; RejectedInputError if it is missing."""
        return tuple(self._tensor(name).shape)

    def size(self, name: str, axis: int = 0) -> int:
        """Return a tensor's length along an axis, 0 if it has no such axis."""
        shape = self.shape(name)
        return shape[axis] if -len(shape) <= axis < len(shape) else 0

    def take(self, name: str, *shapes: Iterable[int], imaginary: bool = False) -> Tensor:
        """Return a tensor in double precision, in the first of the shapes.

        shapes: those that are allowed, of equal size; none for any; imaginary: whether its dtype
        is a complex one. Raises RejectedInputError if the tensor is missing, of another shape
        or kind, or not finite.
        """
        tensor = self._tensor(name)
        allowed = [tuple(shape) for shape in shapes]
        if allowed and tuple(tensor.shape) not in allowed:
            expected = " or ".join(str(list(shape)) for shape in allowed)
            raise self.rejected(
                f"{self.prefix}{name} has shape {list(tensor.shape)}, expected {expected}"
            )
        if tensor.numel() == 0:
            raise self.rejected(f"{self.prefix}{name} is empty, of shape {list(tensor.shape)}")
        if tensor.is_complex() != imaginary:
            kind = str(tensor.dtype).removeprefix("torch.")
            expected = "complex" if imaginary else "real"
            raise self.rejected(f"{self.prefix}{name} is {kind}, expected {expected} numbers")
        value = tensor.detach().cpu()
        value = value.to(torch.complex128 if value.is_complex() else torch.float64)
        if not bool(torch.isfinite(value).all()):
            raise self.rejected(
                f"{self.prefix}{name} holds NaN or infinite numbers, expected finite ones; take a "
                "checkpoint from before training diverged"
            )
        self._left.discard(self.prefix + name)
        return (value.reshape(allowed[0]) if allowed else value).contiguous()

    def ignore(self, dead: Callable[[str], bool]) -> list[str]:
        """Leave out the tensors under the prefix for which `dead(name)` holds; return them."""
        names = [name for name in self.names() if dead(name)]
        self._left.difference_update(self.prefix + name for name in names)
        return names

    def finish(self) -> None:
        """Raise RejectedInputError if a tensor was not taken."""
        left = [name for name in self._tensors if name in self._left]
        if left:
            more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
            shapes = ", ".join(
                f"{name} {list(self._tensors[name].shape)}" for name in left[:_SHOWN]
            )
            raise self.rejected(
                f"unexpected {shapes}{more}; expected no such tensor in this architecture"
            )

    def rejected(self, what: str) -> RejectedInputError:
        """Return the error of this file that says `what`."""
        return RejectedInputError(f"checkpoint {self._path}: {what}")

    def _tensor(self, name: str) -> Tensor:
        full = self.prefix + name
        if full not in self._tensors:
            raise self.rejected(f"{full} is missing, expected it in this architecture")
        return self._tensors[full]
