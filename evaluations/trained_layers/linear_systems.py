"""SSM layers as linear systems: poles, transfer functions, certified peaks.

A diagonal layer is, one of each conjugate pair or real pole written out,

    H = D + sum_k w_k / (1 - a_k / z),  z = e^{i theta},  theta in rad per sample.

With s = (z - 1) / (z + 1), which is i tan(theta / 2) on the circle, 1 / z = (1 - s) / (1 + s) and

    H = D + sum_k w_k / (1 + a_k) + sum_k rho_k / (s - mu_k),
    mu_k = (a_k - 1) / (a_k + 1),  rho_k = 2 a_k w_k / (1 + a_k)^2,

a continuous system with the same values on the circle, hence the same H-infinity norm, and the
same Hankel singular values. A pole near a_k = -1 goes to |mu_k| near 2 / |1 + a_k|, finite since
|a_k| < 1; there H loses the factor |mu_k| of its digits. Zero-order hold has a = exp(lambda dt),
bilinear mu = lambda dt / 2. S4 (bilinear, A dense) has

    H = D + (dt/2) C B + (dt/2) C (s - M)^-1 (I + M) B,  M = A dt / 2.

A softmax kernel of DSS has weights that depend on the length L; its transfer function here is
that of the kernel continued with those weights for all time, while layers use l < L alone.

References: Zhou, Doyle and Glover, Robust and Optimal Control (1996), section 21.3 for the
bilinear map; Glover, Int. J. Control 39 (1984) for its Hankel singular values.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from robustssm.evaluations.suprema.certified import (
    Bracket,
    PoleSum,
    peak_gain,
    peak_gains,
    peak_gains_dense,
)
from robustssm.typing import ComplexArray, FloatArray

# exp(-300) is zero beside any other mode, and its square does not underflow.
LOWEST_EXPONENT = -300.0
# Complex numbers in one block of frequencies times poles (or matrix entries): 32 MiB.
BLOCK = 1 << 21


def fold(theta: FloatArray) -> FloatArray:
    """Return the frequency in [0, pi], rad per sample, that samples cannot tell from theta."""
    two_pi = 2.0 * np.pi
    return np.abs(theta - two_pi * np.round(np.asarray(theta) / two_pi))


def cayley(poles: ComplexArray, step: FloatArray, method: str) -> tuple[ComplexArray, ComplexArray]:
    """Return mu = (a - 1) / (a + 1) and 1 + a for continuous poles with Re < 0.

    poles, step of one shape (units of time and its inverse); method `zoh` or `bilinear`. With
    lambda dt = x + iy, mu = (sinh x + i sin y) / (cosh x + cos y); the denominator is
    2 sinh^2(x/2) + 2 cos^2(y/2), free of cancellation at a = -1.
    """
    z = poles * step
    if method == "bilinear":
        return 0.5 * z, 2.0 / (1.0 - 0.5 * z)
    x = np.maximum(z.real, LOWEST_EXPONENT)
    y = z.imag - 2.0 * np.pi * np.round(z.imag / (2.0 * np.pi))
    mu = (np.sinh(x) + 1j * np.sin(y)) / (2.0 * np.sinh(0.5 * x) ** 2 + 2.0 * np.cos(0.5 * y) ** 2)
    # 1 + a = 2 / (1 - mu), without cancellation since Re mu < 0.
    return mu, 2.0 / (1.0 - mu)


def dense_matrix(Lambda: ComplexArray, P: ComplexArray) -> ComplexArray:
    """Return diag(Lambda) - P P^*, (c, n, n), of Lambda and P (c, n)."""
    return Lambda[:, None] * np.eye(Lambda.shape[1]) - P[:, :, None] * P[:, None].conj()


@dataclass(frozen=True)
class LayerSystem(ABC):
    """The c systems of one layer: one a channel, or the whole layer (S5, c = 1).

    dt (c,): step sizes, for S5 the geometric mean over states; poles (c, m): continuous poles,
    every conjugate among them; step (c, m): the step size of each pole; discretization: `zoh` or
    `bilinear`.
    """

    dt: FloatArray
    poles: ComplexArray
    step: FloatArray
    discretization: str

    @cached_property
    def mapped(self) -> ComplexArray:
        """The poles mu (c, m) in s = i tan(theta / 2)."""
        return cayley(self.poles, self.step, self.discretization)[0]

    @cached_property
    def discrete(self) -> ComplexArray:
        """The discrete poles a (c, m), |a| < 1."""
        z = self.poles * self.step
        return np.exp(z) if self.discretization == "zoh" else (1.0 + 0.5 * z) / (1.0 - 0.5 * z)

    @property
    def pole_theta(self) -> FloatArray:
        """The poles' frequencies as samples show them, (c, m) in [0, pi], rad per sample."""
        return np.abs(np.angle(self.discrete))

    @property
    def aliased(self) -> np.ndarray:
        """Whether |Im lambda| dt > pi, (c, m); never for bilinear, which folds nothing."""
        if self.discretization == "bilinear":
            return np.zeros(self.poles.shape, dtype=bool)
        return np.abs(self.poles.imag) * self.step > np.pi

    def omega(self, theta: FloatArray, step: FloatArray) -> FloatArray:
        """Return theta / step, or (2 / step) tan(theta / 2) for bilinear (infinite at pi)."""
        if self.discretization == "zoh":
            return theta / step
        return np.where(theta >= np.pi, np.inf, 2.0 * np.tan(0.5 * theta) / step)

    @abstractmethod
    def gain(self, theta: FloatArray) -> FloatArray:
        """Return |H(e^{i theta})| (largest singular value), (c, g), for theta (g,) or (c, g)."""

    @abstractmethod
    def peaks(self, rtol: float) -> list[Bracket]:
        """Return the certified peak gain of every system; omega there is tan(theta / 2)."""


