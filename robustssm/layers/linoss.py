"""LinOSS and D-LinOSS: one MIMO system of P forced, damped oscillators with complex inputs.

With x'' = -a x - g x' + b, z = x' and b = B u_t, a step of size h takes each of the three terms at
its beginning (0) or at its end (1), which alpha, beta and gamma say of a x, g z and z:

    z_t = z_{t-1} + h (b - a x_{t-1+alpha} - g z_{t-1+beta}),  x_t = x_{t-1} + h z_{t-1+gamma},
    y_t = Re(C x_t) + D u_t.

(z, x) is complex and its step M is real, so that a response of x to b is real: e_x M^l F, by
doubling, since poles and residues lose their digits where the two poles of an oscillator meet.

References: arXiv 2410.03943 (`im`, `imex`; g = 0), 2505.12171 (D-LinOSS, which is `imex`);
tk-rusch/linoss and jaredbmit/damped-linoss, models/LinOSS.py.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.linalg import block_diag
from torch import Tensor, nn

from robustssm.errors import UsageError, require, require_one_of
from robustssm.hippo.initializations import Initialization, ring
from robustssm.layers.base import SSMLayer, array, complex128
from robustssm.layers.mimo import GeneralMIMO
from robustssm.layers.parameters import Trained
from robustssm.layers.systems import LinearSystem, Spectrum

# alpha, beta and gamma.
STEPS = {"im": (1, 1, 1), "imex": (0, 1, 1), "imex2": (0, 0, 1), "ex": (0, 0, 0)}
# A pole that forgets at once, whose logarithm is finite.
_FORGETS = 1e-130
# Poles on the circle nearer to each other than this are one and the same.
_APART = 1e-6
# Squared steps below it are raised to it before they divide.
_SMALLEST = 1e-6


def projected(rule: str, a: Tensor, g: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Return stiffness and damping (P,) where D-LinOSS has them, on the border if outside.

    There the poles of an oscillator are a conjugate pair, and those of its continuous system too
    (`im`, `ex`). Not a number where h g > 1 (`imex2`), as in the original.
    """
    if rule in ("imex", "imex2"):
        g = torch.relu(g)
        signed = h * g if rule == "imex" else -h * g
        root, squared = 2.0 * torch.sqrt(1.0 + signed), torch.clamp(h * h, min=_SMALLEST)
        low, high = (2.0 + signed - root) / squared, (2.0 + signed + root) / squared
        return torch.minimum(torch.maximum(a, low), high), g
    g = torch.maximum(g, -h * a if rule == "im" else h * a)
    return torch.maximum(a, 0.25 * g * g), g


