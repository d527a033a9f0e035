"""An initialisation seen as a single-input, single-output system, and its difference from HiPPO.

C is the readout in HiPPO's coordinates; G(s) = C (sI - A)^-1 B is the reference. Two kinds:

    Damped      G / (1 + tau phi_n): tau = 0 is G itself (HiPPO, its DPLR form, and -1..-n with the
                readout that reproduces G), tau = 1 the normal part with B/2, between them the
                rank-one family;
    Diagonal    sum_k r_k / (s - lambda_k): poles and residues of any other.

Each is known by its poles (one of each conjugate pair) and residues, so that H2 norms are finite
sums, and by `transfer` and `error` on the imaginary axis. omega is in rad per unit time.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from robustssm.errors import UsageError, require
from robustssm.hippo import legs
from robustssm.hippo.initializations import Name, formula_poles, initialization
from robustssm.hippo.spectrum import damped_eigenvalues, log_phi_slope, spikes
from robustssm.typing import Array, ComplexArray, FloatArray

# Entries of a (frequencies, poles) block: 1 MiB of float64, so that its passes stay in cache.
BLOCK = 1 << 17
# A dense eigenvalue problem of a full matrix: minutes beyond this size.
MAX_DENSE = 512
# A Cauchy Gram matrix takes 8 n^2 bytes, and about three times that while it is built.
MAX_GRAM = 8192


def in_blocks(curve: Callable[[ComplexArray], Array], z: ComplexArray, size: int) -> Array:
    """Return the curve at every point of z, any shape, `size` points at a time."""
    z = np.asarray(z, dtype=np.complex128)
    points = z.ravel()
    starts = range(0, len(points), size)
    parts = [curve(points[start : start + size]) for start in starts]
    return np.concatenate([*parts, np.empty(0)]).reshape(z.shape)


@dataclass(frozen=True)
class Response(ABC):
    """A real system: C (n,), poles and residues (m,), Im >= 0, one of each conjugate pair.

    A pair contributes r / (s - lambda) and its conjugate, a real pole its r / (s - lambda) once.
    """

    C: FloatArray
    poles: ComplexArray
    residues: ComplexArray

    @property
    def n(self) -> int:
        """State size of the reference."""
        return len(self.C)

    @property
    def weight(self) -> FloatArray:
        """2 for a conjugate pair, 1 for a real pole, shape (m,)."""
        return np.where(self.poles.imag == 0.0, 1.0, 2.0)

    @abstractmethod
    def transfer(self, omega: FloatArray) -> ComplexArray:
        """Return G_a(i omega), the shape of omega."""

    @abstractmethod
    def error(self, omega: FloatArray) -> ComplexArray:
        """Return G_a(i omega) - G(i omega), the shape of omega."""


def on_axis(omega: FloatArray) -> ComplexArray:
    """Return i omega."""
    return np.asarray(1j * omega, dtype=np.complex128)


def reference(C: FloatArray, s: ComplexArray) -> ComplexArray:
    """Return G(s) by Horner's rule; zeros that end C cost nothing, A being lower triangular."""
    nonzero = np.flatnonzero(C)
    if not len(nonzero):
        return np.zeros_like(s)
    return legs.transfer(C[: nonzero[-1] + 1], s)


def paired(system: Response) -> tuple[ComplexArray, ComplexArray]:
    """Return all poles and residues, conjugates included."""
    pair = system.poles.imag != 0.0
    poles = np.concatenate([system.poles, np.conj(system.poles[pair])])
    return poles, np.concatenate([system.residues, np.conj(system.residues[pair])])


@dataclass(frozen=True)
class Damped(Response):
    """G / (1 + tau phi_n), in closed form; its error -G tau phi / (1 + tau phi) cancels nothing.

    At tau = 0 the poles -1..-n are left out, their residues being astronomic.
    """

    tau: float

    def transfer(self, omega: FloatArray) -> ComplexArray:
        """Return G / (1 + tau phi_n) at i omega."""
        return reference(self.C, on_axis(omega)) / legs.normal_ratio(self.n, omega, self.tau)

    def error(self, omega: FloatArray) -> ComplexArray:
        """Return -G tau phi_n / (1 + tau phi_n) at i omega, phi_n from its modulus and phase."""
        if self.tau == 0.0:
            return np.zeros(omega.shape, dtype=np.complex128)
        w = np.maximum(np.abs(omega), legs.FLOOR)
        phi = w / np.hypot(w, self.n) * np.exp(1j * legs.phase(self.n, w))
        phi = np.where(omega < 0, np.conj(phi), phi)
        return -self.tau * phi * self.transfer(omega)


def is_hippo(system: Response) -> bool:
    """Return whether the system is HiPPO itself, with no error."""
    return isinstance(system, Damped) and system.tau == 0.0


