"""Diagonal SISO systems of other code bases: S4D in all its variants, and the original DSS.

With z = dt A, all sums over the stored modes n and f = 1 or 2 (conjugate pairs stored once):

    zoh       K_l = f Re sum C B (e^z - 1) / A  e^{l z}
    impulse   K_l = f Re sum C B e^{l z}
    bilinear  K_l = f Re sum C B dt / (1 - z/2) ((1 + z/2) / (1 - z/2))^l
    dss       K_l = f Re sum C B (e^{z'} - 1) r((e^{L z'} - 1) E) e^{(l - s) z}

where r(x) = conj(x) / (|x|^2 + 1e-7); z' = z and s = 0 where Re A <= 0, z' = -z and s = L - 1
elsewhere; E is the divisor, A itself but for the DSS that has two steps a feature. The DSS kernel
depends on its length L.

References: state-spaces/s4, src/models/sequence/kernels/ssm.py (class SSMKernelDiag);
ag1988/dss, src/models/sequence/ss/standalone/dss.py (class DSSKernel).
"""

import torch
from torch import Tensor

from robustssm.errors import UsageError
from robustssm.layers.convolution import exponential_sums
from robustssm.layers.diagonal import complex128, discrete_diagonal
from robustssm.layers.general import KernelLayer

DISCRETIZATIONS = ("zoh", "bilinear", "impulse", "dss")
# Added to |x|^2 in the reciprocals of DSS.
_EPSILON = 1e-7


class GeneralDiagonal(KernelLayer):
    """Diagonal systems, one a feature.

    Parameters, float64: dt (d,), or (d, n) where steps is `state`; A, B (d, n, 2);
    C (directions channels, d, n, 2); D (channels, d); divisor (d, n, 2) for `dss` only.
    factor: 2 where one of each conjugate pair is stored, else 1.
    """

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
        if discretization not in DISCRETIZATIONS:
            raise UsageError(
                f"diagonal layer: discretization is {discretization!r}, expected one of "
                f"{', '.join(DISCRETIZATIONS)}"
            )
        if steps not in ("channel", "state"):
            raise UsageError(f"diagonal layer: steps is {steps!r}, expected channel or state")
        self.n, self.discretization, self.factor = n, discretization, factor
        self.dt = self.exact(d) if steps == "channel" else self.exact(d, n)
        self.A, self.B = self.exact(d, n, 2), self.exact(d, n, 2)
        self.C = self.exact(self.directions * channels, d, n, 2)
        self.D = self.exact(channels, d)
        if discretization == "dss":
            self.divisor = self.exact(d, n, 2)

    @property
    def order(self) -> int:
        """Twice the stored modes, but for real ones."""
        return self.n if bool((self.A[..., 1] == 0.0).all()) else 2 * self.n

    def eigenvalues(self) -> Tensor:
        """Return the stored poles, shape (d, n), complex128."""
        return complex128(self.A)

    def _steps(self) -> Tensor:
        dt = self.dt.double()
        return dt if dt.ndim == 2 else dt[:, None]

    def step_size(self) -> Tensor:
        """Return dt per feature, (d,), float64; the geometric mean where states differ."""
        return torch.exp(torch.log(self._steps()).mean(-1))

    def modes(self, L: int) -> tuple[Tensor, Tensor]:
        """Return log Abar (d, n) and the weights (directions channels, d, n), factor included.

        K_l = Re sum weights Abar^l, but Abar^(l-L+1) for modes of `dss` with Re A > 0.
        """
        A, dt = self.eigenvalues(), self._steps()
        CB = self.factor * complex128(self.C) * complex128(self.B)
        if self.discretization == "impulse":
            return A * dt, CB
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
        growing = self._growing()
        result = self._sums(weights * ~growing, torch.where(growing, 0.0, z), K)
        if bool(growing.any()):
            shifted = self._sums(weights * growing, torch.where(growing, -z, 0.0), K)
            result = result + shifted.flip(-1)
        return result

    def _sums(self, weights: Tensor, z: Tensor, K: int) -> Tensor:
        c = len(weights)
        sums = exponential_sums(weights.flatten(0, 1), z.repeat(c, 1), K)
        return sums.real.unflatten(0, (c, self.d))

    def recurrence(self, u: Tensor) -> Tensor:
        """Return the same output as `forward`, step by step through the state.

        Raises UsageError where the layer is bidirectional or l_max cuts the kernel.
        """
        L = u.shape[1]
        self.causal("recurrence")
        self.uncut("recurrence", L)
        z, weights = self.modes(L)
        weights = torch.where(self._growing(), weights * torch.exp(-(L - 1.0) * z), weights)
        Abar = torch.exp(z)
        x = torch.zeros(u.shape[0], *Abar.shape, dtype=torch.complex128, device=u.device)
        outputs = []
        for t in range(L):
            x = Abar * x + u[:, t, :, None]
            outputs.append(torch.einsum("cdn,bdn->bcd", weights, x).real.flatten(1))
        return self.feed_through(u, torch.stack(outputs, dim=1).to(u.dtype))
