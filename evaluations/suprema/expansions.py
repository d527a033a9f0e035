"""Taylor expansions of stable systems on intervals of the frequency axis, with their remainders.

On c + [-h, h] a system is its Taylor polynomial p of degree M - 1 at c and a remainder that its
poles bound,

    F = D + sum_k l_k r_k / (s - lambda_k),  d_k = i c - lambda_k,  q_k = h / |d_k| < 1:
    |F - p| <= sum_k |l_k| |r_k| / |d_k| q_k^M / (1 - q_k),

and for a dense system, with R = (i c - A)^-1, h^M |C R^M| |R B| |(I + i t R)^-1|.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robustssm.errors import ShapeError, StabilityError, UsageError
from robustssm.evaluations.suprema.subdivision import blocks, gram_bound, polynomial_bound
from robustssm.typing import Array, ComplexArray, FloatArray, IntArray

# Taylor terms: at q = 1/4 the remainder is 6e-8 of the terms' moduli, at 1/8 1e-11. For matrices,
# where a product costs p q m and 1e-3 is asked for, fewer.
TERMS, MATRIX_TERMS = 12, 5
# Expansions beyond this ratio of half-length to distance of a pole are not tried.
LARGEST_RATIO = 0.7


@dataclass(frozen=True)
class PoleSum:
    """A real system F(s) = D + sum_k left[:, k] right[k, :] / (s - poles[k]).

    poles (m,), Re < 0, all of them, closed under conjugation; left (p, m), right (m, q),
    D (p, q). Raises ShapeError, UsageError (NaN), StabilityError.
    """

    poles: ComplexArray
    left: Array
    right: Array
    D: FloatArray

    def __post_init__(self) -> None:
        m, p, q = len(self.poles), len(self.left), self.right.shape[-1]
        if (self.left.shape, self.right.shape, self.D.shape) != ((p, m), (m, q), (p, q)):
            raise ShapeError(
                f"pole sum: {m} poles, left {self.left.shape}, right {self.right.shape}, D "
                f"{self.D.shape}; expected (p, {m}), ({m}, q), (p, q)"
            )
        check_stable(self.poles, self.left, self.right, self.D)

    def transfer(self, omega: FloatArray) -> ComplexArray:
        """Return F(i omega), shape (len(omega), p, q)."""
        weight = 1.0 / (1j * np.asarray(omega, dtype=np.float64)[:, None] - self.poles)
        result: ComplexArray = (self.left * weight[:, None, :]) @ self.right + self.D
        return result

    def inverted(self) -> "PoleSum":
        """Return F(1 / sigma), a system in sigma with the poles 1 / lambda."""
        scaled = self.left / self.poles
        direct = (scaled @ self.right).real
        return PoleSum(1.0 / self.poles, -scaled, self.right / self.poles[:, None], self.D - direct)


def check_stable(poles: Array, *arrays: np.ndarray) -> None:
    """Raise UsageError for NaN or infinite numbers, StabilityError unless all Re poles < 0."""
    if not all(np.isfinite(a).all() for a in (poles, *arrays)):
        raise UsageError("peak gain: the system has NaN or infinite entries, expected numbers")
    if poles.size and not 1e-100 < np.abs(poles).min() <= np.abs(poles).max() < 1e100:
        raise UsageError("peak gain: a pole is beyond 1e-100 to 1e100; scale time or drop the pole")
    if poles.size and poles.real.max() >= 0.0:
        raise StabilityError(
            f"peak gain: a pole has Re = {poles.real.max():.3g}, expected < 0; the gain of an "
            "unstable system has no bound"
        )


def _around(
    low: FloatArray, high: FloatArray, poles: ComplexArray, moduli: FloatArray, terms: int
) -> tuple[ComplexArray, ComplexArray, FloatArray]:
    """Return 1 / d_k, the ratio of successive Taylor terms, and the remainder on each interval.

    low, high (g,); poles and moduli |l_k| |r_k| of shape (g, m) or (m,). The remainder is infinite
    if the interval is too long for the poles.
    """
    half = 0.5 * (high - low)
    weight = 1.0 / (0.5j * (high + low)[:, None] - poles)
    modulus = np.abs(weight)
    ratio = half[:, None] * modulus
    far = ratio.max(axis=1, initial=0.0) > LARGEST_RATIO
    ratio = np.minimum(ratio, LARGEST_RATIO)
    tail = np.sum(moduli * modulus * ratio**terms / (1.0 - ratio), axis=1)
    return weight, -1j * half[:, None] * weight, np.where(far, np.inf, tail)


class ColumnSums:
    """Rows of systems with one input: poles (r, m), residues (r, m, p), D (r, p)."""

    def __init__(self, poles: ComplexArray, residues: ComplexArray, D: FloatArray) -> None:
        self.poles, self.residues, self.D = poles, residues, D
        self.moduli = np.linalg.norm(residues, axis=2)

    def values(self, row: IntArray, at: FloatArray) -> FloatArray:
        """Return |F_row(i at)|_2."""
        result = np.empty(len(row))
        for part in blocks(len(row), self.residues[0].size):
            weight = 1.0 / (1j * at[part, None] - self.poles[row[part]])
            result[part] = np.linalg.norm(self._sum(row[part], weight) + self.D[row[part]], axis=1)
        return result

    def bounds(self, row: IntArray, low: FloatArray, high: FloatArray) -> FloatArray:
        """Return the bound of the Taylor polynomial with its remainder."""
        result = np.empty(len(row))
        for part in blocks(len(row), self.residues[0].size):
            coefficients, tail = self.expand(row[part], low[part], high[part])
            result[part] = polynomial_bound(coefficients, tail)
        return result

    def expand(
        self, row: IntArray, low: FloatArray, high: FloatArray
    ) -> tuple[ComplexArray, FloatArray]:
        """Return the Taylor coefficients (g, M, p) in x = (omega - c) / h and the remainder (g,).

        The remainder is infinite if the interval is too long for the poles.
        """
        weight, step, tail = _around(low, high, self.poles[row], self.moduli[row], TERMS)
        coefficients = np.empty((len(row), TERMS, self.D.shape[1]), dtype=np.complex128)
        power = weight
        for j in range(TERMS):
            coefficients[:, j] = self._sum(row, power)
            power = power * step
        coefficients[:, 0] += self.D[row]
        return coefficients, tail

    def _sum(self, row: IntArray, weight: ComplexArray) -> ComplexArray:
        """Return sum_k residues[row, k] weight[:, k], shape (g, p)."""
        result: ComplexArray
        if self.D.shape[1] == 1:
            result = np.sum(self.residues[row, :, 0] * weight, axis=1)[:, None]
            return result
        result = np.empty((len(row), self.D.shape[1]), dtype=np.complex128)
        for r in np.unique(row):
            result[row == r] = weight[row == r] @ self.residues[r]
        return result


class Matrices(ABC):
    """Rows of systems with matrix values."""

    inputs: int

    @abstractmethod
    def expand(
        self, row: IntArray, low: FloatArray, high: FloatArray, terms: int
    ) -> tuple[ComplexArray, FloatArray]:
        """Return Taylor coefficients (g, terms, p, q) in x = (omega - c) / h and the remainder."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Complex numbers that one interval takes."""

    def values(self, row: IntArray, at: FloatArray) -> FloatArray:
        """Return the largest singular values, (g,)."""
        result = np.empty(len(row))
        for part in blocks(len(row), self.size):
            coefficients, _ = self.expand(row[part], at[part], at[part], 1)
            result[part] = np.linalg.norm(coefficients[:, 0], ord=2, axis=(1, 2))
        return result

    def bounds(self, row: IntArray, low: FloatArray, high: FloatArray) -> FloatArray:
        """Return sqrt(max lambda(B_0 +- B_1) + max(lambda(B_2), 0) + sum |B_j|) + remainder.

        B_j are the coefficients of p(x)^* p(x); the largest eigenvalue lambda is convex, so that
        of B_0 + x B_1 is largest at an end.
        """
        result = np.empty(len(row))
        terms = TERMS if self.inputs == 1 else MATRIX_TERMS
        for part in blocks(len(row), self.size):
            P, tail = self.expand(row[part], low[part], high[part], terms)
            result[part] = (
                polynomial_bound(P[..., 0], tail)
                if self.inputs == 1
                else np.sqrt(gram_bound(P)) + tail
            )
        return result


