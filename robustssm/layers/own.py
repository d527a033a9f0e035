"""Layers of somebody else's module, read as linear systems by two methods that they may have.

``state_space()`` returns (A, B, C, D, dt), tensors or arrays, of

    x'(t) = A x(t) + B u_t,  y_t = Re(C x_t) + D u_t,  each u_t held for dt before t:

one system of all d channels, B (n, d), C (d, n), A (n,) or (n, n); or one per channel, B (d, n, 1),
C (d, 1, n), A (d, n) or (d, n, n). A vector is the diagonal. D is None for 0, a number, (d,), or
(d, d) of one system; dt a number, (d,) for systems per channel, or of the diagonal's shape for a
step per state; None if x_t = A x_{t-1} + B u_t is the system as it is. ``step_size()`` returns dt
of each channel, (d,). docs/own-modules.md has the whole contract.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from robustssm.errors import RejectedInputError, UsageError
from robustssm.layers.base import SSMLayer
from robustssm.layers.diagonal import GeneralDiagonal
from robustssm.layers.full import FullMatrix
from robustssm.layers.mimo import GeneralMIMO
from robustssm.layers.parameters import real_pair
from robustssm.layers.systems import LinearSystem
from robustssm.typing import Array, FloatArray

# A discrete pole that forgets at once, whose logarithm is finite.
_FORGETS = 1e-130
_EXPECTED = (
    "B (n, d), C (d, n), A (n,) or (n, n) of one system, or B (d, n, 1), C (d, 1, n), A (d, n) or "
    "(d, n, n) of one per channel; D None, a number, (d,) or (d, d); dt a number, one per channel "
    "or per state of a diagonal A, or None"
)


def _of_linear(name: str) -> Any:
    return lambda self, *arguments: getattr(self.linear, name)(*arguments)


@runtime_checkable
class StateSpace(Protocol):
    """A layer that says what linear system it is."""

    def state_space(self) -> tuple[Any, Any, Any, Any, Any]:
        """Return (A, B, C, D, dt)."""


@runtime_checkable
class Steps(Protocol):
    """A layer that says its step sizes."""

    def step_size(self) -> Any:
        """Return dt of each channel, (d,)."""


class OwnLayer(SSMLayer):
    """A part of somebody else's module that is a `StateSpace`, or has `Steps` alone.

    What it is asked about its system `linear` answers.
    """

    order = property(lambda self: self.linear.order)
    impulse, mixing, recurrence, spectrum, system = map(
        _of_linear, ("impulse", "mixing", "recurrence", "spectrum", "system")
    )

    def __init__(self, part: nn.Module) -> None:
        nn.Module.__init__(self)
        self.part, self.l_max, self.bidirectional = part, None, False
        self.readable, self.layout = isinstance(part, StateSpace), getattr(part, "layout", "blh")

    @property
    def kind(self) -> str:
        """The name of its class."""
        return type(self.part).__name__

    @property
    def hooked(self) -> nn.Module:
        """The module whose input is the layer's."""
        return self.part

    @property
    def d(self) -> int:  # type: ignore[override]
        """Channels."""
        return self.linear.d if self.readable else self.step_size().numel()

    @property
    def linear(self) -> SSMLayer:
        """The system that `state_space` returns; UsageError if there is no such method."""
        if not isinstance(self.part, StateSpace):
            raise UsageError(
                f"layer {self.kind}: says its step sizes alone, so that its poles are not known; "
                "give it a method state_space() that returns (A, B, C, D, dt)"
            )
        returned = self._asked("state_space()", self.part.state_space)
        return _linear(f"layer {self.kind}: its state_space()", returned)

    def _asked(self, what: str, method: Callable[..., Any], *given: Tensor) -> Any:
        try:
            return method(*given)
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise RejectedInputError(f"layer {self.kind}: its {what} raised {said}") from error

    def step_size(self) -> Tensor:
        """Return dt per channel: what the layer itself says first."""
        if not isinstance(self.part, Steps):
            return self.linear.step_size()
        steps = self._asked("step_size()", self.part.step_size)
        return steps if isinstance(steps, Tensor) else torch.as_tensor(steps, dtype=torch.float64)

    def forward(self, u: Tensor) -> Tensor:
        """Return what a copy of the layer makes of u (batch, length, d), in its own precision."""
        part = copy.deepcopy(self.part).eval()
        kinds = [p.dtype for p in part.parameters() if p.is_floating_point()]
        x = u.to(kinds[0] if kinds else torch.float32)
        y = self._asked("forward", part, x.transpose(1, 2) if self.layout == "bhl" else x)
        y = y[0] if isinstance(y, tuple) else y
        y = y.transpose(1, 2) if isinstance(y, Tensor) and self.layout == "bhl" else y
        if not isinstance(y, Tensor) or y.shape != u.shape:
            got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise UsageError(f"layer {self.kind}: returned {got} for an input {tuple(u.shape)}")
        return y.to(u.dtype)


