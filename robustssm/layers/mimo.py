"""S5 and S5-PTD: one MIMO system for all channels, diagonal, with a step size per state.

x_t = Abar x_{t-1} + Bbar u_t, y_t = 2 Re C x_t + D u_t, one of each conjugate pair stored.
B = V^-1 B', C = C' V with Gaussian B', C' of variance 1 / fan-in.

Reference: arXiv 2208.04933, section 3; arXiv 2310.01698, section 4 (S5-PTD).
"""

import torch
from torch import Tensor, nn

from robustssm.hippo.initializations import Initialization
from robustssm.layers.base import SSMLayer
from robustssm.layers.convolution import exponentials
from robustssm.layers.diagonal import (
    complex128,
    discrete_diagonal,
    random_step_sizes,
    real_pair,
)


class S5(SSMLayer):
    """One MIMO system of order n from d channels to d channels.

    Parameters: log_dt, log_neg_real, imag (m,); B (m, d, 2); C (d, m, 2).
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
        assert init.V is not None and init.V_inv is not None
        self.discretization = discretization
        A = torch.from_numpy(init.eigenvalues)
        V, V_inv = torch.from_numpy(init.V), torch.from_numpy(init.V_inv)
        B = torch.randn(init.n, d, dtype=torch.float64) / d**0.5
        C = torch.randn(d, init.n, dtype=torch.float64) / init.n**0.5
        weight = torch.from_numpy(init.weight) / 2.0
        self.log_dt = self.dynamics(random_step_sizes(len(A), dt_min, dt_max))
        self.log_neg_real = self.dynamics(torch.log(-A.real))
        self.imag = self.dynamics(A.imag.clone())
        self.B = self.dynamics(real_pair(V_inv @ B.to(torch.complex128)))
        self.C = nn.Parameter(real_pair(C.to(torch.complex128) @ V * weight).float())

    def step_size(self) -> Tensor:
        """Return the geometric mean step for every channel, shape (d,), float64."""
        return torch.exp(self.log_dt.double().mean()).expand(self.d)

    def _discrete(self) -> tuple[Tensor, Tensor]:
        """Return log Abar (m,) and Bbar (m, d)."""
        A = torch.complex(-torch.exp(self.log_neg_real.double()), self.imag.double())
        log_Abar, factor = discrete_diagonal(
            A, torch.exp(self.log_dt.double()), self.discretization
        )
        return log_Abar, complex128(self.B) * factor[:, None]

    def impulse(self, L: int) -> Tensor:
        """Return Abar^l, shape (m, L), complex128."""
        return exponentials(self._discrete()[0], L)

    def mixing(self) -> tuple[Tensor, Tensor]:
        """Return Bbar (m, d) and C (d, m), complex128."""
        return self._discrete()[1], complex128(self.C)

    def recurrence(self, u: Tensor) -> Tensor:
        """Return the same output step by step through the state."""
        log_Abar, Bbar = self._discrete()
        Abar, C = torch.exp(log_Abar), complex128(self.C)
        x = torch.zeros(u.shape[0], len(Abar), dtype=torch.complex128, device=u.device)
        outputs = []
        for t in range(u.shape[1]):
            x = Abar * x + u[:, t].to(x.dtype) @ Bbar.T
            outputs.append(2.0 * (x @ C.T).real)
        return self.feed_through(u, torch.stack(outputs, dim=1).to(u.dtype))
