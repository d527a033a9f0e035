"""Branch and bound on the frequency axis: low <= sup |F| <= high, with a certificate.

Intervals are cut until no upper bound exceeds the best value found by more than rtol. `low` is a
value at a frequency that was evaluated, less its rounding; `high` the largest bound of an interval
that was set aside, rounding included, as far as the enclosure knows its own.

References: R. E. Moore, Methods and Applications of Interval Analysis (SIAM, 1979), chapter 6;
N. J. Higham, Accuracy and Stability of Numerical Algorithms (SIAM, 2002), sections 3.1 and 3.6.
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
# Intervals that one function may take. A trained layer's channel takes some hundred at rtol 1e-3,
# some thousand at 1e-9; what cannot be bracketed within the budget is returned as it stands.
BUDGET = 1 << 17
# Shorter intervals than this (relative) cannot be cut in double precision.
SHORTEST = 4e-16
# Ends further apart than this are cut at their geometric mean: poles lie at every scale.
WIDE = 4.0
# Unit roundoff. Bounds of rounding errors are themselves rounded; MARGIN covers that, and the
# terms of second order in U.
U = 2.0**-53
MARGIN = 1.01


@dataclass(frozen=True)
class Bracket:
    """low <= sup_omega |F(i omega)| <= high; low is attained at omega (1 / time, or inf).

    The gap may exceed what was asked for, if rounding or the budget of intervals ends the search.
    """

    low: float
    high: float
    omega: float

    @property
    def relative_gap(self) -> float:
        """(high - low) / high, 0 for F = 0, 1 if no finite bound is known."""
        if np.isinf(self.high):
            return 1.0
        return (self.high - self.low) / self.high if self.high else 0.0

    def _repr_html_(self) -> str:
        cells = (f"<td>{value:.6g}</td>" for value in (self.low, self.high, self.omega))
        head = "<tr><th>low</th><th>high</th><th>omega</th></tr>"
        return f"<table>{head}<tr>{''.join(cells)}</tr></table>"


class Enclosure(Protocol):
    """A family of functions on bounded intervals, each with values and proved bounds.

    Both come with a bound of the rounding errors in them, which no shorter interval makes smaller.
    """

    def values(self, row: IntArray, at: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return |F_row| at the points and its rounding; all arrays (g,)."""

    def bounds(
        self, row: IntArray, low: FloatArray, high: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return upper bounds of |F_row| on [low, high], rounding included, and the rounding."""


def supremum(
    enclosure: Enclosure,
    row: IntArray,
    group: IntArray,
    low: FloatArray,
    high: FloatArray,
    rtol: float,
    probes: tuple[IntArray, IntArray, FloatArray] | None = None,
) -> tuple[FloatArray, FloatArray, IntArray, FloatArray]:
    """Return (best, bound, row, at) of each group over its intervals: best <= sup <= bound.

    row, group, low, high (g,): the function and the result that each interval counts for; the
    groups are 0, 1, ... probes: rows, groups and points of the intervals to look at first.
    Intervals are cut until no bound exceeds (1 + rtol) times the best value
    of its group, rounding is most of what exceeds it, or the budget or double precision ends.
    """
    if not 0.0 < rtol < 1.0:
        raise UsageError(f"certified sup: rtol is {rtol:g}, expected 0 < rtol < 1")
    best = np.full(int(group.max()) + 1, -1.0)
    bound, at = np.zeros_like(best), np.zeros_like(best)
    source, count = np.zeros(len(best), dtype=np.int64), np.zeros(len(best), dtype=np.int64)

    def improve(row: IntArray, group: IntArray, points: FloatArray) -> FloatArray:
        value, rounding = enclosure.values(row, points)
        lower = value - rounding
        # The last of equal groups wins an assignment: ascending order leaves the largest.
        order = np.argsort(lower, kind="stable")
        order = order[lower[order] > best[group[order]]]
        best[group[order]], at[group[order]] = lower[order], points[order]
        source[group[order]] = row[order]
        return value

    improve(row, group, low)
    improve(row, group, high)
    if probes is not None and len(probes[0]):
        improve(*probes)
    for _ in range(MAX_ROUNDS):
        wide = (low > 0.0) & (high > WIDE * low)
        middle = np.where(wide, np.sqrt(low) * np.sqrt(high), 0.5 * low + 0.5 * high)
        value = improve(row, group, middle)
        upper, rounding = enclosure.bounds(row, low, high)
        upper = np.where(np.isnan(upper), np.inf, upper)
        count += np.bincount(group, minlength=len(count))
        short = high - low <= SHORTEST * high
        rounded = upper - value <= 3.0 * rounding
        within = upper <= (1.0 + rtol) * best[group]
        done = within | short | rounded | (count > BUDGET)[group]
        np.maximum.at(bound, group[done], upper[done])
        row, group = np.tile(row[~done], 2), np.tile(group[~done], 2)
        if not len(row):
            break
        low, middle, high = low[~done], middle[~done], high[~done]
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
    np.maximum.at(bound, group, np.inf)
    best = np.maximum(best, 0.0)
    return best, np.maximum(bound, best), source, at


def middle(low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return centres c and half-lengths h such that c + [-h, h] holds both ends."""
    centre = 0.5 * low + 0.5 * high
    return centre, np.maximum(high - centre, centre - low) * (1.0 + 2.0 * U)


def polynomial_bound(coefficients: ComplexArray, tail: FloatArray) -> FloatArray:
    """Return a bound of |p(x)| + tail over -1 <= x <= 1, to second order in the interval's length.

    coefficients (g, M, p): p(x) = sum_j coefficients[:, j] x^j, of p outputs (2-norm); tail (g,).
    |p|^2 is a real polynomial; its quadratic part is maximised exactly, the rest by moduli. Sums
    of 2 p M products are rounded by 2 (2 p M + 4) u of the moduli (Higham, 3.5), outwards here.
    """
    terms, p = coefficients.shape[1:]
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
    moduli = np.sum(np.linalg.norm(coefficients, axis=2), axis=1) ** 2
    rounding = MARGIN * U * (4 * p * terms + 24) * moduli
    return (np.sqrt(np.maximum(top, 0.0) + rest + rounding) + tail) * (1.0 + 8.0 * U)


def gram_bound(P: ComplexArray) -> FloatArray:
    """Return a bound of |p(x)|_2^2 on [-1, 1] for matrix coefficients P (g, M, p, q).

    Rounded outwards as `polynomial_bound`; LAPACK's eigenvalues are taken to be backward stable
    to 10 q u of the matrix, which its documentation says and nobody has proved.
    """
    terms, p, q = P.shape[1:]
    gram = np.zeros((2 * terms - 1, len(P), q, q), dtype=np.complex128)
    for i in range(terms):
        for j in range(terms):
            gram[i + j] += P[:, i].conj().swapaxes(1, 2) @ P[:, j]
    top = np.linalg.eigvalsh(np.stack([gram[0] + gram[1], gram[0] - gram[1], gram[2]]))[..., -1]
    rest = np.sum(np.linalg.norm(gram[3:], axis=(2, 3)), axis=0)
    bound = np.maximum(top[0], top[1]) + np.maximum(top[2], 0.0) + rest
    moduli = np.sum(np.linalg.norm(P, axis=(2, 3)), axis=1) ** 2
    rounding = MARGIN * U * (4 * p * terms + 30 * q + 24) * moduli
    return (np.maximum(bound, 0.0) + rounding) * (1.0 + 8.0 * U)


def blocks(count: int, size: int) -> Iterator[slice]:
    """Yield slices of range(count) so that `size` complex numbers per item stay within BLOCK."""
    step = max(1, BLOCK // max(1, size))
    for start in range(0, count, step):
        yield slice(start, start + step)
