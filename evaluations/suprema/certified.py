"""Peak gains with a certificate: low <= sup_omega |F(i omega)| <= high, rounding included.

For systems known by poles and residues, or in state space where their eigenvectors are bad: the
float64 numbers given are the system, and the bracket holds its supremum in exact arithmetic. What
computed those numbers is not enclosed.

Oracles in the tests: Bruinsma and Steinbuch, Systems & Control Letters 14 (1990), as SLICOT's
AB13DD, and evaluation with 60 digits.
"""

import numpy as np

from robustssm.errors import ShapeError, UsageError
from robustssm.evaluations.suprema.expansions import Systems
from robustssm.evaluations.suprema.pole_sums import PoleSum, PoleSums, check_stable
from robustssm.evaluations.suprema.state_spaces import StateSpaces
from robustssm.evaluations.suprema.subdivision import Bracket, supremum
from robustssm.typing import Array, ComplexArray, FloatArray, IntArray

__all__ = ["Bracket", "PoleSum", "peak_gain", "peak_gains", "peak_gains_dense"]


def exponents(moduli: FloatArray, poles: Array, D: FloatArray) -> IntArray:
    """Return e (c,): 2^e is about the largest of |l_k| |r_k| / |Re lambda_k| and |D|.

    moduli and poles (c, m), D (c, p, q). F 2^-e has squares and powers within double precision.
    """
    size = np.frexp(moduli)[1] - np.frexp(poles.real)[1]
    size = np.where(moduli > 0.0, size, -4096).max(axis=1, initial=-4096)
    largest = np.abs(D).max(axis=(1, 2))
    result = np.maximum(size, np.where(largest > 0.0, np.frexp(largest)[1], -4096))
    return np.where(result > -4096, result, 0)


def on_two_charts(
    systems: Systems, poles: Array, scale: IntArray, rtol: float, probe: bool = True
) -> list[Bracket]:
    """Return the brackets of 2^scale times the systems (c,), whose poles are (c, m).

    The charts meet at twice the largest pole, beyond which no pole is near. probe: look at the
    frequencies of the poles first, which is cheap for pole sums alone.
    """
    count, m = poles.shape
    moduli = np.abs(poles)
    far = 2.0 * moduli.max(axis=1, initial=1.0 if not m else 0.0)
    near = 0.5 * moduli.min(axis=1) if m else 0.5 * far
    zeros = np.zeros(count)
    row = np.arange(3 * count) - count * (np.arange(3 * count) >= count)
    low = np.concatenate([zeros, near, zeros])
    # Rounded up, so that the charts overlap.
    high = np.concatenate([near, far, np.nextafter(1.0 / far, np.inf)])
    of, mode = np.nonzero((poles.imag >= 0.0) & probe)
    probes = (of, of, poles.imag[of, mode])
    best, bound, source, at = supremum(systems, row, row % count, low, high, rtol, probes)
    with np.errstate(divide="ignore", over="ignore"):
        omega = np.where(source < count, at, 1.0 / at)
        low, high = np.ldexp(best, scale), np.ldexp(bound, scale)
    # Below 1e-300 numbers are subnormal, and rounded; above all doubles, low stays one.
    low = np.where(low < 1e-300, np.nextafter(low, 0.0), np.minimum(low, np.finfo(float).max))
    high = np.where((high < 1e-300) & (bound > 0.0), np.nextafter(high, np.inf), high)
    return [Bracket(*map(float, ends)) for ends in zip(low, high, omega, strict=True)]


def of_pole_sums(
    poles: ComplexArray, left: Array, right: Array, D: FloatArray, rtol: float
) -> list[Bracket]:
    """Return the brackets of pole sums: poles (c, m), left (c, p, m), right (c, m, q)."""
    moduli = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=2)
    scale = exponents(moduli, poles, D)
    factor = -scale[:, None, None]
    systems = PoleSums(poles, scaled(left, factor), right, scaled(D, factor))
    return on_two_charts(systems, poles, scale, rtol)


def scaled(X: Array, exponent: IntArray) -> Array:
    """Return X 2^exponent, exactly unless it underflows."""
    if np.iscomplexobj(X):
        result: Array = np.ldexp(X.real, exponent) + 1j * np.ldexp(X.imag, exponent)
        return result
    return np.asarray(np.ldexp(X, exponent))


def peak_gain(system: PoleSum, rtol: float = 1e-3) -> Bracket:
    """Return the bracket of sup_omega |F(i omega)|_2 (largest singular value), gap <= rtol.

    omega in rad per unit time, >= 0; infinite if F's peak is its feedthrough. The gap is larger
    if rounding, or the budget of intervals, does not let it be rtol.
    """
    left, right, D = system.left, system.right, system.D
    if D.shape[1] > D.shape[0]:
        left, right, D = right.T, left.T, D.T
    return of_pole_sums(system.poles[None], left[None], right[None], D[None], rtol)[0]


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
    one = np.ones((*poles.shape, 1))
    return of_pole_sums(poles, residues[:, None], one, D[:, None, None], rtol)


def peak_gains_dense(
    A: FloatArray, B: FloatArray, C: FloatArray, D: FloatArray, rtol: float = 1e-3
) -> list[Bracket]:
    """Return `peak_gain` of many real systems in state space, whose eigenvectors may be bad.

    A (c, m, m), B (c, m, q), C (c, p, m), D (c, p, q). Raises as `PoleSum`; that A is stable is
    found from its computed eigenvalues, that none lies on the axis is proved.
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
    moduli = np.linalg.norm(B, axis=(1, 2)) * np.linalg.norm(C, axis=(1, 2))
    scale = exponents(np.broadcast_to(moduli[:, None], poles.shape), poles, D)
    factor = -scale[:, None, None]
    systems = StateSpaces(A, B, scaled(C, factor), scaled(D, factor))
    return on_two_charts(systems, poles, scale, rtol, probe=False)
