"""sigma_min(zI - M), the reciprocal of the resolvent's norm, of HiPPO-LegS and its relatives.

`Family` is A_t = A + t P P^T: t = 0 HiPPO, t = 1 its normal part, between them the rank-one
family, tau = t / (2 - t). In the eigenbasis of A_N it is diagonal plus rank one,
zI - A_t = D + c beta beta^* with d_k = z + 1/2 - i y_k, beta_k^2 = 4 / N_k, sum beta_k^2 = n^2
and c = (1 - t) / 2 = (1 - tau) / (2 (1 + tau)), so that sigma_min^2 is the smallest root mu of

    mu T^2 = |w|^2,  T = sum q_k,  w = -1/c + sum q_k d_k,  q_k = beta_k^2 / (mu - |d_k|^2).

By inertia (Haynsworth), the number of roots below mu is that of |d_k|^2 below mu, plus one where
mu T^2 > |w|^2 and T < 0, less one where mu T^2 > |w|^2 and T > 0: sigma_min is bisected, in O(n)
per step, and cannot be missed.

Left of Re z = -1/2 sigma_min is tiny and w cancels. With phi_n(-1-z) = 1 / phi_n(z) the
resolvents of the family satisfy R_tau(z) = -R_{1/tau}(-1-z)^T, and at s = -1-z, right of the line,

    R_{1/tau}(s) = D^-1 + gamma (D^-1 beta)(beta^* D^-1),
    1 / gamma = 2 (1 + sum beta_k^2 / (2 d_k)) (tau + phi_n(s)) / (1 - tau),

    w = 1 / conj(gamma) + mu sum q_k / conj(d_k).

All that is tiny is in phi_n, a product: the relative accuracy is full, at sigma_min = 1e-190 too.
Where the rank-one term outweighs D^-1 by twelve digits its norm is that of the resolvent.

Any other real matrix: `dense_resolvent.Dense`.

References: Trefethen and Embree, Spectra and Pseudospectra (2005), sections 2 and 17; Golub and
Van Loan, Matrix Computations (2013), section 8.4 (diagonal plus rank one). The mirror and its
secular equation are this project's own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from robustssm.evaluations.initializations.responses import in_blocks
from robustssm.hippo import legs
from robustssm.hippo.spectrum import damped_eigenvalues, log_phi_slope, spikes
from robustssm.typing import ComplexArray, FloatArray

# Relative width at which a bisection of sigma_min stops.
TOLERANCE = 1e-12
# Entries of a (points, n) block: 0.5 MiB of float64, so that its passes stay in cache.
BLOCK = 1 << 16
# Distance kept from the mirror line, so that 1/d is finite on it and 1/d^2 too.
OFF_LINE = 1e-140


@dataclass(frozen=True)
class Family:
    """A_t = A + t P P^T with 0 <= tau = t / (2 - t) <= 1, in closed form (see the module).

    sigma_min to about 1e-12 relative, however small, besides what rounding z itself costs: at or
    below `floor` it would only be known to be so, hence 0 here.
    """

    n: int
    tau: float
    floor: float = 0.0

    @cached_property
    def y(self) -> FloatArray:
        """Eigenfrequencies of A_N, all n of them, descending."""
        upper = spikes(self.n)
        return np.concatenate([upper, np.zeros(self.n % 2), -upper[::-1]])

    @cached_property
    def weight(self) -> FloatArray:
        """beta_k^2 = 4 / N_k, shape (n,)."""
        slope = log_phi_slope(self.n, np.asarray(1j * self.y, dtype=np.complex128))
        return np.asarray(-4.0 / slope.real, dtype=np.float64)

    @property
    def c(self) -> float:
        """The coefficient of beta beta^*: 1/2 for HiPPO, 0 for the normal part."""
        return 0.5 * (1.0 - self.tau) / (1.0 + self.tau)

    @cached_property
    def eigenvalues(self) -> ComplexArray:
        """-1..-n, -1/2 +- i y_k, or the roots of phi_n = -1/tau; see `damped_eigenvalues`."""
        if self.tau == 0.0:
            return (-1.0 - np.arange(self.n)).astype(np.complex128)
        if self.tau == 1.0:
            return np.asarray(1j * self.y - 0.5, dtype=np.complex128)
        return damped_eigenvalues(self.n, self.tau)

    @property
    def numerical_abscissa(self) -> float:
        """-1/2, of any v orthogonal to b; n = 1 has none."""
        return -0.5 - self.c if self.n == 1 else -0.5

    def log10_sigma(self, z: ComplexArray) -> FloatArray:
        """Return log10 sigma_min(zI - A_t), the shape of z; -inf at an eigenvalue."""
        return in_blocks(self._log10_sigma, z, 1 << 14)

    def _log10_sigma(self, z: ComplexArray) -> FloatArray:
        size = max(1, BLOCK // self.n)
        if self.tau == 1.0:
            distance = in_blocks(
                lambda part: np.abs(part[:, None] - self.eigenvalues).min(axis=1), z, size
            )
            with np.errstate(divide="ignore"):
                return np.log10(distance)
        # -1 - z is exact left of the line. phi needs no block: it is a loop over the state.
        left = z.real < -0.5
        s = np.where(left, -1.0 - z, z)
        phi = legs.phi(self.n, s)
        factor = np.where(left, self.tau + phi, -1.0 - self.tau * phi)
        with np.errstate(divide="ignore"):
            log10_factor = np.log10(np.abs(factor))
            # Beside 1e-280 phi would be subnormal: the sum of logarithms goes on.
            tiny = left & (log10_factor < -280.0)
            if self.tau == 0.0 and tiny.any():
                i = np.arange(self.n)[:, None]
                logs = np.log10(np.abs(s[tiny] - i)) - np.log10(np.abs(s[tiny] + (i + 1)))
                log10_factor[tiny] = logs.sum(axis=0)
        parts = [slice(start, start + size) for start in range(0, len(z), size)]
        return np.concatenate(
            [self._block(s[p], left[p], factor[p], log10_factor[p]) for p in parts]
        )

    def _block(
        self, s: ComplexArray, left: np.ndarray, factor: ComplexArray, log10_factor: FloatArray
    ) -> FloatArray:
        """Return log10 sigma_min at mirrored points s; factor is tau + phi or -1 - tau phi."""
        a = np.maximum(s.real + 0.5, OFF_LINE)
        offset = s.imag[:, None] - self.y
        square = (a * a)[:, None] + offset * offset
        near = np.full((2, len(s)), np.inf)
        near[: min(2, self.n)] = np.partition(square, min(1, self.n - 1), axis=1)[:, :2].T
        closest = np.sqrt(near[0])
        poles = self.weight / square
        F = poles.sum(axis=1)
        cap = 1.0 + 0.5 * (a * F - 1j * np.einsum("mk,mk->m", poles, offset))
        inverse = 2.0 * cap * factor / (1.0 - self.tau)
        result = np.log10(2.0 * np.abs(cap) / ((1.0 - self.tau) * F)) + log10_factor
        todo = np.flatnonzero(np.abs(inverse) > TOLERANCE * F * closest)
        if not len(todo):
            return result
        inverse, square, closest = inverse[todo], square[todo], closest[todo]
        a, offset, left, near = a[todo], offset[todo], left[todo], near[:, todo]
        # Both forms of w are exact; the one whose constant is smaller cancels less.
        direct = np.abs(inverse) * self.c > 1.0
        constant = np.where(direct, np.where(left, 1.0, -1.0) / self.c, np.conj(inverse))
        share = np.where(direct[:, None], 1.0, 1.0 / square)
        shared_offset = share * offset

        def root_below(sigma: FloatArray) -> np.ndarray:
            mu = sigma * sigma
            gap = mu[:, None] - square
            gap[gap == 0.0] = np.finfo(np.float64).tiny
            q = self.weight / gap
            T = q.sum(axis=1)
            w = a * np.einsum("mk,mk->m", q, share) + 1j * np.einsum("mk,mk->m", q, shared_offset)
            w = constant + np.where(direct, 1.0, mu) * w
            definite = sigma * np.abs(T) > np.abs(w)
            below = np.sum(mu > near, axis=0) + definite * np.where(T < 0.0, 1, -1)
            return below > 0

        norm = F[todo] / np.abs(inverse)
        low = 1.0 / (norm + 1.0 / closest)
        high = np.minimum(np.sqrt(near[1]), closest + self.c * self.n**2)
        result[todo] = np.log10(_bisect(root_below, low, high))
        return result

    def support(self, theta: FloatArray) -> tuple[FloatArray, ComplexArray]:
        """Return the support function and boundary points at theta (m,) in (0, pi), both (m,).

        e^{-i theta} A_t has a Hermitian part diagonal plus rank one: the same secular equation.
        """
        cos, sin = np.cos(theta)[:, None], np.sin(theta)[:, None]
        d = sin * self.y - 0.5 * cos
        if self.c == 0.0 or self.n == 1:
            extreme = 1j * self.y[0] - 0.5 - self.c * self.n**2
            return (np.exp(-1j * theta) * extreme).real, np.full(len(theta), extreme)
        rho, gap = -self.c * cos[:, 0], d - d[:, :1]
        negative = rho < 0.0
        low = np.where(negative, np.maximum(gap[:, 1], rho * self.n**2), 0.0)
        high = np.where(negative, 0.0, rho * self.n**2)
        for _ in range(100):
            middle = 0.5 * (low + high)
            difference = gap - middle[:, None]
            difference[difference == 0.0] = np.finfo(np.float64).tiny
            f = 1.0 + rho * (self.weight / difference).sum(axis=1)
            above = (f > 0.0) == negative
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        v = np.sqrt(self.weight) / difference
        v /= np.linalg.norm(v, axis=1)[:, None]
        real = -0.5 - self.c * (v @ np.sqrt(self.weight)) ** 2
        return d[:, 0] + middle, np.asarray(real + 1j * ((v * v) @ self.y), dtype=np.complex128)


def _bisect(
    below: Callable[[FloatArray], np.ndarray], low: FloatArray, high: FloatArray
) -> FloatArray:
    """Return the point in (low, high), both > 0, from which on `below` holds, geometrically."""
    steps = int(np.ceil(np.log2(max(1.0, np.max(np.log(high / low)) / TOLERANCE))))
    for _ in range(steps):
        middle = np.sqrt(low * high)
        beyond = below(middle)
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    return np.sqrt(low * high)
