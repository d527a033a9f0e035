"""Expansions of systems in state space, whose eigenvectors may be bad: residuals prove them.

The residual of the computed polynomial bounds what is cut off and what is rounded alike.
"""

from functools import cached_property

import numpy as np

from robustssm.evaluations.suprema.expansions import (
    LARGEST_RATIO,
    UNDERFLOW,
    Expansion,
    Systems,
    ldexp,
)
from robustssm.evaluations.suprema.subdivision import MARGIN, U
from robustssm.typing import Array, ComplexArray, FloatArray, IntArray


class StateSpaces(Systems):
    """Rows of real dense systems: A (c, m, m), B (c, m, q), C (c, p, m), D (c, p, q)."""

    def __init__(self, A: FloatArray, B: FloatArray, C: FloatArray, D: FloatArray) -> None:
        self.A, self.B, self.C, self.D = A, B, C, D
        self.count, self.inputs = len(A), D.shape[2]
        self.size = 8 * A.shape[1] ** 2

    @cached_property
    def poles(self) -> ComplexArray:
        """The eigenvalues of A as float64 finds them, (c, m); NaN if A holds such."""
        finite = np.isfinite(self.A).all()
        return np.linalg.eigvals(self.A) + 0j if finite else np.full(self.A.shape[:2], np.nan + 0j)

    @property
    def moduli(self) -> FloatArray:
        """|B| |C|, (c, m), the same for every pole."""
        return np.broadcast_to((frobenius(self.B) * frobenius(self.C))[:, None], self.A.shape[:2])

    def turned(self, exponent: IntArray, sign: float) -> "StateSpaces":
        """Return 2^exponent (c,) F(sign s), sign +-1."""
        C, D = (ldexp(X, exponent[:, None, None]) for X in (self.C, self.D))
        return StateSpaces(sign * self.A, sign * self.B, C, D)

    def expand(self, row: IntArray, low: FloatArray, high: FloatArray, terms: int) -> Expansion:
        """Return the expansions C y(x), y_j = (-Z)^j X B, X the computed inverse of K = d(c).

        With E = I - K X and rho = B - (K + h x N) y(x), whose coefficients are computed,

            F - D - C y = C K^-1 (I + x Z (I - E)^-1)^-1 rho,  K^-1 = X (I - E)^-1,  Z = h N X,

        is bounded in the Frobenius norm, |(I + x Z)^-1| by (1 + |Z|) (1 + |Z^2|) / (1 - |Z^4|).
        """
        interval = self.interval(row, low, high)
        m, (p, q) = self.A.shape[1], self.D.shape[1:]
        coefficients = np.empty((len(row), terms + 1, p, q), dtype=np.complex128)
        tail, rounding = np.empty(len(row)), np.empty(len(row))
        for inverted in (False, True):
            rows = np.flatnonzero(interval.inverted == inverted)
            if not len(rows):
                continue
            part = interval.rows(rows)
            A, B, C, D = (X[part.system] for X in (self.A, self.B, self.C, self.D))
            c, h = part.centre[:, None, None], part.half[:, None, None]
            # K is exact in omega; in sigma its entries c A are rounded once.
            K = 1j * np.eye(m) - c * A if inverted else 1j * c * np.eye(m) - A
            X: ComplexArray = np.linalg.inv(K)
            Z: ComplexArray = -h * (A @ X) if inverted else 1j * h * X
            # At single points Z = 0.
            square: ComplexArray = Z @ Z if terms > 1 else Z
            fourth: ComplexArray = square @ square if terms > 1 else Z
            y = self._powers(X @ B, Z, square, fourth, terms)
            sloped = -h * (A @ y) if inverted else 1j * h * y
            residual = K @ y
            residual[:, :, :q] -= B
            residual[:, :, q:] += sloped[:, :, :-q]
            unit = MARGIN * U * (3 * m + 10)
            size, total = frobenius(K), np.sqrt(terms) * frobenius(y)
            slope = part.half * frobenius(A) if inverted else part.half * np.sqrt(m)
            E = frobenius(np.eye(m) - K @ X) + unit * size * frobenius(X)
            growth = resolvent_growth(Z, square, fourth, E, unit)
            gain = frobenius(C @ X) * (1.0 + unit) + unit * frobenius(C) * frobenius(X)
            factor = part.reach * growth * gain / (1.0 - np.minimum(E, 0.5)) * MARGIN
            near = np.isfinite(growth)
            rest = np.sqrt(terms) * frobenius(residual)
            rest += unit * (frobenius(B) + (size + slope) * total)
            with np.errstate(invalid="ignore"):
                tail[rows] = np.where(near, factor * frobenius(sloped[:, :, -q:]), np.inf)
                rounded = np.where(near, factor * rest, 0.0)
            rounded += unit * part.reach * frobenius(C) * total
            rounded += 2.0 * U * frobenius(D) + np.where(total > 0.0, UNDERFLOW, 0.0)
            # Without an inverse no shorter interval helps.
            rounding[rows] = np.where(E < 0.5, rounded, np.inf)
            inner = (C @ y).reshape(len(rows), p, terms, q).swapaxes(1, 2)
            coefficients[rows] = part.polynomial(inner, D)
        return Expansion(coefficients, tail, rounding)

    @staticmethod
    def _powers(
        y: ComplexArray, Z: ComplexArray, square: ComplexArray, fourth: ComplexArray, terms: int
    ) -> ComplexArray:
        """Return (-Z)^j y, j < terms, side by side: (g, m, terms q)."""
        q = y.shape[2]
        if terms > 1:
            y = np.concatenate([y, -(Z @ y)], axis=2)
        if terms > 2:
            y = np.concatenate([y, square @ y], axis=2)
        while y.shape[2] < terms * q:
            y = np.concatenate([y, fourth @ y[:, :, -4 * q :]], axis=2)
        return y[:, :, : terms * q]


def frobenius(X: Array) -> FloatArray:
    """Return the Frobenius norms of matrices (g, m, n)."""
    return np.asarray(np.linalg.norm(X, axis=(1, 2)))


def resolvent_growth(
    Z: ComplexArray, square: ComplexArray, fourth: ComplexArray, E: FloatArray, unit: float
) -> FloatArray:
    """Return a bound of |(I + x Z (I - E)^-1)^-1|, |x| <= 1, or infinity; unit: of a product."""
    first = frobenius(Z)
    error = 2.0 * np.minimum(E, 0.5) + unit
    bounds = {
        k: frobenius(power) + ((1.0 + error) ** k - 1.0 + k * unit) * first**k
        for k, power in ((1, Z), (2, square), (4, fourth))
    }
    near = bounds[4] < LARGEST_RATIO
    growth = (1.0 + bounds[1]) * (1.0 + bounds[2]) / np.where(near, 1.0 - bounds[4], 1.0)
    return np.where(near, growth, np.inf)
