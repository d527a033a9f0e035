"""Diagonal SISO systems: S4D and S4-PTD, DSS, and those of other code bases.

With z = dt A, all sums over the stored modes n and f = 1 or 2 (conjugate pairs stored once):

    zoh       K_l = f Re sum C B (e^z - 1) / A  e^{l z}
    impulse   K_l = f Re sum C B e^{l z}
    bilinear  K_l = f Re sum C B dt / (1 - z/2) ((1 + z/2) / (1 - z/2))^l
    dss       K_l = f Re sum C B (e^{z'} - 1) r((e^{L z'} - 1) E) e^{(l - s) z}

where r(x) = conj(x) / (|x|^2 + 1e-7); z' = z and s = 0 if Re A <= 0, else z' = -z and s = L - 1;
E is the divisor, A itself but for the DSS that has two steps per feature. The DSS kernel depends
on its length L.

References: arXiv 2206.11893, section 3; arXiv 2203.14343, equations (5) to (7); 2310.01698;
state-spaces/s4, src/models/sequence/kernels/ssm.py (class SSMKernelDiag); ag1988/dss,
src/models/sequence/ss/standalone/dss.py (class DSSKernel).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from robustssm.errors import UsageError, require_one_of
from robustssm.hippo.initializations import Initialization
from robustssm.layers.base import KernelLayer, array, complex128
from robustssm.layers.parameters import Trained, discrete_diagonal, doubled, random_readout
from robustssm.layers.systems import LinearSystem, Spectrum

# Added to |x|^2 in the reciprocals of DSS.
_EPSILON = 1e-7


def exponential_sums(weights: Tensor, rates: Tensor, L: int) -> Tensor:
    """Return sum_m weights[h, m] exp(rates[h, m] l) for l < L, shape (h, L), complex.

    l = a s + b with s about sqrt(L): 2 sqrt(L) exponentials a mode and one matrix product,
    instead of L exponentials.
    """
    s = max(1, int(L**0.5))
    coarse = torch.arange(0, L, s, device=rates.device)
    fine = torch.arange(s, device=rates.device)
    left = (weights[:, None, :]) * torch.exp(rates[:, None, :] * coarse[:, None])
    right = torch.exp(rates[:, :, None] * fine)
    return (left @ right).flatten(1)[:, :L]


class GeneralDiagonal(KernelLayer):
    """Diagonal systems, one per feature.

    Parameters, float64: dt (d,), or (d, n) if steps is `state`; A, B (d, n, 2);
    C (directions channels, d, n, 2); D (channels, d); divisor (d, n, 2) for `dss` only.
    factor: 2 if one of each conjugate pair is stored, else 1.
    """

    stored_poles = "A"
    rules: tuple[str, ...] = ("zoh", "bilinear", "impulse", "dss")
    divisor: Tensor
    factor = 2
    # Whether the modes have their conjugates with them though factor is 2.
    paired = False
    # Whether the kernel depends on its length.
    by_length = False

    def __init__(
        self,
        d: int,
        *,
        n: int,
        channels: int = 1,
        bidirectional: bool = False,
        l_max: int | None = None,
        discretization: str = "zoh",
        factor: int = 2,
        steps: str = "channel",
    ) -> None:
        super().__init__(d, channels=channels, bidirectional=bidirectional, l_max=l_max)
        require_one_of("diagonal layer: discretization", discretization, self.rules)
        require_one_of("diagonal layer: steps", steps, ("channel", "state"))
        self.discretization, self.factor = discretization, factor
        self._hold(
            dt=(d,) if steps == "channel" else (d, n),
            A=(d, n, 2),
            B=(d, n, 2),
            C=((1 + bidirectional) * channels, d, n, 2),
            D=(channels, d),
            **({"divisor": (d, n, 2)} if discretization == "dss" else {}),
        )
        self.by_length = discretization == "dss"

    @property
    def order(self) -> int:
        """Twice the stored modes, unless these are real or have their conjugates with them."""
        return self.B.shape[-2] * (1 if self.paired or not self._oscillates() else 2)

    def _oscillates(self) -> bool:
        return bool((self.eigenvalues().imag != 0.0).any())

    def step_size(self) -> Tensor:
        """Return dt per feature, (d,), float64; the geometric mean if states differ."""
        return torch.exp(self.log_steps().reshape(self.d, -1).mean(-1))

    def modes(self, L: int) -> tuple[Tensor, Tensor]:
        """Return log Abar (d, n) and the weights (directions channels, d, n), factor included.

        K_l = Re sum weights Abar^l, but Abar^(l-L+1) for modes of `dss` with Re A > 0.
        """
        A, dt = self.eigenvalues(), self.steps().reshape(self.d, -1)
        CB = self.factor * complex128(self.C).reshape(-1, *A.shape) * complex128(self.B)
        if self.discretization != "dss":
            z, held = discrete_diagonal(A, dt, self.discretization)
            return z, CB * held
        z = A * dt
        inward = torch.where(A.real > 0, -z, z)
        x = (torch.exp(L * inward) - 1.0) * complex128(self.divisor)
        reciprocal = x.conj() / (x.real**2 + x.imag**2 + _EPSILON)
        return z, CB * (torch.exp(inward) - 1.0) * reciprocal

    def _growing(self) -> Tensor:
        """Return which modes run backwards from the end of the kernel, (d, n)."""
        return (self.eigenvalues().real > 0) & (self.discretization == "dss")

    def kernels(self, L: int) -> Tensor:
        """Return the kernels of an input of length L, (directions channels, d, K), float64."""
        K = self.kernel_length(L)
        z, weights = self.modes(K)
        if self.discretization != "dss":
            return self._sums(weights, z, K)
        growing = self._growing()
        ahead = self._sums(weights * ~growing, torch.where(growing, 0.0, z), K)
        return ahead + self._sums(weights * growing, torch.where(growing, -z, 0.0), K).flip(-1)

    def _sums(self, weights: Tensor, z: Tensor, K: int) -> Tensor:
        c = len(weights)
        sums = exponential_sums(weights.flatten(0, 1), z.repeat(c, 1), K)
        return sums.real.unflatten(0, (c, self.d))

    def states(self, L: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return Abar, 1 and the weights, those of growing modes at the first step."""
        z, weights = self.modes(L)
        weights = torch.where(self._growing(), weights * torch.exp(-(L - 1.0) * z), weights)
        return torch.exp(z), torch.ones_like(z.real), weights

    def spectrum(self) -> Spectrum:
        """Return the poles, `order` of them: every conjugate among them unless all are real."""
        return self._spectrum(self.order > self.B.shape[-2])

    def _spectrum(self, whole: bool) -> Spectrum:
        A = self.eigenvalues()
        poles = doubled(A) if whole else A.detach().cpu().numpy()
        step = np.broadcast_to(array(self.steps()).reshape(self.d, -1), A.shape)
        step = np.concatenate([step, step], axis=1) if whole else step
        return Spectrum(diagonal=poles, step=step, discretization=self.discretization)

    def system(self, L: int) -> LinearSystem:
        """Return the SISO systems, weights as C and ones as B."""
        name = f"layer {self.kind}"
        self.check_single(name, L)
        whole = self._oscillates()
        spectrum, weights = self._spectrum(whole), 0.5 * self.modes(L)[1][0]
        if bool((spectrum.poles.real >= 0.0).any()):
            raise UsageError(f"{name}: has poles with Re >= 0, expected a stable system")
        C = doubled(weights) if whole else 2.0 * array(weights.real) + 0j
        return LinearSystem(
            diagonal=spectrum.poles,
            step=spectrum.step,
            discretization="bilinear" if self.discretization == "bilinear" else "zoh",
            dt=array(self.step_size()),
            B=np.ones((*C.shape, 1), dtype=np.complex128),
            C=C[:, None],
            D=self.feedthroughs()[:, None, None],
            by_length=self.by_length,
        )