class Diagonal(Response):
    """Poles and residues."""

    def transfer(self, omega: FloatArray) -> ComplexArray:
        """Return sum_k r_k / (i omega - lambda_k)."""
        return self.at(on_axis(omega))

    def error(self, omega: FloatArray) -> ComplexArray:
        """Return the sum less G."""
        return self.transfer(omega) - reference(self.C, on_axis(omega))

    def at(self, s: ComplexArray) -> ComplexArray:
        """Return the sum at any s but a pole, its shape.

        Summed over pairs as (2 Re(r) s - 2 Re(r conj lambda)) / ((s - lambda)(s - conj lambda)).

        The denominator d^2 + (y - w)(y + w) + 2 i d w, s = x + i w, lambda = a + i y, d = x - a,
        is formed in real numbers: three times faster, and nothing cancels near a pole.
        """
        r, a, y = 0.5 * self.weight * self.residues, self.poles.real, self.poles.imag
        numerator = np.stack([2.0 * r.real, -2.0 * (r * np.conj(self.poles)).real], axis=1)

        def total(z: ComplexArray) -> ComplexArray:
            d, w = z.real[:, None] - a, z.imag[:, None]
            real, imag = d * d + (y - w) * (y + w), 2.0 * d * w
            square = real * real + imag * imag
            sums = (real / square) @ numerator - 1j * ((imag / square) @ numerator)
            return z * sums[:, 0] + sums[:, 1]

        return in_blocks(total, s, max(1, BLOCK // max(1, len(a))))


def real_gram(poles: ComplexArray) -> FloatArray:
    """Return the Cauchy matrix -1 / (conj p_k + p_l) of a conjugate-closed set, in real form.

    poles (m,), Im >= 0, Re < 0, one of each pair. The result is symmetric positive definite, of
    order n (pairs twice, real poles once), unitarily similar to the Hermitian matrix of all n:
    the rows are those of (e_k + e_k') / sqrt 2 for all k, then of i (e_k - e_k') / sqrt 2 for
    the pairs.
    """
    paired = poles.imag != 0.0
    same = -1.0 / (np.conj(poles)[:, None] + poles)
    cross = -1.0 / (np.conj(poles)[:, None] + np.conj(poles))
    scale = np.where(paired, 1.0, np.sqrt(0.5))
    even = scale[:, None] * (same + cross).real * scale
    mixed = scale[:, None] * (cross - same).imag[:, paired]
    odd = (same - cross).real[np.ix_(paired, paired)]
    return np.block([[even, mixed], [mixed.T, odd]])


def optimal(C: FloatArray, poles: ComplexArray) -> Diagonal:
    """Return the real system with these poles that is nearest to G in H2.

    It interpolates G at the mirrored poles: the Gram system sum_l r_l / (-conj p_k - p_l) =
    G(-conj p_k), solved in real form by Cholesky. Reference: Gugercin, Antoulas and Beattie,
    SIAM J. Matrix Anal. 30 (2008), Theorem 3.4 (the residues for given poles).
    """
    expected = (
        f"at most {MAX_GRAM}, for which the Gram matrix of the poles fits into memory; use s4d or "
        "s4ptd-rank1"
    )
    require(len(C) <= MAX_GRAM, "optimal readout: state size", len(C), expected)
    paired = poles.imag != 0.0
    scale = np.where(paired, 1.0, np.sqrt(0.5))
    G = reference(C, -np.conj(poles))
    right = np.concatenate([scale * G.real, G.imag[paired]])
    factor = cho_factor(real_gram(poles), lower=True, overwrite_a=True, check_finite=False)
    solution = cho_solve(factor, right, check_finite=False)
    # A pair's a and b enter as a (f + conj f) + i b (f - conj f); a real pole's as 2 a f.
    residues = (solution[: len(poles)] * np.where(paired, 1.0, np.sqrt(2.0))).astype(np.complex128)
    residues[paired] += 1j * solution[len(poles) :]
    return Diagonal(C, poles, residues)


def damped(C: FloatArray, tau: float) -> Damped:
    """Return G / (1 + tau phi_n): residues -C x(lambda) / L(lambda + 1/2), L = d ln phi / ds.

    tau = 1 is the normal part with B/2. Raises StabilityError for tau near or below tau_c.
    """
    n = len(C)
    if tau == 1.0:
        poles = on_axis(np.concatenate([spikes(n), np.zeros(n % 2)])) - 0.5
    else:
        poles = damped_eigenvalues(n, tau)[: (n + 1) // 2]
    residues = -reference(C, poles) / log_phi_slope(n, poles + 0.5)
    return Damped(C, poles, residues, tau)


def require_dense(name: Name, n: int) -> None:
    """Raise UsageError if a dense perturbation of this state size takes too long to diagonalise."""
    expected = (
        f"at most {MAX_DENSE} for a dense perturbation; use s4ptd-rank1, which has every size in "
        "closed form"
    )
    require(n <= MAX_DENSE, f"{name}: state size", n, expected)


def response(name: Name, C: FloatArray) -> Response:
    """Return the initialisation `name` with HiPPO readout C (n,) as a SISO system.

    Raises UsageError if it does not exist at this size, StabilityError if it is unstable
    or nearly defective.
    """
    expected = "0: what the filter does depends on the length"
    require(
        name.family != "sobolev", f"{name}: sobolev", dict(name.parameters).get("sobolev"), expected
    )
    none = np.zeros(0, dtype=np.complex128)
    match name.base:
        case "s4" | "s4d-real":
            return Damped(C, none, none, 0.0)
        case "s4d" if float(name["alpha"]) == 1.0:
            return damped(C, 1.0)
        case "s5" | "dss":
            return damped(C, 1.0)
        case "s4ptd-rank1" | "s5ptd-rank1":
            return damped(C, float(name["tau"]))
    if name.method is None:
        poles = formula_poles(name, len(C))
        if poles.real.max() >= 0.0:
            raise UsageError(f"{name}: undamped oscillators, expected poles with Re < 0")
        return optimal(C, poles)
    if name.method == "random":  # what else is dense ships, or does not
        require_dense(name, len(C))
    dense = initialization(str(name), len(C))
    assert dense.V is not None
    return Diagonal(C, dense.eigenvalues, (C @ dense.V) * dense.B)
