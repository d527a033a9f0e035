"""What every SSM layer is: a causal linear map with a step size per channel."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from robustssm.layers.convolution import fft_convolution


class SSMLayer(nn.Module, ABC):
    """A linear state-space layer (batch, length, channels) -> (batch, length, channels).

    Subclasses write `step_size`, `impulse` and `recurrence`, and `mixing` where channels share
    states; parameters of the dynamics carry the attribute `ssm = True`, by which training gives
    them their own rate.
    Kernels are computed in complex128 whatever the dtype of the parameters. Outside training
    the kernel and its spectrum are built once per (length, dtype, device) and kept until a
    parameter changes.
    """

    def __init__(self, d: int, feedthrough: bool) -> None:
        super().__init__()
        self.d = d
        self.D = nn.Parameter(torch.randn(d)) if feedthrough else None
        self._operators: dict[tuple[object, ...], Callable[[Tensor], Tensor]] = {}

    def dynamics(self, parameter: Tensor, trainable: bool = True) -> nn.Parameter:
        """Return `parameter` as a float32 Parameter of the dynamics (own learning rate)."""
        result = nn.Parameter(parameter.float(), requires_grad=trainable)
        result.ssm = True  # type: ignore[attr-defined]
        return result

    @abstractmethod
    def step_size(self) -> Tensor:
        """Return dt per channel, shape (channels,), float64."""

    @abstractmethod
    def impulse(self, L: int) -> Tensor:
        """Return what the convolution needs for length L: one sequence a channel or state."""

    def mixing(self) -> tuple[Tensor, Tensor] | None:
        """Return B (k, channels) and C (channels, k), complex128, of y = 2 Re C (impulse * B u).

        None where each channel has a convolution of its own, y = impulse * u.
        """
        return None

    def convolve(self, u: Tensor, operator: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the output without D u, in the precision of u (batch, length, channels).

        operator: the convolution with `impulse`, of (batch, length, k).
        """
        mixing = self.mixing()
        if mixing is None:
            return operator(u)
        B, C = mixing
        x = operator(torch.complex(u @ B.real.T.to(u.dtype), u @ B.imag.T.to(u.dtype)))
        return 2.0 * (x.real @ C.real.T.to(u.dtype) - x.imag @ C.imag.T.to(u.dtype))

    @abstractmethod
    def recurrence(self, u: Tensor) -> Tensor:
        """Return the same output as `forward`, step by step through the state."""

    def feed_through(self, u: Tensor, y: Tensor) -> Tensor:
        """Return y + D u, or y where the layer has no D."""
        return y if self.D is None else y + self.D.to(u.dtype) * u

    def forward(self, u: Tensor) -> Tensor:
        """Return the causal convolution of u (batch, length, channels) with the layer.

        Under torch.autocast it computes in float32, whatever u arrives in: FFTs and the products
        around them have no half precision.
        """
        kind = u.device.type
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            with torch.autocast(kind, enabled=False):
                return self.forward(u if u.dtype == torch.float64 else u.float())
        return self.feed_through(u, self.convolve(u, self._operator(u)))

    def _built(self, L: int, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """Return the convolution of inputs of length L in the precision `dtype`."""
        return fft_convolution(self.impulse(L), dtype)

    def _operator(self, u: Tensor) -> Callable[[Tensor], Tensor]:
        L = u.shape[1]
        differentiable = torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters())
        if self.training or differentiable:
            return self._built(L, u.dtype)
        versions = tuple((p.data_ptr(), p._version) for p in self.parameters())
        key = (L, u.dtype, u.device, versions)
        if key not in self._operators:
            self._operators.clear()
            with torch.no_grad():
                convolve = self._built(L, u.dtype)
            # Elementwise functions round by memory layout: contiguous, a sample's bits do not
            # depend on its batch.
            self._operators[key] = lambda v: convolve(v).contiguous()
        return self._operators[key]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_operators": {}}