@dataclass(frozen=True)
class Diagonal(LayerSystem):
    """SISO pole sums, one a channel: weight w (c, m), feedthrough (c,).

    kernel(L) is the layer's own impulse response (c, L), with D on its first entry.
    """

    weight: ComplexArray
    feedthrough: FloatArray
    kernel: Callable[[int], FloatArray]

    @cached_property
    def residues(self) -> tuple[ComplexArray, FloatArray]:
        """The residues rho (c, m), and H(-1) (c,), the value at infinite s."""
        mu, one_plus = cayley(self.poles, self.step, self.discretization)
        # 2 a w / (1 + a)^2 with a = (1 + mu) / (1 - mu).
        scaled = self.weight / one_plus
        return scaled * (1.0 + mu), self.feedthrough + scaled.sum(axis=1).real

    def gain(self, theta: FloatArray) -> FloatArray:
        """Return |H(e^{i theta})|, (c, g)."""
        rho, direct = self.residues
        theta = np.atleast_2d(theta)
        result = np.empty((len(self.dt), theta.shape[1]))
        block = max(1, BLOCK // rho.size)
        for start in range(0, theta.shape[1], block):
            s = 1j * np.tan(0.5 * theta[:, start : start + block])
            value = (rho[:, None] / (s[..., None] - self.mapped[:, None])).sum(axis=2)
            result[:, start : start + block] = np.abs(value + direct[:, None])
        return result

    def peaks(self, rtol: float) -> list[Bracket]:
        """Return the certified peak gain of every channel."""
        return peak_gains(self.mapped, *self.residues, rtol)


@dataclass(frozen=True)
class Dense(LayerSystem):
    """S4: A = diag(Lambda) - P P^*, bilinear; Lambda, P, B, C (c, n), feedthrough, kernel."""

    Lambda: ComplexArray
    P: ComplexArray
    B: ComplexArray
    C: ComplexArray
    feedthrough: FloatArray
    kernel: Callable[[int], FloatArray]

    @cached_property
    def state_space(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """M, (dt/2) (I + M) B, C and H(-1), real: (c, n, n), (c, n, 1), (c, 1, n), (c, 1, 1)."""
        half = self.Lambda.shape[1] // 2
        eye = np.eye(half)
        # Rows sqrt2 (Re, Im) of a conjugate pair: unitary.
        T = np.block([[eye, eye], [-1j * eye, 1j * eye]]) * 0.5**0.5
        step = 0.5 * self.dt[:, None, None]
        M = (T @ (step * dense_matrix(self.Lambda, self.P)) @ T.conj().T).real
        B = (T @ (step * self.B[:, :, None])).real
        C = (self.C[:, None] @ T.conj().T).real
        return M, B + M @ B, C, self.feedthrough[:, None, None] + C @ B

    @cached_property
    def condition(self) -> FloatArray:
        """kappa_2 of the unit eigenvectors of each A, (c,), as float64 finds it."""
        return np.linalg.cond(np.linalg.eig(self.state_space[0])[1])

    def gain(self, theta: FloatArray) -> FloatArray:
        """Return |H(e^{i theta})|, (c, g), by Woodbury's formula as the layer's kernel."""
        theta = np.atleast_2d(theta)
        result = np.empty((len(self.dt), theta.shape[1]))
        block = max(1, BLOCK // self.Lambda.size)
        Pc, dt = self.P.conj(), self.dt[:, None]
        sums = np.stack([self.C * self.B, self.C * self.P, Pc * self.B, Pc * self.P], axis=1)
        for start in range(0, theta.shape[1], block):
            z = np.exp(-1j * theta[:, start : start + block])
            q = 0.5 * dt * (1.0 + z)
            inverse = 1.0 / ((1.0 - z)[:, None] - self.Lambda[:, :, None] * q[:, None])
            CB, CP, PB, PP = np.moveaxis(sums @ inverse, 1, 0)
            value = dt * (CB - q * CP * PB / (1.0 + q * PP)) + self.feedthrough[:, None]
            result[:, start : start + block] = np.abs(value)
        return result

    def peaks(self, rtol: float) -> list[Bracket]:
        """Return the certified peak gain of every channel, from the state space itself."""
        return peak_gains_dense(*self.state_space, rtol)


@dataclass(frozen=True)
class Mimo(LayerSystem):
    """S5: one system; left (d, m), right (m, d), D (d, d). The first half of poles is stored."""

    left: ComplexArray
    right: ComplexArray
    D: FloatArray

    @cached_property
    def pole_sum(self) -> PoleSum:
        """The system in s."""
        mu, one_plus = cayley(self.poles, self.step, self.discretization)
        scaled = self.right / one_plus[0][:, None]
        right = (1.0 + mu[0])[:, None] * scaled
        return PoleSum(mu[0], self.left, right, self.D + (self.left @ scaled).real)

    def gain(self, theta: FloatArray) -> FloatArray:
        """Return the largest singular value of H(e^{i theta}), (1, g)."""
        tangent = np.tan(0.5 * np.atleast_2d(theta)[0])
        block = max(1, BLOCK // (self.D.size + self.left.size))
        parts = [tangent[k : k + block] for k in range(0, len(tangent), block)]
        norms = [np.linalg.norm(self.pole_sum.transfer(w), ord=2, axis=(1, 2)) for w in parts]
        return np.concatenate(norms)[None]

    def peaks(self, rtol: float) -> list[Bracket]:
        """Return the certified peak gain of the layer."""
        return [peak_gain(self.pole_sum, rtol)]
