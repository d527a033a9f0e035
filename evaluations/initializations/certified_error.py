"""Certified sup_omega |G_a - G|, the distance of a LegS system from HiPPO with the same readout.

G_t = G / (1 + tau phi_n), phi_n = r e^{i psi}: r = omega / hypot(omega, n) grows, psi falls: on
[a, b] the smallest |1 + tau phi_n| is known from the ends alone, spikes included. Together with
the bound of C x (`hippo_bounds`) that is first order in b - a and sees every spike; on short
intervals D = G_t - G is interpolated as a whole, which is of second order near a peak.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from robustssm.evaluations.initializations.hippo_bounds import (
    NODES,
    HippoReadout,
    interpolant,
    interpolation_error,
)
from robustssm.evaluations.initializations.responses import Damped, Response, is_hippo, paired
from robustssm.evaluations.suprema.certified import Bracket
from robustssm.evaluations.suprema.expansions import TERMS
from robustssm.evaluations.suprema.pole_sums import PoleSums
from robustssm.evaluations.suprema.subdivision import (
    U,
    blocks,
    middle,
    polynomial_bound,
    supremum,
)
from robustssm.hippo import legs
from robustssm.hippo.spectrum import spikes
from robustssm.typing import ComplexArray, FloatArray, IntArray

# Ratio of neighbouring ends of the first intervals.
GROWTH = 1.25
# Rounding of `legs.phase`, in u: 21 of its integrals' terms, twice, 25 of its sums, 2 cut off, and
# one of omega.
PHASE = 80.0
# Intervals up to this long are interpolated as a whole; the disc has radius 1/4.
SHORT = 0.125
# Terms of a sum in closed form that are also summed one by one, where n is small.
FIRST = 8


@dataclass(frozen=True)
class DampedDifference:
    """|G_t - G| = tau |phi C x| / |1 + tau phi| in the rank-one family.

    phi has the modulus r and the computed phase psi at a frequency that differs from omega by at
    most d(psi) (omega^2 + n^2) / n^2, since -psi' >= n^2 / (omega^2 + n^2), and `low` is attained
    there. A bound instead holds for every phase within d(psi) of the computed ones.
    """

    hippo: HippoReadout
    tau: float

    def phase(self, omega: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return psi (omega) and its rounding."""
        psi = legs.phase(self.hippo.n, np.maximum(omega, legs.FLOOR))
        return psi, PHASE * U * psi

    def modulus(self, omega: FloatArray, cosine: FloatArray) -> FloatArray:
        """Return |1 + tau phi| / r with |cos(psi / 2)| given, in which nothing cancels."""
        n, hypot = self.hippo.n, np.hypot(omega, self.hippo.n)
        r, gap = omega / hypot, n * (n / (hypot * (hypot + omega)))  # gap = 1 - r
        least = np.hypot(1.0 - self.tau + self.tau * gap, 2.0 * np.sqrt(self.tau * r) * cosine)
        return np.asarray(least / np.maximum(r, legs.FLOOR))

    def values(self, row: IntArray, at: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the modulus of the difference and its rounding."""
        n = self.hippo.n
        psi, shift = self.phase(at)
        factor = self.tau / self.modulus(at, np.abs(np.cos(0.5 * psi)))
        envelope = self.hippo.envelope(at, at)
        if self.hippo.C is None:
            size, rounding = n / np.hypot(at, n), np.zeros(len(at))
        else:
            size = np.abs(self.hippo.values(at)[..., 0])
            rounding = self.hippo.units(at) * envelope
        # The frequency is off by `away` of itself; C x turns no more than phi.
        away = shift * (at / n**2 + 1.0 / np.maximum(at, legs.FLOOR))
        result = np.where(at > 0.0, factor * size, 0.0)
        moved = (8.0 * away + 60.0 * U) * size + (away + shift) * envelope
        return result, np.where(at > 0.0, factor * (rounding + moved), 0.0)

    def bounds(
        self, row: IntArray, low: FloatArray, high: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the product of the factors' bounds, or that of an interpolant on short ones."""
        result, rounding = self.factors(low, high)
        short = np.flatnonzero((high - low <= SHORT) & (self.hippo.C is not None))
        if len(short):
            other = self.interpolated(*middle(low[short], high[short]))
            result[short] = np.minimum(result[short], other)
        # Where the interpolant is rounded more, shorter intervals still help the factors.
        return result, rounding

    def interpolated(self, c: FloatArray, h: FloatArray) -> FloatArray:
        """Return the bound of the interpolant and its error, from the disc of radius 1/4.

        There |phi|^2 <= exp(-S/2), S <= sum (2j+1) / |s + j + 1|^2, keeps 1 + tau phi from zero;
        the sum is at least ln(1 + n^2/c^2) - 1/c - min(pi/(2c), n/c^2) over (1 + 1/(4c))^2, and
        no smaller than its first terms.
        """
        n = self.hippo.n
        omega = c[:, None] + h[:, None] * NODES
        r, (psi, shift) = omega / np.hypot(omega, n), self.phase(omega)
        ratio = legs.normal_ratio(n, omega, self.tau)
        values = self.hippo.values(omega)[..., 0] * (r * np.exp(1j * psi)) / ratio
        # phi and 1 + tau phi are off by the phase's rounding, and some units, each.
        away = (shift + 12.0 * U) * (1.0 + 1.0 / np.abs(ratio))
        low, rows = np.maximum(c - h, 0.0), np.arange(len(c))[:, None]
        envelope = self.hippo.envelope(low, c + h)
        known = self.hippo.units(low) * envelope
        rounding = (known[rows] + (away + 8.0 * U) * envelope[rows]) * r / np.abs(ratio)
        coefficients, rounding = interpolant(values[..., None], rounding.max(axis=1))
        safe = np.maximum(c, legs.FLOOR)
        S = np.log1p((n / safe) ** 2) - 1.0 / safe - np.minimum(0.5 * np.pi / safe, n / safe**2)
        S = np.maximum(S, 0.0) / (1.0 + 0.25 / np.maximum(safe, 1.0)) ** 2
        j = np.arange(min(n, FIRST))
        first = np.sum((2 * j + 1) / (np.hypot(c[:, None], j + 1.0) + 0.25) ** 2, axis=1)
        largest = np.exp(-0.25 * np.maximum(S, first))
        quarter = np.full_like(c, 0.25)
        K = self.hippo.disc_bound(c, 2.0 * quarter) * largest * interpolation_error(quarter, h)
        with np.errstate(divide="ignore"):
            # 1 - tau largest may be as small as its own rounding.
            tail = K / np.maximum(1.0 - self.tau * largest - 40.0 * U, 0.0)
        return self.tau * polynomial_bound(coefficients, tail + rounding) * (1.0 + 4.0 * U)

    def factors(self, low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the product of the factors' bounds, and its rounding."""
        (psi_low, under), (psi_high, over) = self.phase(high), self.phase(low)
        # Does an odd multiple of pi lie between? Then |cos(psi / 2)| reaches 0.
        first, last = psi_low - under, psi_high + over
        turns = np.floor(0.5 + first / (2.0 * np.pi)) != np.floor(0.5 + last / (2.0 * np.pi))
        cosine = np.minimum(
            np.abs(np.cos(0.5 * psi_low)) - under, np.abs(np.cos(0.5 * psi_high)) - over
        )
        cosine = np.where(turns, 0.0, np.maximum(cosine, 0.0))
        # |1 + tau r e^{i psi}| / r falls as r grows.
        factor = self.tau / self.modulus(high, cosine) * (1.0 + 60.0 * U)
        bound, rounding = self.hippo.bounds(low, high)
        return factor * bound, factor * (rounding + 60.0 * U * bound)

    def at_infinity(self) -> float:
        """Return K with |G_t - G| <= K / omega beyond n^2, where |1 + tau phi| >= 1."""
        return self.tau * self.hippo.at_infinity()


@dataclass(frozen=True)
class DiagonalDifference:
    """|sum_k r_k / (s - lambda_k) - C x|: residues (m, p) at all poles (m,), p = 1 or n."""

    hippo: HippoReadout
    poles: ComplexArray
    residues: ComplexArray

    @cached_property
    def sums(self) -> PoleSums:
        """The sum over the poles."""
        one, none = np.ones((1, len(self.poles), 1)), np.zeros((1, self.residues.shape[1], 1))
        return PoleSums(self.poles[None], self.residues.T[None], one, none)

    def values(self, row: IntArray, at: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the modulus of the difference and its rounding."""
        result, rounding = np.empty(len(at)), np.empty(len(at))
        for part in blocks(len(at), self.sums.size + self.hippo.n):
            points = at[part]
            known = self.sums.expand(row[part], points, points, 1)
            difference = known.coefficients[:, 0, :, 0] - self.hippo.values(points)
            result[part] = np.linalg.norm(difference, axis=1)
            of_hippo = self.hippo.units(points) * self.hippo.envelope(points, points)
            units = (2.0 * difference.shape[1] + 8.0) * U * result[part]
            rounding[part] = known.rounding + of_hippo + units
        return result, rounding

    def bounds(
        self, row: IntArray, low: FloatArray, high: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the bound of both polynomials' difference and their remainders."""
        result, rounding = np.empty(len(low)), np.empty(len(low))
        for part in blocks(len(low), TERMS * (self.sums.size + self.hippo.n)):
            poles = self.sums.expand(row[part], low[part], high[part], TERMS)
            hippo = self.hippo.expand(*middle(low[part], high[part]))
            difference = poles.coefficients[:, :TERMS, :, 0] - hippo.coefficients
            size = np.linalg.norm(difference, axis=(1, 2))
            rounding[part] = poles.rounding + hippo.rounding + 8.0 * U * size
            tail = poles.tail + hippo.tail + rounding[part]
            result[part] = polynomial_bound(difference, tail)
        return result, rounding

    def at_infinity(self) -> float:
        """Return K with |G_a - G| <= K / omega beyond twice the largest pole."""
        return 2.0 * float(np.sum(np.linalg.norm(self.residues, axis=1))) + self.hippo.at_infinity()


def certified_error(
    system: Response, rtol: float = 1e-9, near: FloatArray | None = None
) -> Bracket:
    """Return the bracket of sup_omega |G_a(i omega) - G(i omega)|, rounding included.

    rtol: the gap asked for, which rounding may widen; near: frequencies to look at first. The
    float64 poles, residues and readout are the system, what computed them is not enclosed.
    """
    if is_hippo(system) or not np.any(system.C):
        return Bracket(0.0, 0.0, 0.0)
    readout = HippoReadout(system.n, system.C)
    if isinstance(system, Damped):
        return damped_error(readout, system.tau, rtol, near)
    poles, residues = paired(system)
    return _search(DiagonalDifference(readout, poles, residues[:, None]), rtol, near)


def damped_error(
    readout: HippoReadout, tau: float, rtol: float = 1e-9, near: FloatArray | None = None
) -> Bracket:
    """Return the bracket of sup |G_t - G| in the rank-one family, 0 < tau <= 1, C not zero."""
    return _search(DampedDifference(readout, tau), rtol, near)


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
    if C is not None and not np.any(C):
        return Bracket(0.0, 0.0, 0.0)
    readout = HippoReadout(len(poles), C)
    residues = (V * B).T if C is None else ((C @ V) * B)[:, None]
    upper = _search(DiagonalDifference(readout, poles, residues), rtol)
    order, mirrored = np.lexsort((poles.imag, poles.real)), np.conj(poles)
    other = np.lexsort((mirrored.imag, mirrored.real))
    conjugate = np.conj(residues)[other]
    scale = 1e-9 * float(np.abs(residues).max())
    if np.allclose(poles[order], mirrored[other], rtol=1e-9, atol=0.0) and np.allclose(
        residues[order], conjugate, rtol=1e-6, atol=scale
    ):
        return upper
    # x is real: at -omega the difference is the conjugate of that of the conjugate system.
    lower = _search(DiagonalDifference(readout, mirrored, np.conj(residues)), rtol)
    omega = upper.omega if upper.low >= lower.low else -lower.omega
    return Bracket(max(upper.low, lower.low), max(upper.high, lower.high), omega)


def _search(
    difference: DampedDifference | DiagonalDifference, rtol: float, near: FloatArray | None = None
) -> Bracket:
    """Return the bracket over [0, end], end so far out that the rest is below a value found."""
    n = difference.hippo.n
    far = 4.0 * n * n
    if isinstance(difference, DiagonalDifference):
        far = max(far, 2.0 * float(np.abs(difference.poles).max(initial=0.0)))
    probe = np.concatenate([spikes(n, min(n // 2, 8)), np.geomspace(0.1, n * n, 64)])
    value, rounding = difference.values(np.zeros(len(probe), dtype=np.int64), probe)
    # Further out than this no reader looks, nor is the difference above its rounding.
    known, limit = float((value - rounding).max()), difference.at_infinity() * (1.0 + 1e-9)
    end = max(far, limit / max(known, 1e-30 * limit))
    count = int(np.ceil(np.log(end / 0.5) / np.log(GROWTH)))
    edges = np.concatenate([[0.0], np.geomspace(0.5, end, count + 1)])
    zeros = np.zeros(count + 1, dtype=np.int64)
    points = np.zeros(0) if near is None else near
    none = np.zeros(len(points), dtype=np.int64)
    probes = (none, none, points)
    best, bound, _, at = supremum(difference, zeros, zeros, edges[:-1], edges[1:], rtol, probes)
    return Bracket(float(best[0]), max(float(bound[0]), limit / end), float(at[0]))
