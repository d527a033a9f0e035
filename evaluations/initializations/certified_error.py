"""Certified sup_omega |G_a - G|, the distance of a LegS system from HiPPO with the same readout.

G_t = G / (1 + tau phi_n), phi_n = r e^{i psi}: r = omega / hypot(omega, n) grows, psi falls: on
[a, b] the smallest |1 + tau phi_n| is known from the ends alone, spikes included. Together with
the bound of C x (`hippo_bounds`) that is first order in b - a and sees every spike; on short
intervals D = G_t - G is interpolated as a whole, which is of second order near a peak.
"""

from dataclasses import dataclass

import numpy as np

from robustssm.evaluations.initializations.hippo_bounds import (
    MONOMIALS,
    NODES,
    HippoReadout,
    interpolation_error,
)
from robustssm.evaluations.initializations.responses import Damped, Response, is_hippo, paired
from robustssm.evaluations.suprema.certified import Bracket
from robustssm.evaluations.suprema.expansions import TERMS, ColumnSums
from robustssm.evaluations.suprema.subdivision import Enclosure, blocks, polynomial_bound, supremum
from robustssm.hippo import legs
from robustssm.hippo.spectrum import spikes
from robustssm.typing import ComplexArray, FloatArray, IntArray

# Ratio of neighbouring ends of the first intervals.
GROWTH = 1.25
# Intervals up to this long are interpolated as a whole; the disc has radius 1/4.
SHORT = 0.125


