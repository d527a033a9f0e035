"""Peak gains with a certificate: low <= sup_omega |F(i omega)| <= high.

For systems known by poles and residues, or in state space where their eigenvectors are bad.
s = 1 / sigma maps the high frequencies, infinity included, to a bounded interval of a system of
the same kind. Bounds hold up to rounding, about 1e-13 times the sum of the terms' moduli.

Oracle in the tests: Bruinsma and Steinbuch, Systems & Control Letters 14 (1990), as SLICOT's
AB13DD.
"""

import numpy as np

from robustssm.errors import ShapeError, UsageError
from robustssm.evaluations.suprema.expansions import (
    ColumnSums,
    MatrixSums,
    PoleSum,
    StateSpaces,
    check_stable,
)
from robustssm.evaluations.suprema.subdivision import Bracket, Enclosure, supremum
from robustssm.typing import Array, ComplexArray, FloatArray

__all__ = ["Bracket", "PoleSum", "peak_gain", "peak_gains", "peak_gains_dense"]


def on_two_charts(enclosure: Enclosure, radius: FloatArray, rtol: float) -> list[Bracket]:
    """Return the brackets of systems whose rows are F at [0, radius] and F(1 / s) beyond.

    Rows 0..c-1 of the enclosure are the systems in omega, c..2c-1 the same in 1 / omega.
    """
    count = len(radius)
    row = np.arange(2 * count)
    high = np.concatenate([radius, 1.0 / radius])
    best, bound, source, at = supremum(enclosure, row, row % count, np.zeros(2 * count), high, rtol)
    with np.errstate(divide="ignore"):
        omega = np.where(source < count, at, 1.0 / at)
    return [Bracket(*map(float, found)) for found in zip(best, bound, omega, strict=True)]


def radius_of(poles: Array) -> FloatArray:
    """Return the geometric mean of |poles| along the last axis, 1 where there are none."""
    if not poles.shape[-1]:
        return np.ones(poles.shape[:-1])
    return np.exp(np.mean(np.log(np.abs(poles)), axis=-1))


def peak_gain(system: PoleSum, rtol: float = 1e-3) -> Bracket:
    """Return the bracket of sup_omega |F(i omega)|_2 (largest singular value), gap <= rtol.

    omega in rad per unit time, >= 0; infinite if F's peak is its feedthrough.
    """
    p, q = system.D.shape
    if q > p:
        system = PoleSum(system.poles, system.right.T, system.left.T, system.D.T)
    pair = (system, system.inverted())
    radius = radius_of(system.poles)[None]
    if min(p, q) > 1:
        return on_two_charts(MatrixSums(pair), radius, rtol)[0]
    columns = ColumnSums(
        np.stack([s.poles for s in pair]),
        np.stack([(s.left * s.right[:, 0]).T for s in pair]),
        np.stack([s.D[:, 0] for s in pair]),
    )
    return on_two_charts(columns, radius, rtol)[0]


def peak_gains(
    poles: ComplexArray, residues: Array, D: FloatArray, rtol: float = 1e-3
) -> list[Bracket]:
    """Return `peak_gain` of many SISO systems at once: poles, residues (c, m), D (c,)."""
    if poles.shape != residues.shape or D.shape != poles.shape[:1]:
        raise ShapeError(
            f"peak gain: poles {poles.shape}, residues {residues.shape}, D {D.shape}; expected "
            "(c, m), (c, m), (c,)"
        )
    if not len(poles):
        return []
    check_stable(poles, residues, D)
    scaled = residues / poles
    columns = ColumnSums(
        np.concatenate([poles, 1.0 / poles]),
        np.concatenate([residues, -scaled / poles])[:, :, None],
        np.concatenate([D, D - scaled.sum(axis=1).real])[:, None],
    )
    return on_two_charts(columns, radius_of(poles), rtol)


def peak_gains_dense(
    A: Array, B: Array, C: Array, D: FloatArray, rtol: float = 1e-3
) -> list[Bracket]:
    """Return `peak_gain` of many real systems in state space, whose eigenvectors may be bad.

    A (c, m, m), B (c, m, q), C (c, p, m), D (c, p, q). Raises as `PoleSum`.
    """
    c, m = A.shape[:2]
    p, q = D.shape[1:]
    if (A.shape, B.shape, C.shape) != ((c, m, m), (c, m, q), (c, p, m)):
        raise ShapeError(
            f"peak gain: A {A.shape}, B {B.shape}, C {C.shape}, D {D.shape}; expected (c, m, m), "
            "(c, m, q), (c, p, m), (c, p, q)"
        )
    if not np.isfinite(A).all():
        raise UsageError("peak gain: A has NaN or infinite entries, expected numbers")
    poles = np.linalg.eigvals(A)
    check_stable(poles, B, C, D)
    inverse = np.linalg.inv(A)
    scaled = C @ inverse
    spaces = StateSpaces(
        np.concatenate([A, inverse]),
        np.concatenate([B, B]),
        np.concatenate([C, -scaled @ inverse]),
        np.concatenate([D, D - (scaled @ B).real]),
    )
    return on_two_charts(spaces, radius_of(poles), rtol)
