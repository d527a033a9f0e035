"""Certified sup_omega |G_a - G_b| between two LegS systems with the same readout.

G_t = G / (1 + tau phi_n), phi_n = r e^{i psi}: r = omega / hypot(omega, n) grows, psi falls: on
[a, b] the smallest |1 + tau phi_n| is known from the ends alone, spikes included. G itself is
interpolated at Chebyshev points of [a, b] = c + [-h, h]; with |G| <= K on the disc of radius R
about i c the error is at most 4 K rho^(1-M) / (rho - 1), rho = R/h + sqrt((R/h)^2 - 1). K comes
from |x_i(s)| = b_i |phi_i(s)| / |s + i + 1| and, where Re s >= -R and R <= c/4,

    |phi_i(s)|^2 <= exp((16/9) (2R - 1)_+ S_i),  S_i = ln(1 + i^2/c^2) + 1/c >= sum 2j/(c^2 + j^2),

while |phi_i| <= 1 on Re s >= -1/2.

Reference: Trefethen, Approximation Theory and Approximation Practice (SIAM, 2013), theorem 8.2.
"""

from dataclasses import dataclass

import numpy as np

from robustssm import hippo
from robustssm.errors import ShapeError
from robustssm.evaluations.certified import Bracket, peak_gain
from robustssm.evaluations.expansions import TERMS, ColumnSums, PoleSum
from robustssm.evaluations.responses import (
    Damped,
    Diagonal,
    Reference,
    Response,
    on_axis,
    reference,
)
from robustssm.evaluations.subdivision import Enclosure, blocks, polynomial_bound, supremum
from robustssm.spectrum import spikes
from robustssm.typing import ComplexArray, FloatArray, IntArray

# Ratio of neighbouring ends of the first intervals.
GROWTH = 1.25
# Smallest parameter of the ellipse on which interpolation is used.
SMALLEST_ELLIPSE = 2.0
_ANGLES = (np.arange(TERMS) + 0.5) * (np.pi / TERMS)
NODES = np.cos(_ANGLES)
# Values at the nodes -> coefficients of 1, x, x^2, ...; loses about 1e-12 relative.
MONOMIALS = np.linalg.inv(np.vander(NODES, increasing=True))