class MatrixSums(Matrices):
    """Pole sums with several inputs and outputs, all of the same shape."""

    def __init__(self, systems: Sequence[PoleSum]) -> None:
        self.systems = systems
        self.inputs = systems[0].D.shape[1]

    @property
    def size(self) -> int:
        """Complex numbers that one interval takes."""
        p, q = self.systems[0].D.shape
        return MATRIX_TERMS * p * (q + len(self.systems[0].poles))

    def expand(
        self, row: IntArray, low: FloatArray, high: FloatArray, terms: int
    ) -> tuple[ComplexArray, FloatArray]:
        """Return Taylor coefficients and the remainder from the poles."""
        p, q = self.systems[0].D.shape
        coefficients = np.empty((len(row), terms, p, q), dtype=np.complex128)
        tail = np.empty(len(row))
        for r in np.unique(row):
            system, rows = self.systems[r], np.flatnonzero(row == r)
            moduli = np.linalg.norm(system.left, axis=0) * np.linalg.norm(system.right, axis=1)
            ends = low[rows], high[rows]
            power, step, tail[rows] = _around(*ends, system.poles, moduli, terms)
            for j in range(terms):
                coefficients[rows, j] = (system.left * power[:, None, :]) @ system.right
                power = power * step
            coefficients[rows, 0] += system.D
        return coefficients, tail


