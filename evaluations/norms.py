"""Norms of the error G_a - G of a `Response`: sup (strong), H2, and L2 for one input (weak).

The sup is searched on a grid that holds every spike and refined, so it is attained and a lower
bound of the true one; the other two are exact up to rounding and quadrature (1e-11 relative).
"""

from dataclasses import dataclass

import numpy as np

from robustssm import hippo
from robustssm.evaluations.responses import Curve, Response
from robustssm.spectrum import spikes
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
# Gauss-Legendre nodes a panel, and its largest half-length over the distance to a pole: the
# Bernstein ellipse then has parameter 2.2 to 3, and the error is about 2.2^-32 = 1e-11.
NODES, REACH = 16, 0.75
# Below this share of |G_a|^2 + |G|^2 the residue sum has lost over 4 digits to cancellation.
CANCELLED = 1e-4


@dataclass(frozen=True)
class Sup:
    """sup |G_a - G| where found: value, omega, the highest local maxima, and the grid used.

    omega (g,) is the grid and difference (g,) is G_a - G on it.
    """

    value: float
    at: float
    peaks: tuple[tuple[float, float], ...]
    omega: FloatArray
    difference: ComplexArray


def frequency_grid(n: int, poles: ComplexArray) -> FloatArray:
    """Return omega >= 0, ascending: 0, a log grid 1e-3 .. 1e3 n^2, poles and S4D spikes.

    Each pole and each spike (half-width 1/2) comes with points on both flanks.
    """
    offsets = np.array(OFFSETS)
    own = poles.imag[:, None] + np.abs(poles.real)[:, None] * offsets
    normal = spikes(n)[:, None] + 0.5 * offsets
    logarithmic = np.geomspace(1e-3, 1e3 * n * n, LOG_POINTS)
    points = np.concatenate([np.zeros(1), logarithmic, own.ravel(), normal.ravel()])
    return np.unique(points[points >= 0.0])


def sup_error(system: Response) -> Sup:
    """Return sup_omega |G_a(i omega) - G(i omega)|, attained at `at`: a lower bound of the sup.

    The best eight local maxima of the grid are refined by repeated sectioning of the interval
    between their neighbours, to about 1e-12 relative in the value.
    """
    omega = frequency_grid(system.n, system.poles)
    difference = system.error(omega)
    error = np.abs(difference)
    if not error.any():
        return Sup(0.0, 0.0, (), omega, difference)
    padded = np.concatenate([[-np.inf], error, [-np.inf]])
    maxima = np.flatnonzero((error >= padded[:-2]) & (error > padded[2:]))
    best = maxima[np.argsort(-error[maxima], kind="stable")[:REFINED]]
    at, value = refine(lambda w: np.abs(system.error(w)), omega, best, error[best])
    order = np.argsort(-value, kind="stable")
    peaks = tuple((float(at[k]), float(value[k])) for k in order[:REPORTED])
    return Sup(peaks[0][1], peaks[0][0], peaks, omega, difference)


def refine(
    curve: Curve, omega: FloatArray, best: np.ndarray, value: FloatArray
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


def h2_error(system: Response) -> float:
    """Return ||G_a - G||_2 from residues: <G_a, F> = sum_k r_k conj(F(-conj lambda_k)).

    ||D||^2 = <G_a, D> - (<G_a, G> - ||G||^2), D = G_a - G; where that cancels more than four
    digits the integral of |D|^2, which cancels nothing, replaces it.
    """
    if not len(system.poles):
        return 0.0
    G, D = system.mirrored()
    weighted = system.weight * system.residues
    square = hippo.h2_norm(system.C) ** 2
    inner = float(np.sum((weighted * np.conj(G)).real))
    own = float(np.sum((weighted * np.conj(D)).real))
    difference = own - (inner - square)
    if difference <= CANCELLED * (abs(own + inner) + square):
        return float(np.sqrt(axis_integral(system, weak=False)))
    return float(np.sqrt(difference))


def weak_error(system: Response) -> float:
    """Return ||(G_a - G) u||_2 over time for the input u(t) = e^-t, from Parseval.

    With readout e0 the normal part has 1 / (2n) up to a relative 1 / n^3.
    """
    if not len(system.poles):
        return 0.0
    return float(np.sqrt(axis_integral(system, weak=True)))


def axis_integral(system: Response, weak: bool) -> float:
    """Return 1/(2 pi) int |D(i omega)|^2 [/ (1 + omega^2)] d omega, D = G_a - G.

    Composite Gauss-Legendre on [0, 1e3 n^2] with panels no longer than their distance to the
    poles allows; one panel in 1 / omega for the rest.
    """
    end = 1e3 * system.n**2
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    low, high = quadrature_panels(system.poles, end)
    half = 0.5 * (high - low)[:, None]
    omega = 0.5 * (high + low)[:, None] + half * nodes
    v = (0.5 / end) * (1.0 + nodes)
    points = np.concatenate([omega.ravel(), 1.0 / v])
    measure = np.concatenate([(half * weights).ravel(), (0.5 / end) * weights / (v * v)])
    if weak:
        measure = measure / (1.0 + points * points)
    return float(np.dot(measure, np.abs(system.error(points)) ** 2) / np.pi)


def quadrature_panels(poles: ComplexArray, end: float) -> tuple[FloatArray, FloatArray]:
    """Return the ends of panels that cover [0, end], each bisected until poles are far enough.

    -1, the pole of HiPPO and of the weak input nearest to the axis, counts as a pole.
    """
    poles = np.concatenate([poles, np.conj(poles), [-1.0]])
    poles = poles[np.argsort(poles.imag, kind="stable")]
    edges = np.concatenate([[0.0], end * 0.5 ** np.arange(np.ceil(np.log2(end)) + 2.0)[::-1]])
    low, high = edges[:-1], edges[1:]
    done_low, done_high = [], []
    while len(low):
        center, half = 0.5 * (low + high), 0.5 * (high - low)
        after = np.searchsorted(poles.imag, center)
        near = [np.clip(after + shift, 0, len(poles) - 1) for shift in (-1, 0)]
        distance = np.minimum(*(np.abs(1j * center - poles[k]) for k in near))
        long = half > REACH * distance
        done_low.append(low[~long])
        done_high.append(high[~long])
        low, high = (
            np.concatenate([low[long], center[long]]),
            np.concatenate([center[long], high[long]]),
        )
    return np.concatenate(done_low), np.concatenate(done_high)