@dataclass(frozen=True)
class DampedDifference:
    """|G_t - G| = tau |phi C x| / |1 + tau phi| in the rank-one family."""

    hippo: HippoReadout
    tau: float

    def values(self, row: IntArray, at: FloatArray) -> FloatArray:
        """Return the modulus of the difference."""
        n = self.hippo.n
        denominator = np.abs(legs.normal_ratio(n, at, self.tau))
        scale = self.tau * at / np.hypot(at, n) / denominator
        if self.hippo.C is None:
            return scale * (n / np.hypot(at, n))
        return scale * np.abs(self.hippo.values(at)[..., 0])

    def bounds(self, row: IntArray, low: FloatArray, high: FloatArray) -> FloatArray:
        """Return the product of the factors' bounds, or that of an interpolant on short ones."""
        result = self.factors(low, high)
        short = high - low <= SHORT
        if self.hippo.C is not None and short.any():
            result[short] = np.minimum(result[short], self.interpolated(low[short], high[short]))
        return result

    def interpolated(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """Return the bound of the interpolant and its error, from the disc of radius 1/4.

        There |phi|^2 <= exp(-S/2), S <= sum (2j+1) / |s + j + 1|^2, keeps 1 + tau phi from zero;
        the sum is at least ln(1 + n^2/c^2) - 1/c - min(pi/(2c), n/c^2) over (1 + 1/(4c))^2.
        """
        n, c, h = self.hippo.n, 0.5 * (low + high), 0.5 * (high - low)
        omega = c[:, None] + h[:, None] * NODES
        r = omega / np.hypot(omega, n)
        phi = r * np.exp(1j * legs.phase(n, np.maximum(omega, legs.FLOOR)))
        values = self.hippo.values(omega)[..., 0] * phi / legs.normal_ratio(n, omega, self.tau)
        safe = np.maximum(c, legs.FLOOR)
        S = np.log1p((n / safe) ** 2) - 1.0 / safe - np.minimum(0.5 * np.pi / safe, n / safe**2)
        largest = np.exp(-0.25 * np.maximum(S, 0.0) / (1.0 + 0.25 / np.maximum(safe, 1.0)) ** 2)
        quarter = np.full_like(c, 0.25)
        K = self.hippo.disc_bound(c, 2.0 * quarter) * largest * interpolation_error(quarter, h)
        with np.errstate(divide="ignore"):
            tail = K / (1.0 - self.tau * largest)
        return self.tau * polynomial_bound((values @ MONOMIALS.T)[:, :, None], tail)

    def factors(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """Return the product of the factors' bounds."""
        n = self.hippo.n
        psi_low, psi_high = (legs.phase(n, np.maximum(end, legs.FLOOR)) for end in (high, low))
        # Does an odd multiple of pi lie between? Then cos^2(psi / 2) reaches 0.
        turns = np.floor(0.5 + psi_low / (2.0 * np.pi)) != np.floor(0.5 + psi_high / (2.0 * np.pi))
        cosine = np.minimum(np.cos(0.5 * psi_low) ** 2, np.cos(0.5 * psi_high) ** 2)
        cosine = np.where(turns, 0.0, cosine)
        hypot = np.hypot(high, n)
        r_high, gap = high / hypot, n * (n / (hypot * (hypot + high)))  # gap = 1 - r_high
        # r / |1 + tau r e^{i psi}| grows with r.
        least = np.hypot(1.0 - self.tau + self.tau * gap, 2.0 * np.sqrt(self.tau * r_high * cosine))
        return self.tau * r_high / least * self.hippo.bounds(low, high)

    def at_infinity(self) -> float:
        """Return K with |G_t - G| <= K / omega beyond n^2, where |1 + tau phi| >= 1."""
        return self.tau * self.hippo.at_infinity()


@dataclass(frozen=True)
class DiagonalDifference:
    """|sum_k r_k / (s - lambda_k) - C x|: residues (m, p) at all poles (m,), p = 1 or n."""

    hippo: HippoReadout
    poles: ComplexArray
    residues: ComplexArray

    def values(self, row: IntArray, at: FloatArray) -> FloatArray:
        """Return the modulus of the difference."""
        result = np.empty(len(at))
        for part in blocks(len(at), len(self.poles) + self.hippo.n):
            weight = 1.0 / (1j * at[part, None] - self.poles)
            difference = weight @ self.residues - self.hippo.values(at[part])
            result[part] = np.linalg.norm(difference, axis=1)
        return result

    def bounds(self, row: IntArray, low: FloatArray, high: FloatArray) -> FloatArray:
        """Return the bound of both polynomials' difference and their remainders."""
        result = np.empty(len(low))
        none = np.zeros((1, self.residues.shape[1]))
        columns = ColumnSums(self.poles[None], self.residues[None], none)
        for part in blocks(len(low), TERMS * (len(self.poles) + self.hippo.n)):
            zero = np.zeros(len(low[part]), dtype=np.int64)
            of_poles, poles_tail = columns.expand(zero, low[part], high[part])
            of_hippo, hippo_tail = self.hippo.expand(low[part], high[part])
            result[part] = polynomial_bound(of_poles - of_hippo, poles_tail + hippo_tail)
        return result

    def at_infinity(self) -> float:
        """Return K with |G_a - G| <= K / omega beyond twice the largest pole."""
        return 2.0 * float(np.sum(np.linalg.norm(self.residues, axis=1))) + self.hippo.at_infinity()


def certified_error(system: Response, rtol: float = 1e-9) -> Bracket:
    """Return the bracket of sup_omega |G_a(i omega) - G(i omega)|; rtol: the gap asked for."""
    if is_hippo(system) or not np.any(system.C):
        return Bracket(0.0, 0.0, 0.0)
    readout = HippoReadout(system.n, system.C)
    if isinstance(system, Damped):
        return damped_error(readout, system.tau, rtol)
    poles, residues = paired(system)
    return _search(DiagonalDifference(readout, poles, residues[:, None]), system.n, poles, rtol)


def damped_error(readout: HippoReadout, tau: float, rtol: float = 1e-9) -> Bracket:
    """Return the bracket of sup |G_t - G| in the rank-one family, 0 < tau <= 1, C not zero."""
    none = np.zeros(0, dtype=np.complex128)
    return _search(DampedDifference(readout, tau), readout.n, none, rtol)


def diagonalization_error(
    poles: ComplexArray,
    V: ComplexArray,
    B: ComplexArray,
    C: FloatArray | None = None,
    rtol: float = 1e-6,
) -> Bracket:
    """Return the bracket of sup_omega |C (V (i omega - Lambda)^-1 B - x(i omega))|.

    poles (n,), V (n, n), B (n,), all modes, Re < 0; C (n,), or None for the worst readout |C| = 1,
    whose error is the 2-norm of the states' difference. Negative omega counts if the spectrum
    or the residues are not closed under conjugation.
    """
    n = len(poles)
    if C is not None and not np.any(C):
        return Bracket(0.0, 0.0, 0.0)
    readout = HippoReadout(n, C)
    residues = (V * B).T if C is None else ((C @ V) * B)[:, None]
    upper = _search(DiagonalDifference(readout, poles, residues), n, poles, rtol)
    order, mirrored = np.lexsort((poles.imag, poles.real)), np.conj(poles)
    other = np.lexsort((mirrored.imag, mirrored.real))
    conjugate = np.conj(residues)[other]
    scale = 1e-9 * float(np.abs(residues).max())
    if np.allclose(poles[order], mirrored[other], rtol=1e-9, atol=0.0) and np.allclose(
        residues[order], conjugate, rtol=1e-6, atol=scale
    ):
        return upper
    # x is real: at -omega the difference is the conjugate of that of the conjugate system.
    lower = _search(DiagonalDifference(readout, mirrored, np.conj(residues)), n, mirrored, rtol)
    omega = upper.omega if upper.low >= lower.low else -lower.omega
    return Bracket(max(upper.low, lower.low), max(upper.high, lower.high), omega)


def _search(
    difference: DampedDifference | DiagonalDifference, n: int, poles: ComplexArray, rtol: float
) -> Bracket:
    """Return the bracket over [0, end], end so far out that the rest is below a value found."""
    probe = np.concatenate([spikes(n, min(n // 2, 8)), np.geomspace(0.1, n * n, 64)])
    known = float(difference.values(np.zeros(len(probe), dtype=np.int64), probe).max())
    far = max(4.0 * n * n, 2.0 * float(np.abs(poles).max(initial=0.0)))
    end = max(far, difference.at_infinity() / max(known, 1e-300))
    count = int(np.ceil(np.log(end / 0.5) / np.log(GROWTH)))
    edges = np.concatenate([[0.0], np.geomspace(0.5, end, count + 1)])
    zeros = np.zeros(count + 1, dtype=np.int64)
    enclosure: Enclosure = difference
    best, bound, _, at = supremum(enclosure, zeros, zeros, edges[:-1], edges[1:], rtol)
    return Bracket(float(best[0]), float(bound[0]), float(at[0]))
