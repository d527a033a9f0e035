"""Peak gains with a certificate: low <= sup_omega |F(i omega)| <= high, rounding included.

For systems known by poles and residues, or in state space where their eigenvectors are bad: the
float64 numbers given are the system, and the bracket holds its supremum in exact arithmetic. What
computed those numbers is not enclosed.

Oracles in the tests: Bruinsma and Steinbuch, Systems & Control Letters 14 (1990), as SLICOT's
AB13DD, and evaluation with 60 digits.
"""

import numpy as np

from robustssm.evaluations.suprema.expansions import Sums, Systems
from robustssm.evaluations.suprema.pole_sums import PoleSums, check_stable
from robustssm.evaluations.suprema.state_spaces import StateSpaces
from robustssm.evaluations.suprema.subdivision import Bracket, supremum
from robustssm.typing import Array, FloatArray, IntArray

Family = PoleSums | StateSpaces
__all__ = ["Bracket", "Family", "PoleSums", "StateSpaces", "brackets"]


def exponents(moduli: FloatArray, poles: Array, D: FloatArray) -> IntArray:
    """Return e (c,): 2^e is about the largest of |l_k| |r_k| / |Re lambda_k| and |D|.

    moduli and poles (c, m), D (c, p, q). F 2^-e has squares and powers within double precision.
    """
    size = np.frexp(moduli)[1] - np.frexp(poles.real)[1]
    size = np.where(moduli > 0.0, size, -4096).max(axis=1, initial=-4096)
    largest = np.abs(D).max(axis=(1, 2))
    result = np.maximum(size, np.where(largest > 0.0, np.frexp(largest)[1], -4096))
    return np.where(result > -4096, result, 0)


def brackets(
    ahead: Family, rtol: float, behind: Family | None = None, turn: float = -1.0
) -> list[Bracket]:
    """Return the brackets of sup_omega |F(i omega)|_2 (largest singular value), gap <= rtol.

    Of each stable real system F (c,), or of F(s) + G(turn s) where G is `behind`: poles of G(-s)
    lie on the right of the axis, and expansions do not ask on which side. omega in rad per
    unit time, >= 0; infinite if the peak is the feedthrough. The gap is larger if rounding, or the
    budget of intervals, does not let it be rtol. Raises UsageError (NaN), StabilityError; that
    matrices are stable is found from their computed eigenvalues, that no pole lies on the axis is
    proved.
    """
    families = [ahead] if behind is None else [ahead, behind]
    for one in families:
        check_stable(one.poles, one.moduli, one.D)
    poles, moduli, D = (
        np.concatenate([getattr(one, key) for one in families], axis=1)
        for key in ("poles", "moduli", "D")
    )
    scale = exponents(moduli, poles, D)
    systems: Systems = ahead.turned(-scale, 1.0)
    if behind is not None:
        systems = Sums(systems, behind.turned(-scale, turn))
    # The charts meet at twice the largest pole, beyond which no pole is near.
    count, m = poles.shape
    size = np.abs(poles)
    far = 2.0 * size.max(axis=1, initial=1.0 if not m else 0.0)
    near = 0.5 * size.min(axis=1) if m else 0.5 * far
    zeros = np.zeros(count)
    row = np.arange(3 * count) - count * (np.arange(3 * count) >= count)
    low = np.concatenate([zeros, near, zeros])
    # Rounded up, so that the charts overlap.
    high = np.concatenate([near, far, np.nextafter(1.0 / far, np.inf)])
    # To look at the poles' frequencies first is cheap for pole sums alone.
    of, mode = np.nonzero((poles.imag >= 0.0) & isinstance(ahead, PoleSums))
    probes = (of, of, poles.imag[of, mode])
    best, bound, source, at = supremum(systems, row, row % count, low, high, rtol, probes)
    with np.errstate(divide="ignore", over="ignore"):
        omega = np.where(source < count, at, 1.0 / at)
        low, high = np.ldexp(best, scale), np.ldexp(bound, scale)
    # Below 1e-300 numbers are subnormal, and rounded; above all doubles, low stays one.
    low = np.where(low < 1e-300, np.nextafter(low, 0.0), np.minimum(low, np.finfo(float).max))
    high = np.where((high < 1e-300) & (bound > 0.0), np.nextafter(high, np.inf), high)
    return [Bracket(*map(float, ends)) for ends in zip(low, high, omega, strict=True)]
