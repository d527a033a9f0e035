"""S5 layers of other code bases: one diagonal MIMO system for all channels.

    x_t = Abar x_{t-1} + Bbar u_t,   y_t = f Re(C x_t) + D u_t,

f = 2 where one of each conjugate pair is stored, else 1. A bidirectional layer runs a second time
from the end, x'_t = Abar x'_{t+1} + Bbar u_t, over the same inputs, u_t included, and adds
f Re(C' x'_t).

References: lindermanlab/S5, s5/ssm.py (class S5SSM); i404788/s5-pytorch, s5/s5_model.py.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from robustssm.errors import UsageError
from robustssm.layers.convolution import exponentials
from robustssm.layers.diagonal import complex128, discrete_diagonal
from robustssm.layers.general import GeneralLayer


class GeneralMIMO(GeneralLayer):
    """One diagonal system from d channels to d channels.

    Parameters, float64: dt (n,); A (n, 2); B (n, d, 2); C (directions d, n, 2), the backward ones
    last; D (1, d). factor: 2 where one of each conjugate pair is stored, else 1.
    """

    def __init__(
        self,
        d: int,
        *,
        n: int,
        bidirectional: bool = False,
        discretization: str = "zoh",
        factor: int = 2,
    ) -> None:
        super().__init__(d, bidirectional=bidirectional)
        if discretization not in ("zoh", "bilinear"):
            raise UsageError(
                f"MIMO layer: discretization is {discretization!r}, expected zoh or bilinear"
            )
        self.n, self.discretization, self.factor = n, discretization, factor
        self.dt, self.A = self.exact(n), self.exact(n, 2)
        self.B = self.exact(n, d, 2)
        self.C = self.exact((2 if bidirectional else 1) * d, n, 2)
        self.D = self.exact(1, d)

    @property
    def order(self) -> int:
        """Order of the real system."""
        return self.factor * self.n

    def eigenvalues(self) -> Tensor:
        """Return the stored poles, shape (n,), complex128."""
        return complex128(self.A)

    def step_size(self) -> Tensor:
        """Return the geometric mean step for every channel, shape (d,), float64."""
        return torch.exp(torch.log(self.dt.double()).mean()).expand(self.d)

    def discrete(self) -> tuple[Tensor, Tensor]:
        """Return log Abar (n,) and Bbar (n, d), complex128."""
        log_Abar, held = discrete_diagonal(
            self.eigenvalues(), self.dt.double(), self.discretization
        )
        return log_Abar, complex128(self.B) * held[:, None]

    def readouts(self) -> tuple[Tensor, ...]:
        """Return C of each direction, (d, n), complex128."""
        return complex128(self.C).split(self.d)

    def impulse(self, L: int) -> Tensor:
        """Return Abar^l, shape (n, L), complex128."""
        return exponentials(self.discrete()[0], L)

    def mixing(self) -> tuple[Tensor, Tensor]:
        """Return Bbar (n, d) and f C / 2 (d, n), complex128, of y = 2 Re C (impulse * B u)."""
        self.causal("one mixing matrix")
        return self.discrete()[1], 0.5 * self.factor * self.readouts()[0]

    def convolve(self, u: Tensor, operator: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the output without D u, in the precision of u (batch, length, channels)."""
        if not self.bidirectional:
            return super().convolve(u, operator)
        Bbar = self.discrete()[1]
        v = torch.complex(u @ Bbar.real.T.to(u.dtype), u @ Bbar.imag.T.to(u.dtype))
        states = operator(v), operator(v.flip(1)).flip(1)
        y = torch.zeros_like(u)
        for x, C in zip(states, self.readouts(), strict=True):
            y = y + x.real @ C.real.T.to(u.dtype) - x.imag @ C.imag.T.to(u.dtype)
        return self.factor * y

    def recurrence(self, u: Tensor) -> Tensor:
        """Return the same output as `forward`, step by step, both ways where bidirectional."""
        log_Abar, Bbar = self.discrete()
        Abar = torch.exp(log_Abar)
        v = u.to(torch.complex128) @ Bbar.T
        y = torch.zeros(u.shape, dtype=torch.float64, device=u.device)
        for direction, C in enumerate(self.readouts()):
            steps = v.flip(1) if direction else v
            x, states = torch.zeros_like(v[:, 0]), []
            for t in range(v.shape[1]):
                x = Abar * x + steps[:, t]
                states.append(x)
            outputs = self.factor * (torch.stack(states, dim=1) @ C.T).real
            y = y + (outputs.flip(1) if direction else outputs)
        return self.feed_through(u, y.to(u.dtype))
