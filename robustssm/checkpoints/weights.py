"""The tensors of a checkpoint, each taken exactly once, its shape checked."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from robustssm.checkpoints.overrides import own_code
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
        tensor, full = self._tensor(name), self.prefix + name
        shape, allowed = list(tensor.shape), [list(shape) for shape in shapes]
        expected = " or ".join(map(str, allowed))
        fits = not allowed or shape in allowed
        self._fits(fits, f"{full} has shape {shape}, expected {expected}")
        self.require(tensor.numel() > 0, f"{full} is empty, of shape {shape}")
        kind, numbers = str(tensor.dtype).removeprefix("torch."), "complex" if imaginary else "real"
        fits = tensor.is_complex() == imaginary
        self._fits(fits, f"{full} is {kind}, expected {numbers} numbers")
        value = tensor.detach().cpu().to(torch.complex128 if imaginary else torch.float64)
        self.require(
            bool(torch.isfinite(value).all()),
            f"{full} holds NaN or infinite numbers, expected finite ones; take a checkpoint from "
            "before training diverged",
        )
        self._left.discard(full)
        return (value.reshape(allowed[0]) if allowed else value).contiguous()

    def complex(self, name: str, *shape: int) -> Tensor:
        """Return a complex tensor of this shape that is stored as (..., 2) real numbers."""
        return torch.view_as_complex(self.take(name, (*shape, 2)))

    def affine(self, name: str, here: str, *shape: int, bare: bool = False) -> dict[str, Tensor]:
        """Return the weight, of this shape, and the bias of a map or norm, by their names here.

        bare: it may have no bias.
        """
        tensors = {f"{here}.weight": self.take(f"{name}.weight", shape)}
        if not bare or f"{name}.bias" in self:
            tensors[f"{here}.bias"] = self.take(f"{name}.bias", shape[:1])
        return tensors

    def ignore(self, dead: Callable[[str], bool]) -> None:
        """Leave out the tensors under the prefix for which `dead(name)` holds."""
        self._left.difference_update(self.prefix + name for name in self.names() if dead(name))

    def finish(self) -> None:
        """Raise RejectedInputError if a tensor was not taken."""
        left = [f"{n} {list(t.shape)}" for n, t in self._tensors.items() if n in self._left]
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        names = ", ".join(left[:_SHOWN]) + more
        problem = f"unexpected {names}; expected no such tensor in this architecture"
        self._fits(not left, problem)

    def require(self, holds: bool, problem: str) -> None:
        """Raise RejectedInputError of this file, which says `problem`, unless a condition holds."""
        if not holds:
            raise self.rejected(problem)

    def rejected(self, problem: str) -> RejectedInputError:
        """Return the error of this file, which says `problem`."""
        return RejectedInputError(f"checkpoint {self._path}: {problem}")

    def _tensor(self, name: str) -> Tensor:
        full = self.prefix + name
        problem = f"{full} is missing, expected it in this architecture"
        self._fits(full in self._tensors, problem)
        return self._tensors[full]

    def _fits(self, holds: bool, problem: str) -> None:
        """Raise RejectedInputError, with the way out for another network, unless it holds."""
        self.require(holds, f"{problem}; if the network is another one, {own_code(self._path)}")
