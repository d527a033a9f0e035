"""Layers whose response depends on the number of steps L and looks ahead: HOPE and FreqBias.

HOPE has Markov parameters H_{h,1..n} of 2 d systems. With M = L / 2, theta = 2 pi m / M and
phi_{h,m} = 2 atan2(sin(theta / 2), dt_h cos(theta / 2)),

    G_h[m] = sum_k H_{h,k} e^{-i k phi_{h,m}},  m < M,

and bins 0 to L - 1 of feature h are multiplied by G_h[0..M-1], G_{d+h}[M-1..0]; the output is the
real part. e^{i phi} is ((1 + dt) z + dt - 1) / ((dt - 1) z + dt + 1), z = e^{i theta}, without the
cancellation near z = 1. FreqBias multiplies bin k of the length-2L spectrum of a diagonal layer's
output by (1 + k / 2L)^s.

References: arXiv 2405.13975 (HOPE) and AnnanYu/HOPE-SSM; arXiv 2410.02035 (Sobolev filter) and
AnnanYu/FreqBiasSSM.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from robustssm.errors import UsageError, require
from robustssm.hippo.initializations import Initialization
from robustssm.layers.base import SSMLayer, complex128
from robustssm.layers.diagonal import S4D, PairedDiagonal


class _ByLength(SSMLayer):
    """A layer that is evaluated by `forward` alone."""

    readable = False

    def check_causal(self, *_: Any, **__: Any) -> Any:
        """Raise UsageError: it is no system of poles, steps and impulse responses."""
        raise UsageError(
            f"layer {self.kind}: its response depends on the number of steps and looks ahead, "
            "expected a causal system; take sweep or predict, which run it as it is"
        )


class Hope(_ByLength):
    """HOPE, one Hankel operator per direction of frequency and feature.

    Parameters, float64: dt (2 d,); H (2 d, n, 2), rows of the second halves last; D (1, d).
    """

    discretization = "bilinear"
    order = 0  # Markov parameters have no state
    H: Tensor

    def __init__(self, d: int, *, n: int) -> None:
        super().__init__(d)
        self._hold(dt=(2 * d,), H=(2 * d, n, 2), D=(1, d))

    def step_size(self) -> Tensor:
        """Return the geometric mean of both steps per feature, (d,), float64."""
        return torch.exp(self.log_steps().reshape(2, self.d).mean(0))

    def response(self, L: int) -> Tensor:
        """Return what each of the L bins is multiplied by, (d, L), complex128; L must be even."""
        check_steps(L)
        m = torch.arange(L // 2, dtype=torch.float64, device=self.dt.device)
        half = m * (2.0 * torch.pi / L)
        dt, H = self.steps()[:, None], complex128(self.H)
        back = torch.exp(-2j * torch.atan2(torch.sin(half), dt * torch.cos(half)))
        G = torch.zeros_like(back)
        for k in reversed(range(H.shape[1])):
            G = (G + H[:, k, None]) * back
        ahead, behind = G.chunk(2)
        return torch.cat([ahead, behind.flip(-1)], dim=-1)

    def _built(self, L: int, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        response = self.response(L)
        # The real part is what bins m and L - m, conjugate, give together.
        mirrored = response.flip(-1).roll(1, -1).conj()
        spectrum = (0.5 * (response + mirrored))[:, : L // 2 + 1].to(dtype.to_complex())

        def convolve(u: Tensor) -> Tensor:
            return torch.fft.irfft(torch.fft.rfft(u.mT) * spectrum, n=L).mT

        return convolve

    impulse = recurrence = spectrum = system = _ByLength.check_causal


class Sobolev(_ByLength, PairedDiagonal):
    """A diagonal layer whose output FreqBias filters; s (channels, d) beside its parameters."""

    s: Tensor

    def __init__(self, d: int, **options: Any) -> None:
        super().__init__(d, **options)
        self._hold(s=(self.channels, d))

    def filtered(self, spectrum: Tensor, L: int) -> Tensor:
        """Return the kernels' spectrum (channels, d, L + 1) times (1 + k / 2L)^s."""
        K = self.kernel_length(L)
        require(K == L, f"layer {self.kind}: number of steps", L, f"{K} or fewer, its l_max")
        k = torch.arange(L + 1, device=spectrum.device, dtype=torch.float64)
        return spectrum * ((1.0 + k / (2 * L)) ** self.s.double()[..., None]).to(spectrum.dtype)


class TrainedSobolev(_ByLength, S4D):
    """S4D whose output is filtered so, with s (1, d) among its parameters."""

    filtered = Sobolev.filtered

    def _start(self, init: Initialization, draw_steps: Callable[[int], Tensor]) -> None:
        super()._start(init, draw_steps)
        self.s = self._dynamics(torch.full((1, self.d), float(init.name["sobolev"])))


def check_steps(L: int) -> None:
    """Raise UsageError if HOPE cannot halve a number of steps."""
    require(L % 2 == 0, "layer Hope: number of steps", L, "an even one; leave one out")