class PairedDiagonal(GeneralDiagonal):
    """The layer of S4-PTD: all N modes of its state are stored, and counted once."""

    paired = True


class S4D(Trained, GeneralDiagonal):
    """Diagonal SISO systems, one per channel: S4D, S4D-Lin, -Inv, -Real, S4-PTD.

    Parameters: log_dt (d,); log_neg_real, imag (d, m); B, C (d, m, 2). Re A = -exp(log_neg_real).
    """

    rules: tuple[str, ...] = ("zoh", "bilinear")

    def _start(self, init: Initialization, draw_steps: Callable[[int], Tensor]) -> None:
        A, B = torch.from_numpy(init.eigenvalues), torch.from_numpy(init.B)
        self._hold_log(A.repeat(self.d, 1), draw_steps(self.d), B=B.repeat(self.d, 1))
        self.C = random_readout(init, self.d)


class DSS(S4D):
    """DSS: B = 1 and the kernel W / A (e^z - 1) e^{lz} (`exp`), or its row-normalised form.

    `softmax` divides by sum_{r<L} e^{r z}, so its kernel depends on L: K_l =
    Re sum W / A e^{l z} / sum_r e^{r z}. Here the order n counts the real system, one of each
    conjugate pair stored; the original stores n free modes. As there, Re without the factor 2,
    B is not trained, and there is no other rule than zero-order hold.
    """

    rules = ("zoh",)
    factor = 1

    def _start(self, init: Initialization, draw_steps: Callable[[int], Tensor]) -> None:
        super()._start(init, draw_steps)
        # Whatever was asked for: checkpoints exist that ask for another rule, without effect.
        self.discretization = "zoh"
        self.by_length = init.name["kernel"] == "softmax"
        self.B.requires_grad_(False)

    def modes(self, L: int) -> tuple[Tensor, Tensor]:
        """Return z (d, m) and the DSS weights (1, d, m)."""
        A = self.eigenvalues()
        z, held = discrete_diagonal(A, self.steps()[:, None], "zoh")
        weights = (complex128(self.C) * held)[None]
        return z, weights / (torch.exp(L * z) - 1.0) if self.by_length else weights
