"""Parameters of layers: those that training starts from, and how complex ones are stored."""

from abc import abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from robustssm.hippo.initializations import Initialization
from robustssm.layers.base import SSMLayer
from robustssm.typing import ComplexArray


def real_pair(value: Tensor) -> Tensor:
    """Return a complex tensor (...) as its storage (..., 2)."""
    return torch.view_as_real(value.resolve_conj().contiguous())


def with_conjugates(value: Tensor) -> Tensor:
    """Return (..., n) followed by its conjugate, (..., 2 n)."""
    return torch.cat([value, value.conj()], dim=-1).resolve_conj()


def doubled(value: Tensor) -> ComplexArray:
    """Return stored modes (..., n) and their conjugates, (..., 2 n), as an array."""
    half = value.detach().cpu().numpy()
    return np.concatenate([half, half.conj()], axis=-1)


# e^z is below half an ulp of 1 from -37 on, and sinh(z / 2) finite down to -1420.
_FAST = -700.0


def discrete_diagonal(A: Tensor, dt: Tensor, method: str) -> tuple[Tensor, Tensor]:
    """Return (log Abar, Bbar / B) for diagonal A and step dt: `zoh`, `bilinear` or `impulse`."""
    z = A * dt
    if method == "impulse":
        return z, torch.ones_like(z)
    if method == "zoh":
        # Of poles so fast that sinh overflows, e^z is 0 to the last bit: (e^z - 1) / A is exact.
        fast = z.real < _FAST
        slow = torch.where(fast, 0.0, z)
        factor = 2.0 * torch.sinh(0.5 * slow) * torch.exp(0.5 * slow)
        return z, torch.where(fast, -1.0, factor) / A
    return torch.log((1.0 + 0.5 * z) / (1.0 - 0.5 * z)), dt / (1.0 - 0.5 * z)


def random_readout(init: Initialization, d: int) -> nn.Parameter:
    """Return C (d, m), stored as (d, m, 2): a Gaussian readout of HiPPO's state seen through V.

    If the basis is not HiPPO's, standard complex normal (real if all poles are).
    Halved at real eigenvalues, whose conjugate is not stored, since kernels take 2 Re.
    """
    weight = torch.from_numpy(init.weight) / 2.0
    if init.V is not None and init.name.family != "dss":
        C = torch.randn(d, init.n, dtype=torch.float64).to(torch.complex128)
        C = C @ torch.from_numpy(init.V)
    else:
        pair = torch.randn(d, len(weight), 2, dtype=torch.float64)
        real = torch.complex(pair[..., 0], torch.zeros_like(pair[..., 0]))
        C = real if (weight == 0.5).all() else torch.view_as_complex(pair) * 0.5**0.5
    return nn.Parameter(real_pair(C * weight).float())


class Trained(SSMLayer):
    """A layer that training starts from an initialisation: log dt, log(-Re A) and Im A.

    Re A = -exp(log_neg_real) keeps every system stable. If all poles are real at the start
    (S4D-Real) they stay so. The first step sizes of d channels are uniform in log dt, between
    dt_min and dt_max; discretization: one of `rules`, empty for the first; feedthrough: D.
    """

    def __init__(
        self,
        init: Initialization,
        d: int,
        *,
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        discretization: str = "",
        feedthrough: bool = True,
    ) -> None:
        # Not the parameters of the general layer, which this one computes from its own.
        SSMLayer.__init__(self, d, feedthrough=feedthrough)
        self.discretization = discretization or self.rules[0]
        low, high = torch.log(torch.tensor([dt_min, dt_max], dtype=torch.float64))
        self._start(init, lambda count: low + (high - low) * torch.rand(count, dtype=torch.float64))

    @abstractmethod
    def _start(self, init: Initialization, draw_steps: Callable[[int], Tensor]) -> None:
        """Make the parameters; draw_steps(count) draws log dt, shape (count,)."""

    def _hold_log(self, A: Tensor, log_dt: Tensor, **pairs: Tensor) -> None:
        """Make the parameters log_dt, log_neg_real, imag, and complex ones as (..., 2)."""
        self.log_dt = self._dynamics(log_dt)
        self.log_neg_real = self._dynamics(torch.log(-A.real))
        self.imag = self._dynamics(A.imag.clone(), trainable=not bool((A.imag == 0).all()))
        for key, value in pairs.items():
            setattr(self, key, self._dynamics(real_pair(value)))

    def _dynamics(self, parameter: Tensor, trainable: bool = True) -> nn.Parameter:
        """Return `parameter` as a float32 Parameter of the dynamics (own learning rate)."""
        result = nn.Parameter(parameter.float(), requires_grad=trainable)
        result.ssm = True  # type: ignore[attr-defined]
        return result

    def eigenvalues(self) -> Tensor:
        """Return the stored poles, complex128, Re < 0."""
        return torch.complex(-torch.exp(self.log_neg_real.double()), self.imag.double())

    @torch.no_grad()
    def damp(self, factors: Tensor) -> None:
        """Multiply -Re of the stored poles by factors, of their shape or broadcast to it."""
        self.log_neg_real.add_(torch.log(factors).to(self.log_neg_real.dtype))

    def log_steps(self) -> Tensor:
        """Return log dt as it is stored, float64."""
        return self.log_dt.double()

    def steps(self) -> Tensor:
        """Return dt as it is stored, float64."""
        return torch.exp(self.log_dt.double())
