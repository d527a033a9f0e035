"""S4 layers of other code bases: A = diag(Lambda) - sum_r P_r Q_r^T, bilinear.

As in `robustssm.layers.dplr`, with q = (1 + z) dt / 2 and z on the L-th roots of unity,

    sum_{l<L} K_l z^l = dt C~ M^-1 B,  M = diag((1 - z) - q Lambda) + q P Q^T,

where C~ = C (I - Abar^L) and Woodbury's identity inverts M by a matrix of the size of the rank.
Every stored mode stands for itself and its conjugate. C is C itself: an importer has undone
what the reference code does to it in place, and no call changes a parameter.

References: arXiv 2111.00396, Algorithm 1; state-spaces/s4, src/models/sequence/kernels/ssm.py
(class SSMKernelDPLR) and, for an independent Q, tag v2, src/models/sequence/ss/kernel.py.
"""

import torch
from torch import Tensor

from robustssm.layers.diagonal import complex128
from robustssm.layers.general import KernelLayer

# Complex numbers of one block of frequencies: 64 MiB.
_BLOCK = 1 << 22


def with_conjugates(value: Tensor) -> Tensor:
    """Return (..., n) followed by its conjugate, (..., 2 n)."""
    return torch.cat([value, value.conj()], dim=-1).resolve_conj()


def bilinear(A: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    """Return Abar (d, m, m) and (I - dt A / 2)^-1 dt of the same shape; A (d, m, m), dt (d,)."""
    identity = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    half = 0.5 * dt[:, None, None] * A
    held = torch.linalg.solve(identity - half, identity.expand_as(A))
    return held @ (identity + half), held * dt[:, None, None]


def state_matrix(Lambda: Tensor, P: Tensor, Q: Tensor) -> Tensor:
    """Return diag(Lambda) - sum_r P_r Q_r^T over all 2 n modes, (d, 2 n, 2 n).

    Lambda (d, n), P and Q (rank, d, n): one of each conjugate pair.
    """
    low_rank = torch.einsum("rdm,rdn->dmn", with_conjugates(P), with_conjugates(Q))
    return torch.diag_embed(with_conjugates(Lambda)) - low_rank


class GeneralDPLR(KernelLayer):
    """DPLR systems, one a feature.

    Parameters, float64: dt (d,); Lambda, B (d, n, 2); P, Q (rank, d, n, 2);
    C (directions channels, d, n, 2); D (channels, d).
    """

    def __init__(
        self,
        d: int,
        *,
        n: int,
        rank: int = 1,
        channels: int = 1,
        bidirectional: bool = False,
        l_max: int | None = None,
    ) -> None:
        super().__init__(d, channels=channels, bidirectional=bidirectional, l_max=l_max)
        self.n, self.rank = n, rank
        self.dt = self.exact(d)
        self.Lambda, self.B = self.exact(d, n, 2), self.exact(d, n, 2)
        self.P, self.Q = self.exact(rank, d, n, 2), self.exact(rank, d, n, 2)
        self.C = self.exact(self.directions * channels, d, n, 2)
        self.D = self.exact(channels, d)

    @property
    def order(self) -> int:
        """Twice the stored modes."""
        return 2 * self.n

    def step_size(self) -> Tensor:
        """Return dt per feature, (d,), float64."""
        return self.dt.double()

    def discrete(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return Abar (d, 2 n, 2 n), Bbar (d, 2 n) and C (directions channels, d, 2 n)."""
        A = state_matrix(complex128(self.Lambda), complex128(self.P), complex128(self.Q))
        Abar, held = bilinear(A, self.step_size())
        Bbar = (held @ with_conjugates(complex128(self.B))[..., None])[..., 0]
        return Abar, Bbar, with_conjugates(complex128(self.C))

    def kernels(self, L: int) -> Tensor:
        """Return the kernels of an input of length L, (directions channels, d, K), float64."""
        K = self.kernel_length(L)
        Abar, _, C = self.discrete()
        C = C - torch.einsum("cdm,dmn->cdn", C, torch.linalg.matrix_power(Abar, K))
        # Rows (channels + rank) against columns (1 + rank): the Cauchy sums of Woodbury's identity.
        Lambda = with_conjugates(complex128(self.Lambda))
        right = torch.cat([complex128(self.B)[None], complex128(self.P)])
        left = torch.cat([C, with_conjugates(complex128(self.Q))])
        products = torch.einsum("adn,bdn->dabn", left, with_conjugates(right))
        bins = torch.arange(K // 2 + 1, device=C.device, dtype=torch.float64)
        z = torch.polar(torch.ones_like(bins), -2.0 * torch.pi * bins / K)
        blocks = z.split(max(1, _BLOCK // Lambda.numel()))
        spectrum = torch.cat([self._spectrum(products, Lambda, block) for block in blocks], dim=-1)
        return torch.fft.irfft(spectrum, n=K)

    def _spectrum(self, products: Tensor, Lambda: Tensor, z: Tensor) -> Tensor:
        """Return the generating function at z (F,), shape (directions channels, d, F)."""
        dt = self.step_size()[:, None]
        q = 0.5 * dt * (1.0 + z)
        inverse = 1.0 / ((1.0 - z)[None, None] - Lambda[:, :, None] * q[:, None, :])
        sums = (products.flatten(1, 2) @ inverse).unflatten(1, products.shape[1:3])
        r = self.rank
        direct, outer = sums[:, :-r, 0], sums[:, :-r, 1:]  # C B, C P: (d, c, F), (d, c, r, F)
        inner, mixed = sums[:, -r:, 1:], sums[:, -r:, 0]  # Q P, Q B: (d, r, r, F), (d, r, F)
        identity = torch.eye(r, dtype=z.dtype, device=z.device)
        middle = identity + (q[:, None, None] * inner).movedim(-1, 1)
        solved = torch.linalg.solve(middle, mixed.movedim(-1, 1)[..., None])[..., 0]
        correction = torch.einsum("dcrf,dfr->dcf", outer, solved)
        return (dt[:, None] * (direct - q[:, None] * correction)).movedim(1, 0)

    def recurrence(self, u: Tensor) -> Tensor:
        """Return the same output as `forward`, step by step through the state.

        Raises UsageError where the layer is bidirectional or l_max cuts the kernel.
        """
        self.causal("recurrence")
        self.uncut("recurrence", u.shape[1])
        Abar, Bbar, C = self.discrete()
        x = torch.zeros(u.shape[0], *Bbar.shape, dtype=torch.complex128, device=u.device)
        outputs = []
        for t in range(u.shape[1]):
            x = torch.einsum("dmn,bdn->bdm", Abar, x) + Bbar * u[:, t, :, None]
            outputs.append(torch.einsum("cdn,bdn->bcd", C, x).real.flatten(1))
        return self.feed_through(u, torch.stack(outputs, dim=1).to(u.dtype))
