"""Operations of evaluation on signals (channels, rows, steps): no transposing copies.

One row is one sample. Steps are contiguous, as FFTs want them, and a channel's rows follow each
other, so that what mixes channels is one matrix product for all rows. Every row begins at a
multiple of `STEPS` values: vector instructions then treat all rows alike, and a sample's bits do
not depend on its place.
"""

import copy
from functools import lru_cache

import scipy.fft
import torch
from torch import Tensor, nn

from robustssm.layers import SSMLayer
from robustssm.networks.network import Normalisation

# Twice the widest vector register, in float32: loops are unrolled by two.
STEPS = 32

# (weight, bias), each (channels,): channel c is weight[c] s + bias[c] of a stored signal s.
Affine = tuple[Tensor, Tensor]


def padded_steps(L: int) -> int:
    """Return the steps that a row of L steps is stored in."""
    return -(-L // STEPS) * STEPS


@lru_cache(maxsize=256)
def _alike(k: int, m: int, rows: int, steps: int, dtype: torch.dtype, device: str) -> bool:
    """Return whether one matrix product (k, m) (m, rows steps) treats all rows alike.

    Libraries compute what is left over beside whole tiles in another order of summation, which
    shows in float64. Tried out on random numbers, the same in every row.
    """
    generator = torch.Generator().manual_seed(0)
    W, row = (
        torch.randn(shape, dtype=dtype, generator=generator).to(device)
        for shape in ((k, m), (m, 1, steps))
    )
    products = (W @ row.expand(m, rows, steps).reshape(m, -1)).view(k, rows, steps)
    return bool((products == products[:, :1]).all())


def _running(kernel: Tensor) -> Tensor:
    """Return the sums over the first steps, (k, L); on the CPU, as a GPU adds in no fixed order."""
    return kernel.cpu().cumsum(1).to(kernel.device)


class Mixing:
    """A matrix W (k, m) on the channels of signals (m, rows, steps), plus bias (k,) or nothing.

    One product for all rows; row by row where that would not give every row the same bits.
    """

    def __init__(self, W: Tensor, bias: Tensor | None, rows: int, steps: int) -> None:
        self._shape = rows, steps
        self._W, self._bias = W, None if bias is None else bias[:, None]
        self._whole = _alike(*W.shape, rows, steps, W.dtype, str(W.device))

    def __call__(self, signal: Tensor, out: Tensor) -> Tensor:
        """Return out (k, rows, steps), written; both are contiguous."""
        if self._whole:
            pairs = [(signal.view(len(signal), -1), out.view(len(out), -1))]
        else:
            pairs = list(zip(signal.unbind(1), out.unbind(1), strict=True))
        for source, target in pairs:
            if self._bias is None:
                torch.mm(self._W, source, out=target)
            else:
                torch.addmm(self._bias, self._W, source, out=target)
        return out

    def transposed(self) -> "Mixing":
        """Return the transposed matrix, without a bias."""
        return Mixing(self._W.T.contiguous(), None, *self._shape)


class Convolution:
    """An SSM layer at length L, its D included, after an affine map of its channels.

    before: that map, None for none; where the layer's channels are all one stored signal, that
    signal has one channel. order: of the FFTs; channels: of the arrays that they work on.
    """

    def __init__(
        self,
        layer: SSMLayer,
        L: int,
        rows: int,
        dtype: torch.dtype,
        before: Affine | None = None,
    ) -> None:
        self.steps = padded_steps(L)
        # Long enough that nothing wraps round into the first L steps.
        self.order = STEPS * scipy.fft.next_fast_len(-(-(self.steps + L - 1) // STEPS), real=True)
        kernel, mixing = layer.impulse(L), layer.mixing()
        D = kernel.new_zeros(layer.d, dtype=torch.float64) if layer.D is None else layer.D.double()
        self.mixes = mixing is not None
        if mixing is None:
            kernel = torch.cat([kernel[:, :1] + D[:, None], kernel[:, 1:]], dim=1)
            weighted = kernel if before is None else kernel * before[0].double()[:, None]
            self._spectra = [self._spectrum(weighted, dtype)]
            self.channels = layer.d
            sums = _running(kernel)
            response = None if before is None else sums * before[1].double()[:, None]
        else:
            B, C = mixing
            self._spectra = [self._spectrum(part, dtype) for part in (kernel.real, kernel.imag)]
            self.channels = 2 * len(B)
            response = None
            if before is not None:
                weight, bias = (v.double() for v in before)
                sums = _running(kernel) * (B @ bias.to(B.dtype))[:, None]
                response = 2.0 * (C @ sums).real + (D * bias)[:, None]
                B, D = B * weight, D * weight
            inner = torch.cat([B.real, B.imag]).to(dtype)
            outer = torch.cat([2.0 * C.real, -2.0 * C.imag], dim=1).to(dtype)
            self._inner, self._outer = (
                Mixing(W.contiguous(), None, rows, self.steps) for W in (inner, outer)
            )
            self._D = None if layer.D is None else D.to(dtype)[:, None, None]
        self._response: Tensor | None = None
        if response is not None:
            missing = self.steps - L
            self._response = torch.nn.functional.pad(response, (0, missing)).to(dtype)[:, None]

    def transposed(self) -> "Convolution":
        """Return the transposed map: of the gradient by the output, that by the signal."""
        other = copy.copy(self)
        other._response, other._spectra = None, [s.conj().resolve_conj() for s in self._spectra]
        if self.mixes:
            other._spectra[1].neg_()
            other._inner, other._outer = self._outer.transposed(), self._inner.transposed()
        return other

    def _spectrum(self, kernel: Tensor, dtype: torch.dtype) -> Tensor:
        return torch.fft.rfft(kernel, n=self.order).to(dtype.to_complex())[:, None]

    def __call__(self, signal: Tensor, padded: Tensor, out: Tensor) -> None:
        """Write the layer's output (channels, rows, steps).

        padded: an array (channels, rows, order), zero beyond the steps. Where channels do not mix
        it holds the signal already, else it is written to, and signal is contiguous.
        """
        if self.mixes:
            self._mixing(signal, padded, out)
            return
        X = torch.fft.rfft(padded)
        X = X.mul_(self._spectra[0]) if len(X) == self.channels else X * self._spectra[0]
        self._shifted(self._back(X), out)

    def _mixing(self, signal: Tensor, padded: Tensor, out: Tensor) -> None:
        # Complex states as two real signals each, all real parts first.
        shape = (self.channels, *signal.shape[1:])
        padded[..., : self.steps] = self._inner(signal, signal.new_empty(shape))
        X = torch.fft.rfft(padded)
        real, imag = X.view(2, -1, *X.shape[1:]).unbind(0)
        a, b = self._spectra
        crossed = b * real
        real.mul_(a).sub_(b * imag)
        imag.mul_(a).add_(crossed)
        self._outer(self._back(X).contiguous(), out)
        if self._D is not None:
            out.add_(self._D * signal)
        self._shifted(out, out)

    def _back(self, X: Tensor) -> Tensor:
        return torch.fft.irfft(X, n=self.order)[..., : self.steps]

    def _shifted(self, signal: Tensor, out: Tensor) -> None:
        if self._response is not None:
            torch.add(signal, self._response, out=out)
        elif signal is not out:
            out.copy_(signal)


class Norm:
    """LayerNorm or, in evaluation, BatchNorm over the channels of signals.

    affine: the last step of it, (weight, bias), which `__call__` leaves to others.
    """

    def __init__(
        self, normalisation: Normalisation, rows: int, steps: int, dtype: torch.dtype
    ) -> None:
        norm = normalisation.norm
        assert isinstance(norm, nn.LayerNorm | nn.BatchNorm1d)
        scale, shift = norm.weight.double(), norm.bias.double()
        self._layer, self._eps = isinstance(norm, nn.LayerNorm), norm.eps
        if isinstance(norm, nn.BatchNorm1d):
            assert norm.running_mean is not None and norm.running_var is not None
            scale = scale / torch.sqrt(norm.running_var.double() + norm.eps)
            shift = shift - norm.running_mean.double() * scale
        self.affine: Affine = (scale, shift)
        self._scale, self._shift = (v.to(dtype)[:, None, None] for v in self.affine)
        weights = torch.full((1, len(scale)), 1.0 / len(scale), dtype=dtype).to(scale.device)
        self._average = Mixing(weights, None, rows, steps)

    def __call__(self, signal: Tensor, scratch: tuple[Tensor, Tensor], out: Tensor) -> list[Tensor]:
        """Write signal (channels, rows, steps) normalised; two scratch signals of its shape.

        Returns what `back` needs: out, and by what the centred signal was multiplied.
        """
        if not self._layer:
            out.copy_(signal)
            return []
        centred, squares = scratch
        average = signal.new_empty((1, *signal.shape[1:]))
        torch.sub(signal, self._average(signal, average), out=centred)
        torch.mul(centred, centred, out=squares)
        deviation = self._average(squares, average).add_(self._eps).rsqrt_()
        torch.mul(centred, deviation, out=out)
        return [out, deviation]

    def back(self, slope: Tensor, tape: list[Tensor]) -> Tensor:
        """Turn the gradient by what `__call__` wrote into that by its signal, in place.

        tape: what `__call__` returned is taken from its end.
        """
        if not self._layer:
            return slope
        deviation, normal = tape.pop(), tape.pop()
        along = self._average(slope * normal, torch.empty_like(deviation))
        slope.sub_(self._average(slope, torch.empty_like(deviation)))
        return slope.addcmul_(normal, along, value=-1.0).mul_(deviation)

    def scaled(self, slope: Tensor) -> Tensor:
        """Return the gradient by a signal, of that by what `finish` makes of it."""
        return slope * self._scale

    def finish(self, signal: Tensor) -> None:
        """Apply `affine` to signal (channels, ...) in place."""
        signal.mul_(self._scale).add_(self._shift)
