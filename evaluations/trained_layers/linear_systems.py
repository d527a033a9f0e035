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

from robustssm.evaluations.suprema import certified
from robustssm.evaluations.suprema.pole_sums import check_stable
from robustssm.layers.systems import LinearSystem
from robustssm.typing import Array, ComplexArray, FloatArray

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


def in_blocks(values: Callable[[FloatArray], Array], theta: FloatArray, entries: int) -> Array:
    """Return values (..., g) at theta (g,) or (c, g), of which BLOCK / entries at a time."""
    theta = np.atleast_2d(theta)
    size = max(1, BLOCK // entries)
    starts = range(0, max(1, theta.shape[1]), size)
    return np.concatenate([values(theta[:, start : start + size]) for start in starts], axis=-1)


@dataclass(frozen=True, kw_only=True)
class LayerSystem(LinearSystem, ABC):
    """The c systems of one layer: one per channel, or the whole layer (S5, c = 1).

    kernel(L) is the layer's own impulse response (c, L), with D on its first entry; (p, q, L) of
    one system of all channels.
    """

    kernel: Callable[[int], FloatArray]

    @cached_property
    def discrete(self) -> ComplexArray:
        """The discrete poles a (c, m), |a| < 1."""
        z = self.poles * self.step
        return np.exp(z) if self.discretization == "zoh" else (1.0 + 0.5 * z) / (1.0 - 0.5 * z)

    @property
    def pole_theta(self) -> FloatArray:
        """The poles' frequencies as samples show them, (c, m) in [0, pi], rad per sample."""
        return np.abs(np.angle(self.discrete))

    def omega(self, theta: FloatArray, step: FloatArray) -> FloatArray:
        """Return theta / step, or (2 / step) tan(theta / 2) for bilinear (infinite at pi)."""
        if self.discretization == "zoh":
            return theta / step
        return np.where(theta >= np.pi, np.inf, 2.0 * np.tan(0.5 * theta) / step)

    @abstractmethod
    def response(self, theta: FloatArray) -> ComplexArray:
        """Return H(e^{i theta}), (c, g), for theta (g,) or (c, g); of S5 (p, q, g)."""

    def gain(self, theta: FloatArray) -> FloatArray:
        """Return |H(e^{i theta})| (largest singular value), (c, g), for theta (g,) or (c, g)."""
        H = self.response(theta)
        return np.abs(H) if H.ndim == 2 else np.linalg.norm(H, ord=2, axis=(0, 1))[None]

    @abstractmethod
    def family(self, lag: int = 0) -> certified.Family:
        """Return z^-lag (H - D) + D, lag 0 or 1, as systems in s = i tan(theta / 2)."""

    def peaks(self, rtol: float) -> list[certified.Bracket]:
        """Return the certified peak gain of every system; omega there is tan(theta / 2)."""
        check_stable(self.poles)
        return certified.brackets(self.family(), rtol)

    @property
    def directions(self) -> "dict[str, LayerSystem]":
        """The systems that a layer is made of, the whole of it first."""
        return {"causal": self}

    @property
    def condition(self) -> FloatArray | None:
        """kappa_2 of the unit eigenvectors of full matrices, (c,); None if poles are stored."""
        return None


class Diagonal(LayerSystem):
    """SISO pole sums, one per channel."""

    def family(self, lag: int = 0) -> certified.PoleSums:
        """Return the pole sums: with a = (1 + mu) / (1 - mu), rho a^-lag."""
        mu, one_plus = cayley(self.poles, self.step, self.discretization)
        scaled, sign = self.B[:, :, 0] * self.C[:, 0] / one_plus, 1.0 - 2.0 * lag
        D = self.D + sign * scaled.sum(axis=1).real[:, None, None]
        one = np.ones((*mu.shape, 1))
        return certified.PoleSums(mu, (scaled * (1.0 + sign * mu))[:, None], one, D)

    def response(self, theta: FloatArray) -> ComplexArray:
        """Return H(e^{i theta}), (c, g)."""
        sums = self.family()
        # The residues rho and poles mu (c, m), and H(-1) (c,), the value at infinite s.
        rho, mu, direct = sums.left[:, 0], sums.poles, sums.D[:, 0, 0]

        def response(part: FloatArray) -> ComplexArray:
            s = 1j * np.tan(0.5 * part)
            value = (rho[:, None] / (s[..., None] - mu[:, None])).sum(axis=2)
            return value + direct[:, None]

        return in_blocks(response, theta, rho.size)


class Dense(LayerSystem):
    """Full state matrices, whose eigenvectors may be bad; by default from Abar of `LinearSystem`.

    With N = I + Abar, M = N^-1 (Abar - I), H = D + C N^-1 B + C (s - M)^-1 (I + M) N^-1 B. A step
    later, z^-1 (H - D) = -C N^-1 B + C (s - M)^-1 (I - M) N^-1 B.
    """

    def family(self, lag: int = 0) -> certified.StateSpaces:
        """Return the state spaces."""
        (M, B, C), sign = self.matrices, 1.0 - 2.0 * lag
        return certified.StateSpaces(M, B + sign * (M @ B), C, self.D + sign * (C @ B))

    @cached_property
    def matrices(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """M, N^-1 B and C, real."""
        assert self.Abar is not None
        eye = np.eye(self.Abar.shape[1])
        C = np.asarray(self.C.real, dtype=np.float64)
        both = np.concatenate([self.Abar - eye, self.B.real], axis=2)
        M, B = np.split(np.linalg.solve(eye + self.Abar, both), [len(eye)], axis=2)
        return M, B, C

    @cached_property
    def condition(self) -> FloatArray:
        """kappa_2 of the unit eigenvectors of each A, (c,), as float64 finds it."""
        return np.linalg.cond(np.linalg.eig(self.matrices[0])[1])

    def response(self, theta: FloatArray) -> ComplexArray:
        """Return H(e^{i theta}), (c, g), or (p, q, g) of one system of all channels."""
        one = self.family()
        A, B, C, D = (part[:, None] for part in (one.A, one.B, one.C, one.D))
        eye = np.eye(A.shape[-1])

        def response(part: FloatArray) -> ComplexArray:
            s = 1j * np.tan(0.5 * np.broadcast_to(part, (len(A), part.shape[1])))
            H: Array = C @ np.linalg.solve(s[..., None, None] * eye - A, B + 0j) + D
            return H[:, :, 0, 0] if B.shape[-1] == 1 else np.moveaxis(H[0], 0, 2)

        return in_blocks(response, theta, A.size + B.size)


class Dplr(Dense):
    """S4: A = diag(Lambda) - P P^*, bilinear."""

    @cached_property
    def matrices(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """M, (dt/2) B and C, real: (c, n, n), (c, n, 1), (c, 1, n)."""
        half = self.diagonal.shape[1] // 2
        eye = np.eye(half)
        # Rows sqrt2 (Re, Im) of a conjugate pair: unitary.
        T = np.block([[eye, eye], [-1j * eye, 1j * eye]]) * 0.5**0.5
        step = 0.5 * self.dt[:, None, None]
        M = (T @ (step * self.A) @ T.conj().T).real
        B = (T @ (step * self.B)).real
        C = (self.C @ T.conj().T).real
        return M, B, C

    def response(self, theta: FloatArray) -> ComplexArray:
        """Return H(e^{i theta}), (c, g), by Woodbury's formula as the layer's kernel."""
        assert self.P is not None
        B, C, P, dt = self.B[:, :, 0], self.C[:, 0], self.P[0], self.dt[:, None]
        sums = np.stack([C * B, C * P, P.conj() * B, P.conj() * P], axis=1)

        def response(part: FloatArray) -> ComplexArray:
            z = np.exp(-1j * part)
            q = 0.5 * dt * (1.0 + z)
            inverse = 1.0 / ((1.0 - z)[:, None] - self.diagonal[:, :, None] * q[:, None])
            CB, CP, PB, PP = np.moveaxis(sums @ inverse, 1, 0)
            return dt * (CB - q * CP * PB / (1.0 + q * PP)) + self.D[:, 0]

        return in_blocks(response, theta, self.diagonal.size)


class Mimo(LayerSystem):
    """S5: one system of all channels; the first half of its poles is stored."""

    def family(self, lag: int = 0) -> certified.PoleSums:
        """Return the pole sum."""
        mu, one_plus = cayley(self.poles, self.step, self.discretization)
        scaled, sign = self.B / one_plus[..., None], 1.0 - 2.0 * lag
        right, D = (1.0 + sign * mu)[..., None] * scaled, sign * (self.C @ scaled).real
        return certified.PoleSums(mu, self.C, right, self.D + D)

    def response(self, theta: FloatArray) -> ComplexArray:
        """Return H(e^{i theta}), (p, q, g)."""
        F = self.family()

        def response(part: FloatArray) -> ComplexArray:
            weight = 1.0 / (1j * np.tan(0.5 * part[0])[:, None] - F.poles)
            return np.moveaxis((F.left * weight[:, None]) @ F.right[0] + F.D, 0, 2)

        return in_blocks(response, theta, self.D.size + self.C.size)
