"""Diagonal state matrices: S4D and S4-PTD (one SISO system a channel), and DSS.

K_l = 2 Re sum_m C_m Bbar_m exp(l z_m), one of each conjugate pair stored. With z = dt A:
zero-order hold has Bbar = B (e^z - 1) / A, bilinear Bbar = B dt / (1 - z/2) and
Abar = (1 + z/2) / (1 - z/2).

References: arXiv 2206.11893, section 3; arXiv 2203.14343, equations (5) to (7); 2310.01698.
"""

import torch
from torch import Tensor, nn

from robustssm.hippo.initializations import Initialization
from robustssm.layers.base import SSMLayer
from robustssm.layers.convolution import exponential_sums


def complex128(pair: Tensor) -> Tensor:
    """Return a parameter stored as (..., 2) real numbers as complex128 (...)."""
    return torch.view_as_complex(pair.double().contiguous())


def real_pair(value: Tensor) -> Tensor:
    """Return a complex tensor (...) as its storage (..., 2)."""
    return torch.view_as_real(value.resolve_conj().contiguous())


def random_step_sizes(count: int, dt_min: float, dt_max: float) -> Tensor:
    """Return log dt, shape (count,), uniform in log between dt_min and dt_max."""
    low, high = torch.log(torch.tensor([dt_min, dt_max], dtype=torch.float64))
    return low + (high - low) * torch.rand(count, dtype=torch.float64)


def random_readout(init: Initialization, d: int) -> Tensor:
    """Return C of shape (d, m), complex: a Gaussian readout of HiPPO's state seen through V.

    Where the basis is not HiPPO's, standard complex normal (real where all poles are).
    Halved at real eigenvalues, whose conjugate is not stored, since kernels take 2 Re.
    """
    m = len(init.eigenvalues)
    weight = torch.from_numpy(init.weight) / 2.0
    if init.V is not None and init.name.family != "dss":
        C = torch.randn(d, init.n, dtype=torch.float64).to(torch.complex128)
        return C @ torch.from_numpy(init.V) * weight
    C = torch.randn(d, m, 2, dtype=torch.float64)
    if (weight == 0.5).all():
        return torch.complex(C[..., 0], torch.zeros_like(C[..., 0])) * weight
    return torch.view_as_complex(C) * 0.5**0.5 * weight


def discrete_diagonal(A: Tensor, dt: Tensor, method: str) -> tuple[Tensor, Tensor]:
    """Return (log Abar, Bbar / B) for diagonal A and step dt, `zoh` or `bilinear`."""
    z = A * dt
    if method == "zoh":
        return z, 2.0 * torch.sinh(0.5 * z) * torch.exp(0.5 * z) / A
    return torch.log((1.0 + 0.5 * z) / (1.0 - 0.5 * z)), dt / (1.0 - 0.5 * z)


class S4D(SSMLayer):
    """Diagonal SISO systems, one a channel: S4D, S4D-Lin, -Inv, -Real, S4-PTD.

    Parameters: log_dt (d,); log_neg_real, imag (d, m); B, C (d, m, 2). Re A = -exp(log_neg_real).
    Where all poles are real at the start (S4D-Real) they stay so.
    """

    def __init__(
        self,
        init: Initialization,
        d: int,
        *,
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        discretization: str = "zoh",
        feedthrough: bool = True,
    ) -> None:
        super().__init__(d, feedthrough)
        self.discretization = discretization
        A = torch.from_numpy(init.eigenvalues)
        self.log_dt = self.dynamics(random_step_sizes(d, dt_min, dt_max))
        self.log_neg_real = self.dynamics(torch.log(-A.real).repeat(d, 1))
        stays_real = bool((A.imag == 0).all())
        self.imag = self.dynamics(A.imag.repeat(d, 1), trainable=not stays_real)
        self.B = self.dynamics(real_pair(torch.from_numpy(init.B).repeat(d, 1)))
        self.C = nn.Parameter(real_pair(random_readout(init, d)).float())

    def eigenvalues(self) -> Tensor:
        """Return the stored poles, shape (d, m), complex128, Re < 0."""
        return torch.complex(-torch.exp(self.log_neg_real.double()), self.imag.double())

    def step_size(self) -> Tensor:
        """Return dt per channel, shape (d,), float64."""
        return torch.exp(self.log_dt.double())

    def modes(self, L: int) -> tuple[Tensor, Tensor]:
        """Return (log Abar, C Bbar), both (d, m); the same for every length L here."""
        A = self.eigenvalues()
        log_Abar, factor = discrete_diagonal(A, self.step_size()[:, None], self.discretization)
        return log_Abar, complex128(self.C) * complex128(self.B) * factor

    def impulse(self, L: int) -> Tensor:
        """Return the kernel, shape (d, L), float64."""
        log_Abar, CB = self.modes(L)
        return 2.0 * exponential_sums(CB, log_Abar, L).real

    def recurrence(self, u: Tensor) -> Tensor:
        """Return x_t = Abar x_{t-1} + Bbar u_t, y_t = 2 Re C x_t + D u_t, step by step."""
        log_Abar, CB = self.modes(u.shape[1])
        Abar = torch.exp(log_Abar)
        x = torch.zeros(u.shape[0], *Abar.shape, dtype=torch.complex128, device=u.device)
        outputs = []
        for t in range(u.shape[1]):
            x = Abar * x + u[:, t, :, None]
            outputs.append(2.0 * (CB * x).sum(-1).real)
        return self.feed_through(u, torch.stack(outputs, dim=1).to(u.dtype))


class DSS(S4D):
    """DSS: B = 1 and the kernel W / A (e^z - 1) e^{lz} (`exp`), or its row-normalised form.

    `softmax` divides by sum_{r<L} e^{r z}, so its kernel depends on L: K_l =
    Re sum W / A e^{l z} / sum_r e^{r z}. Here the order n counts the real system, one of each
    conjugate pair stored; the original stores n free modes. As there, Re without the factor 2,
    and B is not trained.
    """

    def __init__(self, init: Initialization, d: int, **options: object) -> None:
        super().__init__(init, d, **options)  # type: ignore[arg-type]
        self.normalisation = init.name["kernel"]
        self.B.requires_grad_(False)

    def modes(self, L: int) -> tuple[Tensor, Tensor]:
        """Return (z, weights) with half the DSS weights, for the 2 Re of the base class."""
        A = self.eigenvalues()
        z, held = discrete_diagonal(A, self.step_size()[:, None], "zoh")
        weights = 0.5 * complex128(self.C) * held
        return z, weights if self.normalisation == "exp" else weights / (torch.exp(L * z) - 1.0)
