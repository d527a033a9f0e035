"""Branch and bound on the frequency axis: low <= sup |F| <= high, with a certificate.

Intervals are cut until no upper bound exceeds the best value found by more than rtol. `low` is a
value at a frequency that was evaluated, `high` the largest bound of an interval that was set
aside. Bounds are evaluated in float64 without directed rounding: they hold up to rounding.

Reference: R. E. Moore, Methods and Applications of Interval Analysis (SIAM, 1979), chapter 6.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robustssm.errors import UsageError
from robustssm.typing import ComplexArray, FloatArray, IntArray

# Complex numbers in one block of intervals: 64 MiB.
BLOCK = 1 << 22
# Bisections: from the whole axis to neighbouring doubles.
MAX_ROUNDS = 120
# Shorter intervals than this (relative) cannot be cut in double precision.
SHORTEST = 4e-16


@dataclass(frozen=True)
class Bracket:
    """low <= sup_omega |F(i omega)| <= high; low is attained at omega (1 / time, or inf)."""

    low: float
    high: float
    omega: float

    @property
    def relative_gap(self) -> float:
        """(high - low) / high, 0 for F = 0."""
        return (self.high - self.low) / self.high if self.high else 0.0


class Enclosure(Protocol):
    """A family of functions on bounded intervals, each with values and proved bounds."""

    def values(self, row: IntArray, at: FloatArray) -> FloatArray:
        """Return |F_row| at the points, both arguments (g,)."""

    def bounds(self, row: IntArray, low: FloatArray, high: FloatArray) -> FloatArray:
        """Return upper bounds of |F_row| on [low, high], inf if none is known yet."""


def supremum(
    enclosure: Enclosure,
    row: IntArray,
    group: IntArray,
    low: FloatArray,
    high: FloatArray,
    rtol: float,
) -> tuple[FloatArray, FloatArray, IntArray, FloatArray]:
    """Return (best, bound, row, at) of each group over its intervals: best <= sup <= bound.

    row, group, low, high (g,): the function and the result that each interval counts for; the
    groups are 0, 1, ... Intervals are cut until no bound exceeds (1 + rtol) times the best value
    of its group, or double precision ends.
    """
    if not 0.0 < rtol < 1.0:
        raise UsageError(f"certified sup: rtol is {rtol:g}, expected 0 < rtol < 1")
    best = np.full(int(group.max()) + 1, -1.0)
    bound, at = np.zeros_like(best), np.zeros_like(best)
    source = np.zeros(len(best), dtype=np.int64)

    def improve(points: FloatArray) -> FloatArray:
        value = enclosure.values(row, points)
        # The last of equal groups wins an assignment: ascending order leaves the largest.
        order = np.argsort(value, kind="stable")
        order = order[value[order] > best[group[order]]]
        best[group[order]], at[group[order]] = value[order], points[order]
        source[group[order]] = row[order]
        return value

    improve(low)
    improve(high)
    for _ in range(MAX_ROUNDS):
        middle = 0.5 * (low + high)
        value = improve(middle)
        # Rounding may push the bound of a tiny interval below the value at its middle.
        upper = np.maximum(enclosure.bounds(row, low, high), value)
        short = high - low <= SHORTEST * np.maximum(np.abs(low), np.abs(high))
        done = (upper <= (1.0 + rtol) * best[group]) | short
        np.maximum.at(bound, group[done], upper[done])
        row, group = np.tile(row[~done], 2), np.tile(group[~done], 2)
        if not len(row):
            break
        low, middle, high = low[~done], middle[~done], high[~done]
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
    np.maximum.at(bound, group, np.inf)
    return best, np.maximum(bound, best), source, at


def polynomial_bound(coefficients: ComplexArray, tail: FloatArray) -> FloatArray:
    """Return a bound of |p(x)| + tail over -1 <= x <= 1, to second order in the interval's length.

    coefficients (g, M, p): p(x) = sum_j coefficients[:, j] x^j, of p outputs (2-norm); tail (g,).
    |p|^2 is a real polynomial; its quadratic part is maximised exactly, the rest by moduli.
    """
    terms = coefficients.shape[1]
    square = np.zeros((len(coefficients), 2 * terms - 1))
    for j in range(terms):
        product = coefficients[:, j : j + 1].conj() * coefficients
        square[:, j : j + terms] += product.sum(axis=2).real
    constant, linear, quadratic = square[:, 0], square[:, 1], square[:, 2]
    ends = constant + np.abs(linear) + quadratic
    with np.errstate(divide="ignore", invalid="ignore"):
        vertex = constant - 0.25 * linear * linear / quadratic
    inside = (quadratic < 0.0) & (np.abs(linear) < -2.0 * quadratic)
    top = np.maximum(constant, np.where(inside, vertex, ends))
    rest = np.sum(np.abs(square[:, 3:]), axis=1)
    return np.sqrt(np.maximum(top, 0.0) + rest) + tail


def gram_bound(P: ComplexArray) -> FloatArray:
    """Return a bound of |p(x)|_2^2 on [-1, 1] for matrix coefficients P (g, M, p, q)."""
    terms = P.shape[1]
    gram = np.zeros((2 * terms - 1, len(P), P.shape[3], P.shape[3]), dtype=np.complex128)
    for i in range(terms):
        for j in range(terms):
            gram[i + j] += P[:, i].conj().swapaxes(1, 2) @ P[:, j]
    top = np.linalg.eigvalsh(np.stack([gram[0] + gram[1], gram[0] - gram[1], gram[2]]))[..., -1]
    rest = np.sum(np.linalg.norm(gram[3:], axis=(2, 3)), axis=0)
    bound: FloatArray = np.maximum(top[0], top[1]) + np.maximum(top[2], 0.0) + rest
    return np.maximum(bound, 0.0)


def blocks(count: int, size: int) -> Iterator[slice]:
    """Yield slices of range(count) so that `size` complex numbers per item stay within BLOCK."""
    step = max(1, BLOCK // max(1, size))
    for start in range(0, count, step):
        yield slice(start, start + step)
