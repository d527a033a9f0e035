"""S5, S5-PTD and LRU: one MIMO system for all channels, diagonal, with a step size per state.

    x_t = Abar x_{t-1} + Bbar u_t,   y_t = f Re(C x_t) + D u_t,

f = 2 if one of each conjugate pair is stored, else 1. By the rule `impulse` Abar = exp(A dt) and
Bbar = B, a system in discrete time if dt is 1. A bidirectional layer runs a second time
from the end, x'_t = Abar x'_{t+1} + Bbar u_t, over the same inputs, u_t included, and adds
f Re(C' x'_t).

References: arXiv 2208.04933, section 3; arXiv 2310.01698, section 4 (S5-PTD);
lindermanlab/S5, s5/ssm.py (class S5SSM); i404788/s5-pytorch, s5/s5_model.py; arXiv 2303.06349,
section 3 (LRU).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from robustssm.errors import UsageError, require_one_of
from robustssm.hippo.initializations import Initialization, ring
from robustssm.layers.base import SSMLayer, array, complex128
from robustssm.layers.parameters import Trained, discrete_diagonal, doubled, real_pair
from robustssm.layers.systems import LinearSystem, Spectrum


class GeneralMIMO(SSMLayer):
    """One diagonal system from d channels to d channels.

    Parameters, float64: dt (n,); A (n, 2); B (n, d, 2); C (directions d, n, 2), the backward ones
    last; D (1, d). factor: 2 if one of each conjugate pair is stored, else 1.
    """

    stored_poles = "A"
    rules: tuple[str, ...] = ("zoh", "bilinear", "impulse")
    factor = 2

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
        require_one_of("MIMO layer: discretization", discretization, self.rules)
        self.discretization, self.factor = discretization, factor
        self._hold(dt=(n,), A=(n, 2), B=(n, d, 2), C=((1 + bidirectional) * d, n, 2), D=(1, d))

    @property
    def order(self) -> int:
        """Order of the real system."""
        return self.factor * len(self.B)

    def step_size(self) -> Tensor:
        """Return the geometric mean step for every channel, shape (d,), float64."""
        return torch.exp(self.log_steps().mean()).expand(self.d)

    def discrete(self) -> tuple[Tensor, Tensor]:
        """Return log Abar (n,) and Bbar (n, d), complex128."""
        log_Abar, held = discrete_diagonal(self.eigenvalues(), self.steps(), self.discretization)
        return log_Abar, complex128(self.B) * held[:, None]

    def step_matrix(self) -> tuple[Tensor, Tensor]:
        """Return M (n, k, k) and F (n, k) of x_t = M x_{t-1} + F (Bbar u)_t, the last part read."""
        Abar = torch.exp(self.discrete()[0])[:, None, None]
        return Abar, torch.ones_like(Abar[:, 0])

    def inputs(self) -> Tensor:
        """Return Bbar (n, d), complex128."""
        return self.discrete()[1]

    def impulse(self, L: int) -> Tensor:
        """Return Abar^l, shape (n, L), complex128."""
        rates = self.discrete()[0]
        return torch.exp(rates[:, None] * torch.arange(L, device=rates.device))

    def mixing(self) -> tuple[Tensor, Tensor]:
        """Return Bbar (n, d) and f C / 2 (d, n), complex128, of y = 2 Re C (impulse * B u)."""
        self.check_causal("one mixing matrix", 0)
        return self.inputs(), 0.5 * self.factor * complex128(self.C)

    def convolve(self, u: Tensor, operator: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the output without D u, in the precision of u (batch, length, channels)."""
        Bbar = self.stored(self.inputs())
        v = torch.complex(u @ Bbar.real.T.to(u.dtype), u @ Bbar.imag.T.to(u.dtype))
        outputs = []
        for direction, C in enumerate(self.stored(complex128(self.C)).split(self.d)):
            x = operator(v.flip(1)).flip(1) if direction else operator(v)
            outputs.append(x.real @ C.real.T.to(u.dtype) - x.imag @ C.imag.T.to(u.dtype))
        return self.factor * sum(outputs[1:], outputs[0])

    def recurrence(self, u: Tensor) -> Tensor:
        """Return the same output as `forward`, step by step, both ways if bidirectional."""
        if self.bidirectional:
            return self.both_ways(u)
        M, F, B, C = map(self.stored, (*self.step_matrix(), self.inputs(), complex128(self.C)))
        M, F = M.to(torch.complex128), F.to(torch.complex128)
        x, outputs = F.new_zeros(len(u), *F.shape), []
        for t in range(u.shape[1]):
            b = u[:, t].to(x.dtype) @ B.T
            x = self.stored((M @ x[..., None])[..., 0] + F * b[..., None])
            outputs.append(self.factor * (x[..., -1] @ C.T).real)
        return self.feed_through(u, torch.stack(outputs, dim=1).to(u.dtype))

    def _built(self, L: int, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        kernel = self.stored(self.impulse(L)).to(dtype.to_complex())
        spectrum = torch.fft.fft(kernel, n=2 * L)

        def convolve(u: Tensor) -> Tensor:
            product = torch.fft.fft(u.transpose(1, 2), n=2 * L) * spectrum
            return torch.fft.ifft(product, n=2 * L)[..., :L].transpose(1, 2)

        return convolve

    def spectrum(self) -> Spectrum:
        """Return the poles of the one system, every conjugate among them if pairs are stored."""
        A, step = self.eigenvalues(), array(self.steps())
        poles = doubled(A) if self.factor == 2 else A.detach().cpu().numpy()
        step = np.tile(step, self.factor)
        return Spectrum(diagonal=poles[None], step=step[None], discretization=self.discretization)

    def system(self, L: int) -> LinearSystem:
        """Return the one system, every stored pole with its conjugate."""
        name = f"layer {self.kind}"
        self.check_causal(name, L)
        A, step = self.eigenvalues(), array(self.steps())
        if bool((A.real >= 0.0).any()):
            raise UsageError(f"{name}: has poles with Re >= 0, expected a stable system")
        Bbar, C = self.mixing()
        return LinearSystem(
            diagonal=doubled(A)[None],
            step=np.tile(step, 2)[None],
            discretization="bilinear" if self.discretization == "bilinear" else "zoh",
            dt=array(self.step_size())[:1],
            B=doubled(Bbar.T).T[None],
            C=doubled(C)[None],
            D=np.diag(self.feedthroughs())[None],
        )


class S5(Trained, GeneralMIMO):
    """One MIMO system of order n from d channels to d channels.

    B = V^-1 B', C = C' V with Gaussian B', C' of variance 1 / fan-in.
    Parameters: log_dt, log_neg_real, imag (m,); B (m, d, 2); C (d, m, 2).
    """

    rules = ("zoh", "bilinear")

    def _start(self, init: Initialization, draw_steps: Callable[[int], Tensor]) -> None:
        assert init.V is not None and init.V_inv is not None
        A, V, V_inv = map(torch.from_numpy, (init.eigenvalues, init.V, init.V_inv))
        B = torch.randn(init.n, self.d, dtype=torch.float64) / self.d**0.5
        C = torch.randn(self.d, init.n, dtype=torch.float64) / init.n**0.5
        weight = torch.from_numpy(init.weight) / 2.0
        self._hold_log(A, draw_steps(len(A)), B=V_inv @ B.to(torch.complex128))
        self.C = nn.Parameter(real_pair(C.to(torch.complex128) @ V * weight).float())


class LRU(Trained, GeneralMIMO):
    """A system in discrete time, x_t = lambda x_{t-1} + gamma B u_t, y_t = Re(C x_t) + D u_t.

    lambda = exp(-exp(log_neg_real) + i exp(log_phase)), first in a ring; gamma^2 = 1 - |lambda|^2
    at first; B and C Gaussian. Parameters: log_neg_real, log_phase, log_gamma (n,); B (n, d, 2);
    C (d, n, 2). There is no step size: time is counted in samples.
    """

    rules = ("impulse",)
    factor = 1
    log_dt = property(lambda self: torch.zeros_like(self.log_neg_real))
    imag = property(lambda self: torch.exp(self.log_phase.double()))

    def _start(self, init: Initialization, draw_steps: Callable[[int], Tensor]) -> None:
        require_one_of("LRU layer: discretization", self.discretization, self.rules)
        n, d = init.n, self.d
        radius, phase = ring(init.name, *torch.rand(2, n, dtype=torch.float64))
        self.log_neg_real = self._dynamics(torch.log(-torch.log(radius)))
        self.log_phase = self._dynamics(torch.log(phase))
        self.log_gamma = self._dynamics(0.5 * torch.log1p(-(radius**2)))
        self.B = self._dynamics(torch.randn(n, d, 2) / (2 * d) ** 0.5)
        self.C = nn.Parameter(torch.randn(d, n, 2) / n**0.5)

    def discrete(self) -> tuple[Tensor, Tensor]:
        """Return log lambda (n,) and gamma B (n, d), complex128."""
        return self.eigenvalues(), torch.exp(self.log_gamma.double())[:, None] * complex128(self.B)