class Oscillators(GeneralMIMO):
    """P oscillators that d channels share.

    Parameters, float64: A, G, dt (P,), stiffness, damping and step size as they act; B (P, d, 2);
    C (d, P, 2); D (1, d). discretization: one of STEPS.
    """

    stored_poles = ""
    rules = tuple(STEPS)
    factor = 1
    G: Tensor

    def __init__(self, d: int, *, n: int, discretization: str = "imex") -> None:
        SSMLayer.__init__(self, d)
        require_one_of("oscillators: discretization", discretization, self.rules)
        self.discretization = discretization
        self._hold(A=(n,), G=(n,), dt=(n,), B=(n, d, 2), C=(d, n, 2), D=(1, d))

    @property
    def order(self) -> int:
        """Number of poles: each oscillator has a pair, and z and x are complex."""
        return 2 * len(self.B)

    def forces(self) -> tuple[Tensor, Tensor]:
        """Return stiffness a and damping g as they act, (P,), float64."""
        return self.A.double(), self.G.double()

    def _terms(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return h, the sides of (z, x) of a step (P, 2, 2), and the left one's determinant - 1."""
        alpha, beta, gamma = STEPS[self.discretization]
        (a, g), h = self.forces(), self.steps()
        damping, spring, one = h * g, h * a, torch.ones_like(h)
        right = [one - (1 - beta) * damping, -(1 - alpha) * spring, (1 - gamma) * h, one]
        # The inverse of the left side, times its determinant.
        left = [one, -alpha * spring, gamma * h, one + beta * damping]
        sides = (torch.stack(side, dim=-1).unflatten(-1, (2, 2)) for side in (left, right))
        return h, *sides, beta * damping + gamma * alpha * h * spring

    def step_matrix(self) -> tuple[Tensor, Tensor]:
        """Return M (P, 2, 2) and F (P, 2) of (z, x)_t = M (z, x)_{t-1} + F b, float64."""
        h, left, right, beyond = self._terms()
        left = left / (1.0 + beyond)[:, None, None]
        return left @ right, left[..., 0] * h[:, None]

    def eigenvalues(self) -> Tensor:
        """Return log of the two poles of each oscillator over its step, (2 P,), complex128."""
        h, _, right, beyond = self._terms()
        M = self.step_matrix()[0]
        half = 0.5 * (M[:, 0, 0] + M[:, 1, 1])
        apart = (0.5 * (M[:, 0, 0] - M[:, 1, 1])) ** 2 + M[:, 0, 1] * M[:, 1, 0]
        # |mu|^2 of a pair is the determinant: `imex` without g is on the circle to the last bit.
        det = right[:, 0, 0] * right[:, 1, 1] - right[:, 0, 1] * right[:, 1, 0]
        modulus = torch.log(det.abs().clamp(min=_FORGETS**2)) - torch.log1p(beyond)
        angle = torch.atan2(torch.sqrt((-apart).clamp(min=0.0)), half)
        pair = torch.complex(0.5 * modulus, angle)
        first = half + torch.copysign(torch.sqrt(apart.clamp(min=0.0)), half)
        second = det / (1.0 + beyond) / torch.where(first == 0.0, 1.0, first)
        logs = []
        for mu, conjugate in ((first, pair), (second, pair.conj())):
            real = torch.where(mu.abs() < _FORGETS, _FORGETS, mu)
            logs.append(torch.where(apart > 0.0, torch.log(real + 0j), conjugate) / h)
        return torch.cat(logs)

    def inputs(self) -> Tensor:
        """Return B (P, d), complex128."""
        return complex128(self.B)

    def impulse(self, L: int) -> Tensor:
        """Return the response of x to b of each oscillator, (P, L), real in complex128."""
        M, F = self.step_matrix()
        powers = F[:, :, None]
        while powers.shape[2] < L:
            powers, M = torch.cat([powers, M @ powers], dim=2), M @ M
        x = powers[:, 1, :L]
        return torch.complex(x, torch.zeros_like(x))

    def spectrum(self) -> Spectrum:
        """Return the poles of the oscillators, 2 P of them."""
        poles, step = self.eigenvalues().detach().cpu().numpy(), np.tile(array(self.steps()), 2)
        return Spectrum(diagonal=poles[None], step=step[None], discretization="zoh")

    def system(self, L: int) -> LinearSystem:
        """Return the one system with its state matrix, since its poles may coincide."""
        spectrum = self.spectrum()
        z = (spectrum.diagonal * spectrum.step).reshape(2, -1)
        meet = np.abs(np.exp(z[0]) - np.exp(z[1])) < _APART
        # Poles on the circle, without damping, have a response, unless two of them coincide.
        if ((z.real > 0.0) | (z.real == 0.0) & meet).any():
            raise UsageError(f"layer {self.kind}: an oscillator grows, expected a stable system")
        M, F = map(array, self.step_matrix())
        B, C = (value.detach().cpu().numpy() for value in (self.inputs(), complex128(self.C)))
        force = (F[:, :, None] * part[:, None] for part in (B.real, B.imag))
        read = (part[:, :, None] * np.array([0.0, 1.0]) for part in (C.real, -C.imag))
        return LinearSystem(
            **vars(spectrum),
            dt=array(self.step_size())[:1],
            B=np.concatenate([part.reshape(-1, self.d) for part in force])[None],
            C=np.concatenate([part.reshape(self.d, -1) for part in read], axis=1)[None],
            D=np.diag(self.feedthroughs())[None],
            Abar=block_diag(*M, *M)[None],
        )


class LinOSS(Trained, Oscillators):
    """LinOSS-IM, LinOSS-IMEX or D-LinOSS, n / 2 oscillators.

    Parameters: A_diag, step_logit and, of D-LinOSS, G_diag (n / 2,); B (n / 2, d, 2);
    C (d, n / 2, 2). h = sigmoid(step_logit); a = relu(A_diag), or a and g as `projected`. At first
    A_diag and step_logit are uniform on [0, 1]; of D-LinOSS step_logit is normal, deviation 1/2,
    and the poles lie in a ring. B and C are uniform.
    """

    log_dt = property(lambda self: nn.functional.logsigmoid(self.step_logit.double()))
    eigenvalues, damp = Oscillators.eigenvalues, Oscillators.damp

    def _start(self, init: Initialization, draw_steps: Callable[[int], Tensor]) -> None:
        require(init.n % 2 == 0, f"{init.name}: state size", init.n, "an even one")
        rule, n, d = self.discretization, init.n // 2, self.d
        require(rule == self.rules[0], f"{init.name}: discretization", rule, "its own, default")
        self.discretization = "im" if init.name.base == "linoss-im" else "imex"
        a, logit = torch.rand(2, n, dtype=torch.float64)
        self.damped = init.name.base == "dlinoss"
        if self.damped:
            # Of `imex` |lambda|^2 = 1 / (1 + h g), and |1 - lambda|^2 = h^2 a / (1 + h g).
            radius, phase = ring(init.name, a, logit)
            logit = 0.5 * torch.randn(n, dtype=torch.float64)
            h = torch.sigmoid(logit)
            square = (1.0 - radius) ** 2 + 4.0 * radius * torch.sin(0.5 * phase) ** 2
            a = square / (h * radius) ** 2
            self.G_diag = self._dynamics((radius**-2 - 1.0) / h)
        self.A_diag, self.step_logit = self._dynamics(a), self._dynamics(logit)
        self.B = self._dynamics((2.0 * torch.rand(n, d, 2) - 1.0) / d**0.5)
        self.C = nn.Parameter((2.0 * torch.rand(d, n, 2) - 1.0) / n**0.5)

    def forces(self) -> tuple[Tensor, Tensor]:
        """Return stiffness a and damping g as they act, (P,), float64."""
        a = self.A_diag.double()
        if self.damped:
            return projected("imex", a, self.G_diag.double(), self.steps())
        return torch.relu(a), torch.zeros_like(a)
