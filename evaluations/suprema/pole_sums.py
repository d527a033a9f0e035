"""Systems given by poles and residues, and their expansions with remainders and rounding.

On c + [-h, h], with d_k the distance i c - lambda_k (or 1 / c's, i - c lambda_k) and N_k = i (or
-lambda_k),

    F = D + sum_k l_k r_k / d_k(x),  q_k = h |N_k| / |d_k| < 1:
    |F - p| <= sum_k |l_k| |r_k| / |d_k| q_k^M / (1 - q_k).

Every sum comes with a bound of its rounding errors: a term passes through some 16 + 24 j roundings
in the j-th coefficient (a complex quotient 12 u, a product 3 u), a sum of m terms through 3 (m + 2)
(N. J. Higham, Accuracy and Stability of Numerical Algorithms, SIAM 2002, sections 3.1 and 3.6).
"""

import numpy as np

from robustssm.errors import StabilityError, UsageError
from robustssm.evaluations.suprema.expansions import (
    LARGEST_RATIO,
    MATRIX_TERMS,
    UNDERFLOW,
    Expansion,
    Systems,
    ldexp,
)
from robustssm.evaluations.suprema.subdivision import MARGIN, U
from robustssm.typing import Array, ComplexArray, FloatArray, IntArray

# Poles have moduli within (1 / LARGEST, LARGEST), and real parts below -NEAREST.
LARGEST, NEAREST = 1e100, 1e-150


def check_stable(poles: Array, *arrays: np.ndarray) -> None:
    """Raise UsageError for NaN or infinite numbers, StabilityError unless all Re poles < 0."""
    if not all(np.isfinite(a).all() for a in (poles, *arrays)):
        raise UsageError("peak gain: the system has NaN or infinite entries, expected numbers")
    if not poles.size:
        return
    if not 1.0 / LARGEST < np.abs(poles).min() <= np.abs(poles).max() < LARGEST:
        raise UsageError("peak gain: a pole is beyond 1e-100 to 1e100; scale time or drop the pole")
    if poles.real.max() >= 0.0:
        raise StabilityError(
            f"peak gain: a pole has Re = {poles.real.max():.3g}, expected < 0; the gain of an "
            "unstable system has no bound"
        )
    if poles.real.max() > -NEAREST:
        raise UsageError(
            f"peak gain: a pole has Re = {poles.real.max():.3g}, expected at most {-NEAREST:g}; "
            "scale time or drop the pole"
        )


class PoleSums(Systems):
    """Rows of pole sums: poles (c, m), left (c, p, m), right (c, m, q), D (c, p, q)."""

    def __init__(self, poles: ComplexArray, left: Array, right: Array, D: FloatArray) -> None:
        self.poles, self.left, self.right, self.D = poles, left, right, D
        p, self.inputs = D.shape[1:]
        self.count, m = poles.shape
        self.size = m * max(p, 4) if self.inputs == 1 else MATRIX_TERMS * p * (self.inputs + m)
        self.moduli = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=2)
        # One input: residues (c, m, p), summed as they are.
        self.residues = left.swapaxes(1, 2) * right if self.inputs == 1 else None

    def turned(self, exponent: IntArray, sign: float) -> "PoleSums":
        """Return 2^exponent (c,) F(sign s), sign +-1."""
        left, D = (ldexp(X, exponent[:, None, None]) for X in (self.left, self.D))
        return PoleSums(sign * self.poles, sign * left, self.right, D)

    def expand(self, row: IntArray, low: FloatArray, high: FloatArray, terms: int) -> Expansion:
        """Return the expansions from the poles.

        Where an interval is too long for them, D and, as its tail, the sum of the terms' moduli.
        """
        interval = self.interval(row, low, high)
        system, inverted, centre, half = interval
        poles, moduli = self.poles[system], self.moduli[system]
        turned, c, h = inverted[:, None], centre[:, None], half[:, None]
        distance: ComplexArray = np.where(turned, 1j - c * poles, 1j * c - poles)
        weight = 1.0 / distance
        slope = np.where(turned, -poles, 1j)
        modulus = np.abs(weight)
        ratio = h * np.abs(slope) * modulus
        far = ratio.max(axis=1, initial=0.0) > LARGEST_RATIO
        # |d| > |Re lambda| in omega; in sigma, which ends at 1 / 2 |lambda|, |d| >= 1 / 2.
        floor = np.where(turned, 0.49, np.abs(poles.real))
        crude = np.sum(moduli / np.maximum((1.0 - ratio) / modulus, floor), axis=1)
        ratio = np.minimum(ratio, LARGEST_RATIO)
        term = moduli * modulus / (1.0 - ratio)
        m = poles.shape[1]
        # Their own rounding: a sum of m moduli, powers of a ratio known to 20 u.
        tail = np.where(far, crude, np.sum(term * ratio**terms, axis=1)) * (1.0 + (m + 400) * U)
        units = np.sum(term * (3.0 * m + 32.0 + 24.0 * ratio / (1.0 - ratio)), axis=1)
        units = np.where(far, (3.0 * m + 40.0) * crude, units)
        D = self.D[system]
        direct = 2.0 * U * np.linalg.norm(D, axis=(1, 2))
        tiny = np.where(units > 0.0, UNDERFLOW, 0.0)
        rounding = interval.reach * (MARGIN * U * units) + direct + tiny
        inner = np.empty((len(row), terms, *D.shape[1:]), dtype=np.complex128)
        power, step = weight, np.where(far[:, None], 0.0, -h * slope * weight)
        for j in range(terms):
            inner[:, j] = self._sum(system, power)
            power = power * step
        inner[far] = 0.0
        return Expansion(interval.polynomial(inner, D), interval.reach * tail, rounding)

    def _sum(self, system: IntArray, weight: ComplexArray) -> ComplexArray:
        """Return sum_k left[system, :, k] weight[:, k] right[system, k], shape (g, p, q)."""
        p, q = self.D.shape[1:]
        if self.residues is not None and p == 1:
            return np.sum(self.residues[system, :, 0] * weight, axis=1)[:, None, None]
        result = np.empty((len(system), p, q), dtype=np.complex128)
        for r in np.unique(system):
            rows = system == r
            if self.residues is not None:
                result[rows, :, 0] = weight[rows] @ self.residues[r]
            else:
                result[rows] = (self.left[r] * weight[rows, None, :]) @ self.right[r]
        return result
