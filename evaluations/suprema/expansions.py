"""Taylor expansions of stable systems on intervals of the frequency axis, with their remainders.

Two charts cover the axis: omega up to twice the largest pole, and sigma = 1 / omega beyond. In both
the system is a pencil that is inverted, N = i or -A:

    F = D + C (i omega - A)^-1 B = D + sigma C (i - sigma A)^-1 B.

The second needs no 1 / lambda, whose rounding would move a pole near the axis by more than its
distance from it; and there no pole is near. On c + [-h, h] a system is its Taylor polynomial p of
degree M - 1 at c, a remainder, and a bound of the rounding errors in both.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from robustssm.evaluations.suprema.subdivision import (
    MARGIN,
    U,
    blocks,
    gram_bound,
    middle,
    polynomial_bound,
)
from robustssm.typing import Array, BoolArray, ComplexArray, FloatArray, IntArray

# Taylor terms: at q = 1/4 the remainder is 6e-8 of the terms' moduli, at 1/8 1e-11. For matrices,
# where a product costs p q m and 1e-3 is asked for, fewer.
TERMS, MATRIX_TERMS = 12, 5
# Expansions beyond this ratio of half-length to distance of a pole are not tried.
LARGEST_RATIO = 0.7
# What underflows is below this in F, in systems scaled to |l_k| |r_k| <= |Re lambda_k|.
UNDERFLOW = 1e-150


def ldexp(X: Array, exponent: IntArray) -> Array:
    """Return X 2^exponent, exactly unless it underflows."""
    if np.iscomplexobj(X):
        return np.ldexp(X.real, exponent) + 1j * np.ldexp(X.imag, exponent)
    return np.asarray(np.ldexp(X, exponent))


class Expansion(NamedTuple):
    """Taylor polynomials with p of their coefficients in x = (omega - c) / h, |x| <= 1.

    coefficients (g, M + 1, p, q); tail (g,) bounds what is cut off, rounding (g,) what is rounded.
    """

    coefficients: ComplexArray
    tail: FloatArray
    rounding: FloatArray


class Interval(NamedTuple):
    """Intervals c + [-h, h] of one chart or the other, (g,), and the systems meant, (g,)."""

    system: IntArray
    inverted: BoolArray
    centre: FloatArray
    half: FloatArray

    def rows(self, rows: IntArray) -> "Interval":
        """Return some of the intervals."""
        return Interval(self.system[rows], self.inverted[rows], self.centre[rows], self.half[rows])

    def polynomial(self, inner: ComplexArray, D: FloatArray) -> ComplexArray:
        """Return the coefficients of D + inner(x), or D + sigma inner(x) with sigma = c + h x."""
        inverted = self.inverted[:, None, None, None]
        first = np.where(inverted, self.centre[:, None, None, None], 1.0)
        second = np.where(inverted, self.half[:, None, None, None], 0.0)
        shape = (len(inner), inner.shape[1] + 1, *inner.shape[2:])
        result = np.zeros(shape, dtype=np.complex128)
        result[:, :-1] = first * inner
        result[:, 1:] += second * inner
        result[:, 0] += D
        return result

    @property
    def reach(self) -> FloatArray:
        """The largest factor before the sum: 1, or sigma."""
        return np.where(self.inverted, self.centre + self.half, 1.0)


class Systems(ABC):
    """Systems with values of p outputs and q inputs, two rows each: in omega, then in 1 / omega.

    Row r is system r in omega, row `count` + r the same in sigma = 1 / omega. size: complex
    numbers that one interval takes.
    """

    count: int
    inputs: int
    size: int

    @abstractmethod
    def expand(self, row: IntArray, low: FloatArray, high: FloatArray, terms: int) -> Expansion:
        """Return the expansions of rows (g,) on [low, high]; an infinite tail if it is too long."""

    def interval(self, row: IntArray, low: FloatArray, high: FloatArray) -> Interval:
        """Return the intervals' centres and half-lengths, which hold both ends."""
        return Interval(row % self.count, row >= self.count, *middle(low, high))

    def values(self, row: IntArray, at: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the largest singular values, (g,), and their rounding.

        LAPACK's singular values are taken to be backward stable to 10 min(p, q) u.
        """
        result, rounding = np.empty(len(row)), np.empty(len(row))
        for part in blocks(len(row), self.size):
            expansion = self.expand(row[part], at[part], at[part], 1)
            value = expansion.coefficients[:, 0]
            single = min(value.shape[1:]) == 1
            order = None if single else 2
            result[part] = np.linalg.norm(value, ord=order, axis=(1, 2))
            moduli = np.linalg.norm(value, axis=(1, 2))
            units = 2 * value[0].size if single else 10 * min(value.shape[1:])
            rounding[part] = expansion.rounding + expansion.tail + (units + 4) * U * moduli
        return result, rounding

    def bounds(
        self, row: IntArray, low: FloatArray, high: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return sqrt(max lambda(B_0 +- B_1) + max(lambda(B_2), 0) + sum |B_j|) + remainder.

        B_j are the coefficients of p(x)^* p(x); the largest eigenvalue lambda is convex, so that
        of B_0 + x B_1 is largest at an end.
        """
        result, rounding = np.empty(len(row)), np.empty(len(row))
        terms = TERMS if self.inputs == 1 else MATRIX_TERMS
        for part in blocks(len(row), self.size):
            P, tail, rounding[part] = self.expand(row[part], low[part], high[part], terms)
            rest = tail + rounding[part]
            if self.inputs == 1:
                result[part] = polynomial_bound(P[..., 0], rest)
            else:
                result[part] = (np.sqrt(gram_bound(P)) + rest) * (1.0 + 4.0 * U)
        return result, rounding


class Sums(Systems):
    """The sums of two families of systems."""

    def __init__(self, first: Systems, second: Systems) -> None:
        self._families = first, second
        self.count, self.inputs = first.count, first.inputs
        self.size = first.size + second.size

    def expand(self, row: IntArray, low: FloatArray, high: FloatArray, terms: int) -> Expansion:
        """Return the sums of both expansions; a sum is rounded by u of itself."""
        a, b = (family.expand(row, low, high, terms) for family in self._families)
        P: ComplexArray = a.coefficients + b.coefficients
        added = MARGIN * U * np.sum(np.linalg.norm(P, axis=(2, 3)), axis=1)
        rounding = (a.rounding + b.rounding + added) * (1.0 + 4.0 * U)
        return Expansion(P, (a.tail + b.tail) * (1.0 + 2.0 * U), rounding)
