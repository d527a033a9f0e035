"""Bounds of HiPPO's transfer function C x(i omega) on intervals of the frequency axis.

It is interpolated at Chebyshev points of [a, b] = c + [-h, h]; with |C x| <= K on the disc of
radius R about i c the error is at most 4 K rho^(1-M) / (rho - 1), rho = R/h + sqrt((R/h)^2 - 1).
K comes from |x_i(s)| = b_i |phi_i(s)| / |s + i + 1| and, where Re s >= -R and R <= c/4,

    |phi_i(s)|^2 <= exp((16/9) (2R - 1)_+ S_i),  S_i = ln(1 + i^2/c^2) + 1/c >= sum 2j/(c^2 + j^2),

while |phi_i| <= 1 on Re s >= -1/2.

Reference: Trefethen, Approximation Theory and Approximation Practice (SIAM, 2013), theorem 8.2.
"""

from dataclasses import dataclass

import numpy as np

from robustssm.evaluations.initializations.responses import on_axis, reference
from robustssm.evaluations.suprema.expansions import TERMS
from robustssm.evaluations.suprema.subdivision import blocks, polynomial_bound
from robustssm.hippo import legs
from robustssm.typing import ComplexArray, FloatArray

# Smallest parameter of the ellipse on which interpolation is used.
SMALLEST_ELLIPSE = 2.0
_ANGLES = (np.arange(TERMS) + 0.5) * (np.pi / TERMS)
NODES = np.cos(_ANGLES)
# Values at the nodes -> coefficients of 1, x, x^2, ...; loses about 1e-12 relative.
MONOMIALS = np.linalg.inv(np.vander(NODES, increasing=True))


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

    def values(self, omega: FloatArray) -> ComplexArray:
        """Return C x(i omega), shape (*omega.shape, p), p = 1 or n."""
        s = on_axis(omega)
        if self.C is None:
            return np.moveaxis(legs.state(self.n, s), 0, -1)
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
            result[part] = self.norm(self.weights[:last] * excess / away)
        return result

    def expand(self, low: FloatArray, high: FloatArray) -> tuple[ComplexArray, FloatArray]:
        """Return coefficients (g, M, p) of the interpolant in x and its error (g,), or inf."""
        c, h = 0.5 * (low + high), 0.5 * (high - low)
        safe = np.maximum(c, legs.FLOOR)
        growth = np.log1p((self.support / safe) ** 2) + 1.0 / safe
        radius = np.where(c > 2.0, np.minimum(0.25 * c, 0.5 + 0.6 / growth), 0.5)
        radius = np.maximum(radius, 0.5)
        tail = self.disc_bound(c, radius) * interpolation_error(radius, h)
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