@dataclass(frozen=True)
class HippoReadout:
    """C x(i omega) of HiPPO with its bounds: C (n,), or None for the state itself (all units)."""

    n: int
    C: FloatArray | None

    @property
    def weights(self) -> FloatArray:
        """|C_i| b_i, (n,); for the state b_i."""
        b = hippo.input_vector(self.n)
        return b if self.C is None else np.abs(self.C) * b

    def values(self, omega: FloatArray) -> ComplexArray:
        """Return C x(i omega), shape (*omega.shape, p), p = 1 or n."""
        s = on_axis(omega)
        if self.C is None:
            return np.moveaxis(hippo.state(self.n, s), 0, -1)
        return reference(self.C, s)[..., None]

    def norm(self, weights: FloatArray) -> FloatArray:
        """Return the bound that moduli of the entries C_i x_i, (g, n), give."""
        if self.C is None:
            return np.linalg.norm(weights, axis=1)
        return np.sum(weights, axis=1)

    def envelope(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """Return sup |C x(i omega)| over [low, high] or more, from moduli of the entries."""
        if self.C is None:
            return self.n / np.hypot(low, self.n)
        i = np.flatnonzero(self.C)
        result = np.empty(len(low))
        for part in blocks(len(low), len(i)):
            a, b = low[part, None], high[part, None]
            # |x_i| / b_i = omega / (hypot(omega, i) hypot(omega, i + 1)), largest at sqrt(i (i+1)).
            w = np.clip(np.sqrt(i * (i + 1.0)), a, b)
            with np.errstate(invalid="ignore"):
                share = np.where(i == 0, 1.0, w / np.hypot(w, i)) / np.hypot(w, i + 1.0)
            result[part] = np.sum(self.weights[i] * share, axis=1)
        return result

    def at_infinity(self) -> float:
        """Return K with |C x(i omega)| <= K / omega."""
        return float(self.n if self.C is None else np.sum(self.weights))

    def expand(self, low: FloatArray, high: FloatArray) -> tuple[ComplexArray, FloatArray]:
        """Return coefficients (g, M, p) of the interpolant in x and its error (g,), or inf."""
        c, h = 0.5 * (low + high), 0.5 * (high - low)
        last = 1 + (self.n - 1 if self.C is None else int(np.flatnonzero(self.C)[-1]))
        safe = np.maximum(c, hippo.FLOOR)
        growth = np.log1p((last / safe) ** 2) + 1.0 / safe
        radius = np.where(c > 2.0, np.minimum(0.25 * c, 0.5 + 0.6 / growth), 0.5)
        radius = np.maximum(radius, 0.5)
        i = np.arange(last)[None, :]
        tail = np.empty(len(c))
        for part in blocks(len(c), last):
            C, R = safe[part, None], radius[part, None]
            S = np.log1p((i / C) ** 2) + 1.0 / C
            excess = np.exp(np.maximum(2.0 * R - 1.0, 0.0) * (8.0 / 9.0) * S)
            distance = np.hypot(c[part, None], i + 1.0)
            away = np.where(R > 0.5, 0.75 * distance, distance - 0.5)
            tail[part] = self.norm(self.weights[:last] * excess / away)
        ratio = radius / np.maximum(h, 1e-300)
        rho = ratio + np.sqrt(np.maximum(ratio * ratio - 1.0, 0.0))
        near = rho >= SMALLEST_ELLIPSE
        rho = np.where(near, rho, SMALLEST_ELLIPSE)
        tail = np.where(near, 4.0 * tail * rho ** (1.0 - TERMS) / (rho - 1.0), np.inf)
        values = self.values(c[:, None] + h[:, None] * NODES)
        return np.einsum("jk,gkp->gjp", MONOMIALS, values), tail

    def bounds(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """Return the smaller bound of |C x(i omega)| on [low, high]."""
        envelope = self.envelope(low, high)
        if self.C is None or np.count_nonzero(self.C) == 1:
            return envelope
        result = np.empty(len(low))
        for part in blocks(len(low), TERMS):
            result[part] = polynomial_bound(*self.expand(low[part], high[part]))
        return np.minimum(envelope, result)


@dataclass(frozen=True)
class DampedDifference:
    """|G_a - G_b| = |tau_a - tau_b| |phi C x| / (|1 + tau_a phi| |1 + tau_b phi|)."""

    hippo: HippoReadout
    tau_a: float
    tau_b: float

    def values(self, row: IntArray, at: FloatArray) -> FloatArray:
        """Return the modulus of the difference."""
        n = self.hippo.n
        ratio = np.abs(hippo.normal_ratio(n, at, self.tau_a))
        if self.tau_b:
            ratio = ratio * np.abs(hippo.normal_ratio(n, at, self.tau_b))
        size = (
            n / np.hypot(at, n) if self.hippo.C is None else np.abs(self.hippo.values(at)[..., 0])
        )
        return abs(self.tau_a - self.tau_b) * at / np.hypot(at, n) * size / ratio

    def bounds(self, row: IntArray, low: FloatArray, high: FloatArray) -> FloatArray:
        """Return the product of the factors' bounds."""
        n = self.hippo.n
        psi_low, psi_high = (
            hippo.phase(n, np.maximum(high, hippo.FLOOR)),
            hippo.phase(n, np.maximum(low, hippo.FLOOR)),
        )
        # Does an odd multiple of pi lie between? Then cos^2(psi / 2) reaches 0.
        turns = np.floor(0.5 + psi_low / (2.0 * np.pi)) != np.floor(0.5 + psi_high / (2.0 * np.pi))
        cosine = np.minimum(np.cos(0.5 * psi_low) ** 2, np.cos(0.5 * psi_high) ** 2)
        cosine = np.where(turns, 0.0, cosine)
        r_low, r_high = low / np.hypot(low, n), high / np.hypot(high, n)
        hypot = np.hypot(high, n)
        gap = n * (n / (hypot * (hypot + high)))  # 1 - r_high
        # r / |1 + tau r e^{i psi}| grows with r.
        first = np.hypot(
            1.0 - self.tau_a + self.tau_a * gap, 2.0 * np.sqrt(self.tau_a * r_high * cosine)
        )
        second = np.ones_like(first)
        if self.tau_b:
            r = np.clip((1.0 - 2.0 * cosine) / self.tau_b, r_low, r_high)
            second = np.hypot(1.0 - self.tau_b * r, 2.0 * np.sqrt(self.tau_b * r * cosine))
        ratio = abs(self.tau_a - self.tau_b) * r_high / (first * second)
        return ratio * self.hippo.bounds(low, high)

    def at_infinity(self) -> float:
        """Return K with |G_a - G_b| <= K / omega beyond n^2, where |1 + tau phi| >= 1."""
        return abs(self.tau_a - self.tau_b) * self.hippo.at_infinity()


@dataclass(frozen=True)
class DiagonalDifference:
    """|sum_k r_k / (s - lambda_k) - C x|: residues (m, p) at all poles (m,), p = 1 or n."""

    hippo: HippoReadout
    poles: ComplexArray
    residues: ComplexArray

    @property
    def columns(self) -> ColumnSums:
        """The pole sum."""
        p = self.residues.shape[1]
        return ColumnSums(self.poles[None], self.residues[None], np.zeros((1, p)))

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
        columns = self.columns
        for part in blocks(len(low), TERMS * (len(self.poles) + self.hippo.n)):
            zero = np.zeros(len(low[part]), dtype=np.int64)
            own, own_tail = columns.expand(zero, low[part], high[part])
            other, other_tail = self.hippo.expand(low[part], high[part])
            result[part] = polynomial_bound(own - other, own_tail + other_tail)
        return result

    def at_infinity(self) -> float:
        """Return K with |G_a - G| <= K / omega beyond twice the largest pole."""
        return 2.0 * float(np.sum(np.linalg.norm(self.residues, axis=1))) + self.hippo.at_infinity()


def paired(system: Response) -> tuple[ComplexArray, ComplexArray]:
    """Return all poles and residues, conjugates included."""
    pair = system.poles.imag != 0.0
    poles = np.concatenate([system.poles, np.conj(system.poles[pair])])
    return poles, np.concatenate([system.residues, np.conj(system.residues[pair])])


def certified_error(a: Response, b: Response | None = None, rtol: float = 1e-9) -> Bracket:
    """Return the bracket of sup_omega |G_a(i omega) - G_b(i omega)|; b = None is HiPPO.

    rtol: relative gap asked for. Raises ShapeError where the readouts differ.
    """
    b = Reference(a.C, a.poles[:0], a.poles[:0]) if b is None else b
    if a.C.shape != b.C.shape or np.any(a.C != b.C):
        raise ShapeError(f"certified error: readouts of {a.n} and {b.n} numbers differ")
    if isinstance(a, Diagonal) and not isinstance(b, Reference):
        poles, residues = zip(paired(a), paired(b), strict=True)
        joined, signed = np.concatenate(poles), np.concatenate([residues[0], -residues[1]])
        one = np.ones((len(joined), 1), dtype=np.complex128)
        return peak_gain(PoleSum(joined, signed[None], one, np.zeros((1, 1))), rtol)
    if isinstance(b, Diagonal):
        return certified_error(b, a, rtol)
    readout = HippoReadout(a.n, a.C)
    if not np.any(a.C):
        return Bracket(0.0, 0.0, 0.0)
    if isinstance(a, Diagonal):
        poles_a, residues_a = paired(a)
        return _search(
            DiagonalDifference(readout, poles_a, residues_a[:, None]), a.n, poles_a, rtol
        )
    taus = [system.tau if isinstance(system, Damped) else 0.0 for system in (a, b)]
    return damped_difference(readout, max(taus), min(taus), rtol)


def damped_difference(
    readout: HippoReadout, tau_a: float, tau_b: float, rtol: float = 1e-9
) -> Bracket:
    """Return the bracket of sup |G_a - G_b| in the rank-one family; 0 <= tau_b <= tau_a <= 1."""
    if tau_a == tau_b:
        return Bracket(0.0, 0.0, 0.0)
    none = np.zeros(0, dtype=np.complex128)
    return _search(DampedDifference(readout, tau_a, tau_b), readout.n, none, rtol)


def worst_error(
    n: int, poles: ComplexArray, V: ComplexArray, B: ComplexArray, rtol: float = 1e-6
) -> Bracket:
    """Return the bracket of sup_omega |V (i omega - Lambda)^-1 B - x(i omega)|_2.

    That is the error for the worst readout |C| = 1 of a diagonalised system: poles (n,), V (n, n),
    B (n,), all modes.
    """
    difference = DiagonalDifference(HippoReadout(n, None), poles, (V * B).T)
    return _search(difference, n, poles, rtol)


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
