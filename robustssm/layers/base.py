"""What every SSM layer is: a linear map in time with a step size per channel."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from robustssm.errors import UsageError, require
from robustssm.layers.convolution import convolved
from robustssm.layers.kept import kept
from robustssm.layers.storing import Storing
from robustssm.layers.systems import LinearSystem, Spectrum
from robustssm.typing import FloatArray


def complex128(pair: Tensor) -> Tensor:
    """Return a parameter stored as (..., 2) real numbers as complex128 (...)."""
    return torch.view_as_complex(pair.double().contiguous())


def array(value: Tensor) -> FloatArray:
    """Return a real tensor as a float64 array."""
    result: FloatArray = value.detach().double().cpu().numpy()
    return result


class SSMLayer(Storing, nn.Module, ABC):
    """A linear state-space layer (batch, length, d) -> (batch, length, channels d).

    Output channel c of feature h is column c d + h. Subclasses write what is abstract here;
    parameters of the dynamics carry the attribute ``ssm = True``, by which training gives them
    their own rate. Kernels are computed in complex128 whatever the dtype of the parameters.
    Outside training the kernel and its spectrum are built once per (length, dtype, device) and
    kept until the layer changes.

    A layer of another code base holds A, B, C and dt as they act, in float64, not what its
    original trained them through: an importer applies the original's transforms once. `Trained`
    layers hold other parameters and compute these.

    Parameters
    ----------
    d : int
        Input channels, here called features.
    feedthrough : bool
        Whether the layer has a D, drawn from the standard normal distribution.
    channels : int
        Outputs per feature.
    bidirectional : bool
        Whether the layer also runs backwards in time; then it is not causal.
    l_max : int, optional
        Samples of the kernel that are used; None for all.
    """

    # The rules of discretisation that the layer can follow, the default first.
    rules: tuple[str, ...] = ("zoh", "bilinear")
    discretization: str
    # The axes of its input: (batch, length, channels), or `bhl`.
    layout: str = "blh"
    # Whether its poles are known.
    readable: bool = True
    # Steps by which a direction that runs backwards is ahead of the present one: 0, u_t enters it.
    lag: int = 0
    dt: Tensor
    A: Tensor
    B: Tensor
    C: Tensor

    def __init__(
        self,
        d: int,
        *,
        feedthrough: bool = False,
        channels: int = 1,
        bidirectional: bool = False,
        l_max: int | None = None,
    ) -> None:
        super().__init__()
        self.d, self.channels, self.bidirectional, self.l_max = d, channels, bidirectional, l_max
        self.d_out = channels * d
        self.D = nn.Parameter(torch.randn(d)) if feedthrough else None

    @property
    def kind(self) -> str:
        """The name of its class."""
        return type(self).__name__

    @property
    def hooked(self) -> nn.Module:
        """The module whose input is the layer's: itself, unless it stands for another."""
        return self

    def _hold(self, **shapes: tuple[int, ...]) -> None:
        """Make float64 parameters of the dynamics by their shapes, zero until they are loaded."""
        for key, shape in shapes.items():
            parameter = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
            parameter.ssm = True  # type: ignore[attr-defined]
            setattr(self, key, parameter)

    @property
    @abstractmethod
    def order(self) -> int:
        """Order of each system, every conjugate pole counted."""

    @abstractmethod
    def step_size(self) -> Tensor:
        """Return dt per feature, shape (d,), float64."""

    @abstractmethod
    def impulse(self, L: int) -> Tensor:
        """Return what the convolution needs for length L: one sequence per channel or state."""

    @abstractmethod
    def recurrence(self, u: Tensor) -> Tensor:
        """Return the same output as `forward`, step by step through the state."""

    @abstractmethod
    def spectrum(self) -> Spectrum:
        """Return the poles of the layer."""

    @abstractmethod
    def system(self, L: int) -> LinearSystem:
        """Return a causal, stable layer as a linear system, else UsageError; L matters to DSS."""

    def _built(self, L: int, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """Return the convolution of inputs of length L in the precision `dtype`."""
        raise NotImplementedError

    def eigenvalues(self) -> Tensor:
        """Return the stored poles, complex128."""
        return complex128(self.A)

    def log_steps(self) -> Tensor:
        """Return log dt as it is stored, float64."""
        return torch.log(self.dt.double())

    def steps(self) -> Tensor:
        """Return dt as it is stored, float64."""
        return self.dt.double()

    def mixing(self) -> tuple[Tensor, Tensor] | None:
        """Return B (k, d) and C (d, k), complex128, of y = 2 Re C (impulse * B u).

        None if each channel has a convolution of its own, y = impulse * u.
        """
        return None

    def convolve(self, u: Tensor, operator: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the output without D u, in the precision of u (batch, length, d).

        operator: the convolution with `impulse`, of (batch, length, k).
        """
        return operator(u)

    def one_way(self) -> "tuple[SSMLayer, ...]":
        """Return the causal layers of which it is made: itself, or one per direction.

        The second one runs in reversed time and has no D. The halves of C are theirs.
        """
        if not self.bidirectional:
            return (self,)
        made = copy.deepcopy(self), copy.deepcopy(self)
        for layer, C in zip(made, self.C.detach().chunk(2), strict=True):
            layer.bidirectional, layer.C = False, nn.Parameter(C.clone(), requires_grad=False)
        made[1].D = None
        return made

    def both_ways(self, u: Tensor) -> Tensor:
        """Return the output by the recurrences of both directions."""
        ahead, behind = self.one_way()
        y = behind.recurrence(u.flip(1)).flip(1)
        return ahead.recurrence(u) + nn.functional.pad(y, (0, 0, 0, self.lag))[:, self.lag :]

    def kernel_length(self, L: int) -> int:
        """Return how many samples of the kernel an input of length L meets."""
        return L if self.l_max is None else min(L, self.l_max)

    def check_causal(self, what: str, L: int) -> None:
        """Raise UsageError if the layer looks ahead, or l_max cuts its kernel at length L."""
        if self.bidirectional:
            raise UsageError(f"{what}: the layer runs both ways, not causal; take gain for it")
        if self.kernel_length(L) < L:
            raise UsageError(
                f"{what}: the kernel ends after l_max = {self.l_max} steps and the input has {L}; "
                f"expected {self.l_max} or fewer"
            )

    def feedthroughs(self) -> FloatArray:
        """Return D of the first channel per feature, (d,), zero if the layer has none."""
        return np.zeros(self.d) if self.D is None else array(self.D).reshape(-1)[: self.d]

    def feed_through(self, u: Tensor, y: Tensor) -> Tensor:
        """Return y + D u, D (channels, d) or (d,); y if the layer has no D."""
        D = self.D
        return y if D is None else y + (u[:, :, None, :] * D.to(u.dtype)).flatten(2)

    def forward(self, u: Tensor) -> Tensor:
        """Return the convolution of u (batch, length, d) with the layer.

        Under torch.autocast it computes in float32, whatever u arrives in: FFTs and the products
        around them have no half precision.
        """
        kind = u.device.type
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            with torch.autocast(kind, enabled=False):
                return self.forward(u if u.dtype == torch.float64 else u.float())
        if self.stepwise:
            return self.recurrence(u)
        return self.feed_through(u, self.convolve(u, self._operator(u)))

    def _operator(self, u: Tensor) -> Callable[[Tensor], Tensor]:
        L = u.shape[1]
        differentiable = torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters())
        if self.training or differentiable:
            return self._built(L, u.dtype)

        def build() -> Callable[[Tensor], Tensor]:
            with torch.no_grad():
                convolve = self._built(L, u.dtype)
            # Elementwise functions round by memory layout: contiguous, a sample's bits do not
            # depend on its batch.
            return lambda v: convolve(v).contiguous()

        return kept(self, "convolution", (L, u.dtype, u.device), build)


class KernelLayer(SSMLayer):
    """SISO systems: `channels` kernels per feature, and as many again that run backwards.

    With kernels k (forward) and k' (backward), as state-spaces/s4 convolves,
    y_t = sum_{j>=0} k_j u_{t-j} + sum_{j>=0} k'_j u_{t+1+j} + D u_t:
    u_t itself enters through k only.

    Reference: state-spaces/s4, src/models/sequence/kernels/fftconv.py (class FFTConv).
    """

    lag = 1

    @abstractmethod
    def kernels(self, L: int) -> Tensor:
        """Return the kernels of an input of length L, (directions channels, d, K), float64.

        K is L, or l_max if that is less; backward kernels follow the forward ones.
        """

    @abstractmethod
    def states(self, L: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return Abar (d, m) or (d, m, m), Bbar and C of y_t = Re C x_t for length L."""

    def check_single(self, what: str, L: int) -> None:
        """Raise UsageError as `check_causal`, or if there is more than one kernel per feature."""
        self.check_causal(what, L)
        count = self.channels
        require(count == 1, f"{what}: the number of channels", count, "1; take kernels")

    def filtered(self, spectrum: Tensor, L: int) -> Tensor:
        """Return the kernels' spectrum (channels, d, bins) as it acts on inputs of length L."""
        return spectrum

    def impulse(self, L: int) -> Tensor:
        """Return the kernel (d, L), float64, zero behind l_max; UsageError if there are several."""
        self.check_single("impulse response", 0)
        k = self.kernels(L)[0]
        return nn.functional.pad(k, (0, L - k.shape[1]))

    def recurrence(self, u: Tensor) -> Tensor:
        """Return what `forward` does, step by step; UsageError if l_max cuts the kernel."""
        if self.bidirectional:
            return self.both_ways(u)
        L = u.shape[1]
        self.check_causal("recurrence", L)
        Abar, Bbar, C = map(self.stored, self.states(L))
        letters = "dm,bdm->bdm" if Abar.ndim == 2 else "dmn,bdn->bdm"
        x = torch.zeros(u.shape[0], *C.shape[1:], dtype=torch.complex128, device=u.device)
        outputs = []
        for t in range(L):
            x = self.stored(torch.einsum(letters, Abar, x) + Bbar * u[:, t, :, None])
            outputs.append((C * x[:, None]).sum(-1).real.flatten(1))
        return self.feed_through(u, torch.stack(outputs, dim=1).to(u.dtype))

    def _built(self, L: int, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        k = self.stored(self.kernels(L)).to(dtype)
        n = L + k.shape[-1]
        if self.bidirectional:
            ahead, behind = k.chunk(2)
            k = nn.functional.pad(ahead, (0, L)) + nn.functional.pad(behind.flip(-1), (L, 0))
        spectrum = self.filtered(torch.fft.rfft(k, n=n), L)
        if self.training and self.channels == 1:
            return partial(convolved, spectrum=spectrum[0], n=n)

        def convolve(u: Tensor) -> Tensor:
            product = torch.fft.rfft(u.transpose(1, 2), n=n)[:, None] * spectrum
            y = torch.fft.irfft(product, n=n)[..., :L]
            return y.flatten(1, 2).transpose(1, 2)

        return convolve
