"""Norms of the error G_a - G of a `Response`: sup (strong), H2, and L2 for one input (weak).

The sup is a bracket with a certificate; its local maxima are searched on a grid that holds every
spike, and refined. The other two are exact up to rounding and quadrature (1e-8 relative at worst).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robustssm.evaluations.initializations.certified_error import certified_error
from robustssm.evaluations.initializations.inputs import parse_input
from robustssm.evaluations.initializations.parseval import quadrature
from robustssm.evaluations.initializations.responses import Response
from robustssm.hippo.spectrum import spikes
from robustssm.typing import ComplexArray, FloatArray

# Around a pole, in half-widths |Re lambda|: the peak's flanks, so that it cannot fall between.
OFFSETS = (-4.0, -2.0, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
LOG_POINTS = 4001
# Local maxima of the grid that are refined, and how many of them are reported.
REFINED, REPORTED = 8, 5
# A bracket shrinks eightfold a round: 8^-10 of its width, and the value has the square of that.
SECTIONS, ROUNDS = 17, 10
# The error is even in omega, so flat at 0: a maximum there stays unless beaten by more than this.
FLAT = 1e-10


@dataclass(frozen=True)
class Sup:
    """sup |G_a - G|: value <= sup <= high, attained at `at`, and the highest local maxima found.

    omega (g,) is the grid that was searched for them and difference (g,) is G_a - G on it.
    """

    value: float
    high: float
    at: float
    peaks: tuple[tuple[float, float], ...]
    omega: FloatArray
    difference: ComplexArray


def frequency_grid(n: int, poles: ComplexArray) -> FloatArray:
    """Return omega >= 0, ascending: 0, a log grid 1e-3 .. 1e3 n^2, poles and S4D spikes.

    Each pole and each spike (half-width 1/2) comes with points on both flanks.
    """
    offsets = np.array(OFFSETS)
    around_poles = poles.imag[:, None] + np.abs(poles.real)[:, None] * offsets
    normal = spikes(n)[:, None] + 0.5 * offsets
    logarithmic = np.geomspace(1e-3, 1e3 * n * n, LOG_POINTS)
    points = np.concatenate([np.zeros(1), logarithmic, around_poles.ravel(), normal.ravel()])
    return np.unique(points[points >= 0.0])


def sup_error(system: Response) -> Sup:
    """Return sup_omega |G_a(i omega) - G(i omega)| as a certified bracket, 1e-9 wide if it can be.

    The local maxima are the best eight of the grid, refined by repeated sectioning of the
    interval between their neighbours, to about 1e-12 relative in the value.
    """
    omega = frequency_grid(system.n, system.poles)
    difference = system.error(omega)
    error = np.abs(difference)
    if not error.any():
        return Sup(0.0, 0.0, 0.0, (), omega, difference)
    padded = np.concatenate([[-np.inf], error, [-np.inf]])
    maxima = np.flatnonzero((error >= padded[:-2]) & (error > padded[2:]))
    best = maxima[np.argsort(-error[maxima], kind="stable")[:REFINED]]
    at, value = refine(lambda w: np.abs(system.error(w)), omega, best, error[best])
    order = np.argsort(-value, kind="stable")
    peaks = tuple((float(at[k]), float(value[k])) for k in order[:REPORTED])
    proved = certified_error(system, near=np.array([place for place, _ in peaks]))
    return Sup(proved.low, proved.high, proved.omega, peaks, omega, difference)


def refine(
    curve: Callable[[FloatArray], FloatArray],
    omega: FloatArray,
    best: np.ndarray,
    value: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return arguments and values of the local maxima of `curve` beside the grid points `best`.

    omega (g,) ascending; best (p,) indices; value (p,) the curve there. All brackets at once.
    """
    low, high = omega[np.maximum(best - 1, 0)], omega[np.minimum(best + 1, len(omega) - 1)]
    at, top = omega[best].copy(), value.copy()
    part, rows = np.linspace(0.0, 1.0, SECTIONS), np.arange(len(best))
    for _ in range(ROUNDS):
        points = low[:, None] + (high - low)[:, None] * part
        values = curve(points)
        j = np.argmax(values, axis=1)
        better = values[rows, j] > np.where(at == 0.0, 1.0 + FLAT, 1.0) * top
        at = np.where(better, points[rows, j], at)
        top = np.where(better, values[rows, j], top)
        low = points[rows, np.maximum(j - 1, 0)]
        high = points[rows, np.minimum(j + 1, SECTIONS - 1)]
    return at, top


def output_error(system: Response, name: str) -> float:
    """Return ||(G_a - G) u||_2 over time for the input of that name, `impulse` being the H2 error.

    For `exp` with readout e0 the normal part has 1 / (2n) up to a relative 1 / n^3.
    """
    signal = parse_input(name, system.n)
    return float(np.sqrt(quadrature(system, [signal]).integral(signal)))