def _linear(who: str, returned: Any) -> SSMLayer:
    """Return the system of what a `state_space` returned as a layer; RejectedInputError."""
    try:
        A, B, C, D, dt = (None if value is None else _array(value) for value in returned)
        if A is None or B is None or C is None:
            raise TypeError
    except (TypeError, ValueError):
        raise RejectedInputError(
            f"{who} returned no (A, B, C, D, dt), expected {_EXPECTED}"
        ) from None
    D = np.zeros(()) if D is None else D
    sizes = ", ".join(str(None if v is None else v.shape) for v in (A, B, C, D, dt))
    shared = B.ndim == 2
    if shared:
        A, B, C = A[None], B[None], C[None]
    c, n, q = B.shape if B.ndim == 3 else (0, 0, 0)
    d, diagonal = c * q, A.ndim == 2
    of_dt = {(): (1, 1), (1,): (1, 1)} | ({} if shared else {(d,): (c, 1)})
    of_dt |= {A.shape[shared:]: A.shape} if diagonal else {}
    fits = A.shape in ((c, n), (c, n, n)) and C.shape == (c, q, n) and (shared or q == 1)
    fits = fits and D.shape in {(), (1,), (d,), (d, d) if shared else ()}
    if not (fits and d * n and (dt is None or dt.shape in of_dt)):
        raise RejectedInputError(f"{who} returned shapes {sizes}, expected {_EXPECTED}")
    if not all(np.isfinite(v).all() for v in (A, B, C, D, dt) if v is not None):
        raise RejectedInputError(f"{who} returned NaN or infinite numbers")
    if dt is not None and (np.iscomplexobj(dt) or dt.min() <= 0.0):
        raise RejectedInputError(f"{who} returned a dt that is not real and above 0")
    D = D.real if D.ndim == 2 else np.broadcast_to(D.real, (d,))
    D = D if D.ndim == 2 else np.diag(D) if shared else D[:, None, None]
    step = None if dt is None else dt.reshape(of_dt[dt.shape])
    if not diagonal:
        of_system = None if step is None else np.broadcast_to(step[:, 0], (c,)).copy()
        return FullMatrix(A, B, C, D.reshape(c, q, q), of_system)
    if step is None:  # what zero-order hold of step 1 makes these of
        a = np.where(A == 0.0, _FORGETS, A) + 0j
        A, step = np.log(a), np.ones((1, 1))
        B = B * np.where(a == 1.0, 1.0, A / np.where(a == 1.0, 1.0, a - 1.0))[..., None]
    return _diagonal(A, B, C, D, np.broadcast_to(step, (c, n)), shared)


def _diagonal(
    A: Array, B: Array, C: Array, D: FloatArray, step: FloatArray, shared: bool
) -> SSMLayer:
    """Return A (c, n), B (c, n, q), C (c, q, n), D, step (c, n); of conjugate pairs one is kept."""
    n = A.shape[1]
    for first, second in ((slice(n // 2), slice(n // 2, n)), (slice(0, n, 2), slice(1, n, 2))):
        halves = [(v[:, first], v[:, second]) for v in (A, B, step)]
        if n % 2 == 0 and all(np.array_equal(a, b.conj()) for a, b in halves) and A.imag.any():
            A, B, step = (half for half, _ in halves)
            C = C[..., first] + C[..., second].conj()
            break
    n, real = A.shape[1], not A.imag.any()
    layer: SSMLayer
    if shared:
        layer = _FullD(B.shape[2], n=n, factor=1 if real else 2)
        layer.through = torch.from_numpy(D.copy())
        stored = (A[0], B[0], C[0] if real else 0.5 * C[0])
        values = {"dt": step[0], "D": np.zeros((1, layer.d))}
    else:
        layer = GeneralDiagonal(len(A), n=n, factor=1, steps="state")
        stored = (A, B[..., 0], C[:, 0][None])
        values = {"dt": step, "D": D[:, 0, 0][None]}
    tensors = {key: torch.from_numpy(np.ascontiguousarray(v)) for key, v in values.items()}
    for key, v in zip("ABC", stored, strict=True):
        tensors[key] = real_pair(torch.from_numpy(np.asarray(v, dtype=np.complex128)))
    layer.load_state_dict(tensors)
    return layer.requires_grad_(False)


class _FullD(GeneralMIMO):
    """One diagonal system whose D is a matrix, (d, d)."""

    through: Tensor

    def feed_through(self, u: Tensor, y: Tensor) -> Tensor:
        """Return y + D u."""
        return y + u @ self.through.T.to(u.dtype)

    def system(self, L: int) -> LinearSystem:
        """Return the one system."""
        return replace(super().system(L), D=self.through.numpy()[None])


def _array(value: Any) -> Array:
    """Return numbers as float64, or complex128 if one is not real."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().to(torch.complex128).resolve_conj().numpy()
    numbers = np.asarray(value).astype(np.complex128)
    return numbers if numbers.imag.any() else numbers.real
