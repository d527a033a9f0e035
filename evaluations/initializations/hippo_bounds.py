"""Bounds of HiPPO's transfer function C x(i omega) on intervals of the frequency axis.

It is interpolated at Chebyshev points of [a, b] = c + [-h, h]; with |C x| <= K on the disc of
radius R about i c the error is at most 4 K rho^(1-M) / (rho - 1), rho = R/h + sqrt((R/h)^2 - 1).
K comes from |x_i(s)| = b_i |phi_i(s)| / |s + i + 1| and, where Re s >= -R and R <= c/4,

    |phi_i(s)|^2 <= exp((16/9) (2R - 1)_+ S_i),  S_i = ln(1 + i^2/c^2) + 1/c >= sum 2j/(c^2 + j^2),

while |phi_i| <= 1 on Re s >= -1/2.

Rounding, to first order in u: x_i(i omega) is a product whose factor j, t = omega / (j + 2), is
wrong by at most u (8 c / sqrt(1 + t^2) + 1 + 3 t c / (1 + t^2)), c < 2, and at least j / (j + 2) in
modulus; with the product and Horner's sum that is 6 u + 20 u j / hypot(omega, j), and 25 u more for
the first factors. Summed over j < i it is `units` below, where omega itself may be rounded, too:
omega |d log x_i / d omega| <= 1 + 2.5 i^2 / (hypot(omega, i) + omega).

References: Trefethen, Approximation Theory and Approximation Practice (SIAM, 2013), theorem 8.2;
Higham, Accuracy and Stability of Numerical Algorithms (SIAM, 2002), sections 3.1 and 5.1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.chebyshev import cheb2poly

from robustssm.evaluations.initializations.responses import on_axis, reference
from robustssm.evaluations.suprema.expansions import TERMS, Expansion
from robustssm.evaluations.suprema.subdivision import MARGIN, U, blocks, middle, polynomial_bound
from robustssm.hippo import legs
from robustssm.typing import ComplexArray, FloatArray

# Smallest parameter of the ellipse on which interpolation is used.
SMALLEST_ELLIPSE = 2.0
_ANGLES = (np.arange(TERMS) + 0.5) * (np.pi / TERMS)
NODES = np.cos(_ANGLES)
# Values at the nodes -> coefficients of Chebyshev's polynomials -> of 1, x, x^2, ..., integers.
_INTEGERS = np.zeros((TERMS, TERMS))
for _k in range(TERMS):
    _INTEGERS[: _k + 1, _k] = cheb2poly(np.eye(_k + 1)[_k])
_COSINES = np.cos(np.outer(np.arange(TERMS), _ANGLES)) * (2.0 / TERMS)
_COSINES[0] *= 0.5
MONOMIALS = _INTEGERS @ _COSINES
# The moduli of all products that the coefficients consist of, for values up to 1; the angles of the
# cosines, up to 11 pi, are rounded by 35 u.
COEFFICIENTS = 2.0 * float(np.sum(np.abs(_INTEGERS)))
# Of 12 Chebyshev points (2.545): what errors of the values are multiplied by.
LEBESGUE = 2.6


def interpolant(values: ComplexArray, rounding: FloatArray) -> tuple[ComplexArray, FloatArray]:
    """Return the coefficients (g, M, p) through values (g, M, p) at the nodes, and their rounding.

    rounding (g,): of the values, 2-norm. What varies is interpolated, so that the coefficients'
    own rounding gets smaller with the interval.
    """
    first = values[:, :1]
    varying = values - first
    coefficients = np.einsum("jk,gkp->gjp", MONOMIALS, varying)
    coefficients[:, 0] += first[:, 0]
    size = np.linalg.norm(varying, axis=2).max(axis=1)
    own = U * (COEFFICIENTS * (TERMS + 44.0) * size + 2.0 * np.linalg.norm(values[:, 0], axis=1))
    return coefficients, MARGIN * (LEBESGUE * rounding + own)


def interpolation_error(radius: FloatArray, half: FloatArray) -> FloatArray:
    """Return 4 rho^(1-M) / (rho - 1) for a disc of that radius around the interval, or inf."""
    ratio = radius / np.maximum(half, 1e-300)
    rho = ratio + np.sqrt(np.maximum(ratio * ratio - 1.0, 0.0))
    near = rho >= SMALLEST_ELLIPSE
    rho = np.where(near, rho, SMALLEST_ELLIPSE)
    return np.where(near, 4.0 * rho ** (1.0 - TERMS) / (rho - 1.0), np.inf)


@dataclass(frozen=True)
class HippoReadout:
    """C x(i omega) of HiPPO with its bounds: C (n,), or None for the state itself (all units)."""

    n: int
    C: FloatArray | None

    @property
    def weights(self) -> FloatArray:
        """|C_i| b_i, (n,); for the state b_i."""
        b = legs.input_vector(self.n)
        return b if self.C is None else np.abs(self.C) * b

    @property
    def support(self) -> int:
        """How many entries of the state the readout sees."""
        return self.n if self.C is None else int(np.flatnonzero(self.C)[-1]) + 1

    def units(self, omega: FloatArray) -> FloatArray:
        """Return the rounding of values at omega, in terms of their envelope there."""
        n = self.support
        turning = n * (n / (np.hypot(omega, n) + omega))
        return MARGIN * U * (7.0 * n + 23.0 * turning + 160.0)

    def values(self, omega: FloatArray) -> ComplexArray:
        """Return C x(i omega), shape (*omega.shape, p), p = 1 or n."""
        s = on_axis(omega)
        if self.C is None:
            return np.moveaxis(legs.state(self.n, s), 0, -1)
        return reference(self.C, s)[..., None]

    def envelope(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """Return sup |C x(i omega)| over [low, high] or more, from moduli of the entries."""
        outwards = 1.0 + U * (self.support + 40.0)
        if self.C is None:
            return self.n / np.hypot(low, self.n) * outwards
        i = np.flatnonzero(self.C)
        result = np.empty(len(low))
        for part in blocks(len(low), len(i)):
            a, b = low[part, None], high[part, None]
            # |x_i| / b_i = omega / (hypot(omega, i) hypot(omega, i + 1)), largest at sqrt(i (i+1)).
            w = np.clip(np.sqrt(i * (i + 1.0)), a, b)
            with np.errstate(invalid="ignore"):
                share = np.where(i == 0, 1.0, w / np.hypot(w, i)) / np.hypot(w, i + 1.0)
            result[part] = np.sum(self.weights[i] * share, axis=1)
        return result * outwards

    def at_infinity(self) -> float:
        """Return K with |C x(i omega)| <= K / omega."""
        return float(self.n if self.C is None else np.sum(self.weights))

    def disc_bound(self, c: FloatArray, radius: FloatArray) -> FloatArray:
        """Return K >= |C x(s)| where |s - i c| <= radius, radius = 1/2 or at most c/4, (g,)."""
        last = self.support
        i = np.arange(last)[None, :]
        result = np.empty(len(c))
        for part in blocks(len(c), last):
            centre, R = np.maximum(c[part, None], legs.FLOOR), radius[part, None]
            S = np.log1p((i / centre) ** 2) + 1.0 / centre
            excess = np.exp(np.maximum(2.0 * R - 1.0, 0.0) * (8.0 / 9.0) * S)
            distance = np.hypot(centre, i + 1.0)
            away = np.where(R > 0.5, 0.75 * distance, distance - 0.5)
            moduli = self.weights[:last] * excess / away
            result[part] = np.linalg.norm(moduli, axis=1) if self.C is None else moduli.sum(axis=1)
        return result * (1.0 + U * (last + 200.0))

    def expand(self, c: FloatArray, h: FloatArray) -> Expansion:
        """Return the interpolants (g, M, p) on c + [-h, h] in x and their errors, or infinity."""
        safe = np.maximum(c, legs.FLOOR)
        growth = np.log1p((self.support / safe) ** 2) + 1.0 / safe
        radius = np.where(c > 2.0, np.minimum(0.25 * c, 0.5 + 0.6 / growth), 0.5)
        radius = np.maximum(radius, 0.5)
        tail = self.disc_bound(c, radius) * interpolation_error(radius, h)
        low = np.maximum(c - h, 0.0)
        rounding = self.units(low) * self.envelope(low, c + h)
        coefficients, rounding = interpolant(self.values(c[:, None] + h[:, None] * NODES), rounding)
        return Expansion(coefficients, tail, rounding)

    def bounds(self, low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the smaller bound of |C x(i omega)| on [low, high], and its rounding."""
        bound, rounding = self.envelope(low, high), np.zeros(len(low))
        if self.C is None or np.count_nonzero(self.C) == 1:
            return bound, rounding
        for part in blocks(len(low), TERMS):
            coefficients, tail, rounded = self.expand(*middle(low[part], high[part]))
            other = polynomial_bound(coefficients, tail + rounded)
            rounding[part] = np.where(other < bound[part], rounded, 0.0)
            bound[part] = np.minimum(bound[part], other)
        return bound, rounding
