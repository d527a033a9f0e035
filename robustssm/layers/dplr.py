"""S4: the state matrix Lambda - P P^*, bilinear, by the truncated generating function.

With z on the L-th roots of unity, q = (1 + z) dt / 2 and D = (1 - z) - q Lambda,

    sum_{l<L} K_l z^l = C~ (I - Abar z)^-1 Bbar = dt (C~ M^-1 B),  M = diag(D) + q P P^*,

where C~ = C (I - Abar^L). Written this way (Woodbury on M) nothing is singular at z = -1.
Conjugate pairs are kept by summing every stored mode with its conjugate.

Reference: arXiv 2111.00396, Algorithm 1 and appendix C.3. The reference code stores C~ and
rewrites it when the length changes; here C itself is stored and no call changes a parameter.
"""

import torch
from torch import Tensor, nn

from robustssm.errors import UsageError
from robustssm.hippo.initializations import Initialization
from robustssm.layers.base import SSMLayer
from robustssm.layers.diagonal import complex128, random_readout, random_step_sizes, real_pair


class S4(SSMLayer):
    """DPLR SISO systems, one a channel.

    Parameters: log_dt (d,); log_neg_real, imag (d, m); P, B, C (d, m, 2), m = n/2. Re Lambda < 0
    and -P P^* <= 0 keep every system stable.
    """

    def __init__(
        self,
        init: Initialization,
        d: int,
        *,
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        discretization: str = "bilinear",
        feedthrough: bool = True,
    ) -> None:
        super().__init__(d, feedthrough)
        if init.P is None or init.n % 2:
            raise UsageError(f"S4 layer: {init.name} at n = {init.n}, expected s4 with even n")
        if discretization != "bilinear":
            raise UsageError(f"S4 layer: discretization is {discretization!r}, expected bilinear")
        Lambda, P, B = (torch.from_numpy(a) for a in (init.eigenvalues, init.P, init.B))
        self.log_dt = self.dynamics(random_step_sizes(d, dt_min, dt_max))
        self.log_neg_real = self.dynamics(torch.log(-Lambda.real).repeat(d, 1))
        self.imag = self.dynamics(Lambda.imag.repeat(d, 1))
        self.P = self.dynamics(real_pair(P.repeat(d, 1)))
        self.B = self.dynamics(real_pair(B.repeat(d, 1)))
        self.C = nn.Parameter(real_pair(random_readout(init, d)).float())

    def step_size(self) -> Tensor:
        """Return dt per channel, shape (d,), float64."""
        return torch.exp(self.log_dt.double())

    def _full(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return Lambda, P, B, C with every conjugate, each (d, n) complex128."""
        Lambda = torch.complex(-torch.exp(self.log_neg_real.double()), self.imag.double())
        halves = (Lambda, complex128(self.P), complex128(self.B), complex128(self.C))
        return tuple(torch.cat([a, a.conj()], dim=1) for a in halves)  # type: ignore[return-value]

    def discrete(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return Abar (d, n, n), Bbar (d, n) and C (d, n) of the bilinear transform."""
        Lambda, P, B, C = self._full()
        half = 0.5 * self.step_size()[:, None, None]
        A = torch.diag_embed(Lambda) - P[:, :, None] * P.conj()[:, None, :]
        identity = torch.eye(A.shape[1], dtype=A.dtype, device=A.device)
        right = torch.cat([identity + half * A, 2.0 * half * B[:, :, None]], dim=2)
        solved = torch.linalg.solve(identity - half * A, right)
        return solved[:, :, :-1], solved[:, :, -1], C

    def impulse(self, L: int) -> Tensor:
        """Return the kernel, shape (d, L), float64."""
        Lambda, P, B, C = self._full()
        Abar, _, _ = self.discrete()
        C = C - (C[:, None, :] @ torch.linalg.matrix_power(Abar, L))[:, 0]
        bins = torch.arange(L // 2 + 1, device=C.device, dtype=torch.float64)
        z = torch.polar(torch.ones_like(bins), -2.0 * torch.pi * bins / L)
        dt = self.step_size()[:, None]
        q = 0.5 * dt * (1.0 + z)
        inverse = 1.0 / ((1.0 - z)[None, None] - Lambda[:, :, None] * q[:, None, :])
        # The four Cauchy sums at once: rows C B, C P, P^* B, P^* P.
        Pc = P.conj()
        sums = torch.stack([C * B, C * P, Pc * B, Pc * P], dim=1) @ inverse
        CB, CP, PB, PP = sums.unbind(dim=1)
        spectrum = dt * (CB - q * CP * PB / (1.0 + q * PP))
        return torch.fft.irfft(spectrum, n=L)

    def recurrence(self, u: Tensor) -> Tensor:
        """Return x_t = Abar x_{t-1} + Bbar u_t, y_t = C x_t + D u_t, step by step."""
        Abar, Bbar, C = self.discrete()
        x = torch.zeros(u.shape[0], *Bbar.shape, dtype=torch.complex128, device=u.device)
        outputs = []
        for t in range(u.shape[1]):
            x = torch.einsum("dmn,bdn->bdm", Abar, x) + Bbar * u[:, t, :, None]
            outputs.append((C * x).sum(-1).real)
        return self.feed_through(u, torch.stack(outputs, dim=1).to(u.dtype))