class StateSpaces(Matrices):
    """Rows of dense systems: A (r, m, m), B (r, m, q), C (r, p, m), D (r, p, q)."""

    def __init__(self, A: Array, B: Array, C: Array, D: FloatArray) -> None:
        self.A, self.B, self.C, self.D = A, B, C, D
        self.inputs = D.shape[2]

    @property
    def size(self) -> int:
        """Complex numbers that one interval takes."""
        return 6 * self.A.shape[1] ** 2

    def expand(
        self, row: IntArray, low: FloatArray, high: FloatArray, terms: int
    ) -> tuple[ComplexArray, FloatArray]:
        """Return Taylor coefficients and the remainder from powers of the resolvent R.

        |(I + i t R)^-1| <= (1 + h|R| + h^2|R^2| + h^3|R^3|) / (1 - h^4|R^4|), Frobenius norms.
        """
        half = 0.5 * (high - low)
        centre = 0.5j * (high + low)[:, None, None] * np.eye(self.A.shape[1])
        R = np.linalg.inv(centre - self.A[row])
        right = R @ self.B[row]
        first = np.linalg.norm(right, axis=(1, 2))
        left = self.C[row]
        coefficients = np.empty((len(row), terms, *self.D.shape[1:]), dtype=np.complex128)
        step = -1j * half[:, None, None]
        for j in range(terms):
            coefficients[:, j] = left @ right
            left = step * (left @ R)
        coefficients[:, 0] += self.D[row]
        square = R @ R
        norms = [np.linalg.norm(X, axis=(1, 2)) for X in (R, square, square @ R, square @ square)]
        scaled = [half**k * norm for k, norm in enumerate(norms, start=1)]
        near = scaled[3] < LARGEST_RATIO
        growth = (1.0 + scaled[0] + scaled[1] + scaled[2]) / np.where(near, 1.0 - scaled[3], 1.0)
        tail = np.linalg.norm(left, axis=(1, 2)) * first * growth
        return coefficients, np.where(near, tail, np.inf)
