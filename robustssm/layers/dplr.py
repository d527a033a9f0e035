"""S4: the state matrix diag(Lambda) - sum_r P_r Q_r^T, bilinear, by the generating function.

With z on the L-th roots of unity, q = (1 + z) dt / 2 and D = (1 - z) - q Lambda,

    sum_{l<L} K_l z^l = C~ (I - Abar z)^-1 Bbar = dt (C~ M^-1 B),  M = diag(D) + q P Q^T,

where C~ = C (I - Abar^L) and Woodbury's identity inverts M by a matrix of the size of the rank.
Written this way nothing is singular at z = -1. Conjugate pairs are kept by summing every stored
mode with its conjugate. S4 itself has rank 1 and Q = conj P.

References: arXiv 2111.00396, Algorithm 1 and appendix C.3; state-spaces/s4,
src/models/sequence/kernels/ssm.py (class SSMKernelDPLR) and, for an independent Q, tag v2,
src/models/sequence/ss/kernel.py. The reference code stores C~ and rewrites it when the length
changes; here C itself is stored and no call changes a parameter.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from robustssm.errors import UsageError, require
from robustssm.hippo.initializations import Initialization
from robustssm.layers.base import KernelLayer, array, complex128
from robustssm.layers.parameters import Trained, random_readout, with_conjugates
from robustssm.layers.systems import LinearSystem, Spectrum

# Complex numbers of one block of frequencies: 64 MiB.
_BLOCK = 1 << 22


class GeneralDPLR(KernelLayer):
    """DPLR SISO systems, one per feature.

    Parameters, float64: dt (d,); Lambda, B (d, n, 2); P, Q (rank, d, n, 2);
    C (directions channels, d, n, 2); D (channels, d).
    """

    stored_poles = "Lambda"
    rules = ("bilinear",)
    Lambda: Tensor
    P: Tensor
    Q: Tensor

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
        self.discretization = "bilinear"
        self._hold(
            dt=(d,),
            Lambda=(d, n, 2),
            B=(d, n, 2),
            P=(rank, d, n, 2),
            Q=(rank, d, n, 2),
            C=((1 + bidirectional) * channels, d, n, 2),
            D=(channels, d),
        )

    @property
    def order(self) -> int:
        """Twice the stored modes."""
        return 2 * self.B.shape[-2]

    def step_size(self) -> Tensor:
        """Return dt per feature, (d,), float64."""
        return self.steps()

    def full(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return Lambda, P, Q, B, C with every conjugate, complex128.

        Lambda and B (d, 2 n), P and Q (rank, d, 2 n), C (directions channels, d, 2 n).
        """
        letters = (self.Lambda, self.P, self.Q, self.B, self.C)
        Lambda, P, Q, B, C = (with_conjugates(complex128(letter)) for letter in letters)
        return Lambda, P, Q, B, C

    def states(self, L: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return Abar (d, 2 n, 2 n), Bbar (d, 2 n) and C of the bilinear transform."""
        Lambda, P, Q, B, C = self.full()
        half = 0.5 * self.steps()[:, None, None]
        A = torch.diag_embed(Lambda)
        for P_r, Q_r in zip(P, Q, strict=True):
            A = A - P_r[:, :, None] * Q_r[:, None, :]
        identity = torch.eye(A.shape[1], dtype=A.dtype, device=A.device)
        right = torch.cat([identity + half * A, 2.0 * half * B[:, :, None]], dim=2)
        solved = torch.linalg.solve(identity - half * A, right)
        return solved[:, :, :-1], solved[:, :, -1], C

    def kernels(self, L: int) -> Tensor:
        """Return the kernels of an input of length L, (directions channels, d, K), float64."""
        K = self.kernel_length(L)
        Lambda, P, Q, B, C = self.full()
        power = torch.linalg.matrix_power(self.states(K)[0], K)
        C = C - (C.movedim(0, 1) @ power).movedim(1, 0)
        # Rows (channels + rank) against columns (1 + rank): the Cauchy sums of Woodbury's identity.
        products = torch.stack([row * column for row in (*C, *Q) for column in (B, *P)], dim=1)
        bins = torch.arange(K // 2 + 1, device=C.device, dtype=torch.float64)
        z = torch.polar(torch.ones_like(bins), -2.0 * torch.pi * bins / K)
        blocks = z.split(max(1, _BLOCK // Lambda.numel()))
        parts = [self._spectrum(products, Lambda, block, len(P)) for block in blocks]
        return torch.fft.irfft(torch.cat(parts, dim=-1), n=K)

    def _spectrum(self, products: Tensor, Lambda: Tensor, z: Tensor, rank: int) -> Tensor:
        """Return the generating function at z (F,), shape (directions channels, d, F)."""
        dt = self.steps()[:, None]
        q = 0.5 * dt * (1.0 + z)
        inverse = 1.0 / ((1.0 - z)[None, None] - Lambda[:, :, None] * q[:, None, :])
        sums = (products @ inverse).unflatten(1, (-1, 1 + rank)).movedim(0, 2)
        CB, CP = sums[:-rank, 0], sums[:-rank, 1:]  # (c, d, F), (c, r, d, F)
        QB, QP = sums[-rank:, 0], sums[-rank:, 1:]  # (r, d, F), (r, r, d, F)
        if rank == 1:
            return dt * (CB - q * CP[:, 0] * QB / (1.0 + q * QP[0]))
        identity = torch.eye(rank, dtype=z.dtype, device=z.device)
        middle = identity + (q * QP).movedim((0, 1), (-2, -1))
        solved = torch.linalg.solve(middle, QB.movedim(0, -1)[..., None])[..., 0]
        return dt * (CB - q * torch.einsum("crdf,dfr->cdf", CP, solved))

    def spectrum(self) -> Spectrum:
        """Return the diagonal and the low-rank term, every conjugate among the modes."""
        Lambda, P, Q, _, _ = (value.detach().cpu().resolve_conj().numpy() for value in self.full())
        step = np.broadcast_to(array(self.steps())[:, None], Lambda.shape)
        return Spectrum(diagonal=Lambda, step=step, discretization="bilinear", P=P, Q=Q)

    def system(self, L: int) -> LinearSystem:
        """Return the continuous systems; UsageError unless A = diag(Lambda) - P P^*."""
        name = f"layer {self.kind}"
        self.check_single(name, L)
        _, P, Q, B, C = (value.detach() for value in self.full())
        # An importer computes Q in float64, from P or beside it.
        if len(P) != 1 or not torch.allclose(Q, P.conj(), rtol=1e-12, atol=0.0):
            raise UsageError(f"{name}: its low-rank term is not P P^* of rank 1")
        return LinearSystem(
            **vars(self.spectrum()),
            dt=array(self.steps()),
            B=B.cpu().numpy()[:, :, None],
            C=C[0].cpu().numpy()[:, None],
            D=self.feedthroughs()[:, None, None],
        )


class S4(Trained, GeneralDPLR):
    """DPLR SISO systems, one per channel.

    Parameters: log_dt (d,); log_neg_real, imag (d, m); P, B, C (d, m, 2), m = n/2. Re Lambda < 0
    and -P P^* <= 0 keep every system stable.
    """

    def _start(self, init: Initialization, draw_steps: Callable[[int], Tensor]) -> None:
        if init.P is None or init.n % 2:
            raise UsageError(f"S4 layer: {init.name} at n = {init.n}, expected s4 with even n")
        rule = self.discretization
        require(rule == "bilinear", "S4 layer: discretization", rule, "bilinear")
        values = (init.eigenvalues, init.P, init.B)
        Lambda, P, B = (torch.from_numpy(value).repeat(self.d, 1) for value in values)
        self._hold_log(Lambda, draw_steps(self.d), P=P, B=B)
        self.C = random_readout(init, self.d)

    def full(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return Lambda, P, conj P, B, C with every conjugate, of rank 1 and one channel."""
        halves = (self.eigenvalues(), *map(complex128, (self.P, self.B, self.C)))
        Lambda, P, B, C = (torch.cat([half, half.conj()], dim=1) for half in halves)
        return Lambda, P[None], P.conj()[None], B, C[None]
